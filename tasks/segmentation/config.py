"""Reading a segmentation configuration: PaddleSeg's sections, the settings of a run, overrides, unknown keys."""

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from ...errors import UserError
from ..configuration import anchored_keys, apply_override, gpu_to_use, plain

# Top-level keys of ours, which PaddleSeg does not read. docs/segmentation.md says what they do.
RUN_SETTINGS = {
    "save_dir": "output",
    "log_iters": 10,
    "save_interval": 1000,
    "num_workers": 0,
    "keep_checkpoints": 5,
    "class_names": None,
    "use_gpu": None,
}
_LEAST = {"batch_size": 1, "iters": 1, "log_iters": 1, "save_interval": 1, "num_workers": 0, "keep_checkpoints": 0}


@dataclass
class Job:
    """What a segmentation configuration describes.

    Attributes:
        path (Path): the file.
        dic (dict): its settings with those of its bases, overrides applied.
        config (paddleseg.cvlibs.Config): made from `dic`; PaddleSeg completes `dic` in it.
        builder (paddleseg.cvlibs.SegBuilder): `model`, `train_dataset`, `val_dataset`, `loss`, `lr_scheduler` and
            `optimizer`, each built when it is first asked for. Raises UserError where a component does.
        save_dir (str): results go to save_dir/NAME.
        log_iters, save_interval (int): iterations between two lines of the history and two snapshots.
        num_workers (int): processes that read pictures; 0 reads them in this one.
        keep_checkpoints (int): snapshots that are kept; 0 keeps all.
        class_names (list of str | None): one for each class.
        use_gpu (bool | None): None takes a GPU when there is one.
    """

    path: Path
    dic: dict
    config: object
    builder: object
    save_dir: str
    log_iters: int
    save_interval: int
    num_workers: int
    keep_checkpoints: int
    class_names: list | None
    use_gpu: bool | None

    @property
    def name(self):
        """The file's name without its ending."""
        return self.path.stem

    @property
    def folder(self):
        """Where checkpoints, history and results go."""
        return Path(self.save_dir) / self.name

    @property
    def num_classes(self):
        """Of the model and of the data set."""
        return num_classes(self.dic)

    @property
    def ignore_index(self):
        """The label value of pixels that do not count."""
        return getattr(
            self.builder.train_dataset_class, "IGNORE_INDEX", self.dic["train_dataset"].get("ignore_index", 255)
        )

    @property
    def test_config(self):
        """A copy of how evaluation is done: PaddleSeg's aug_eval, scales, is_slide, ..."""
        return dict(self.dic.get("test_config") or {})


def load(path, overrides=(), data=None, pretrained=True):
    """The job that a configuration describes, with PaddleSeg's components and ours registered and its keys checked.

    Args:
        path (Path | str): a .yml file.
        overrides (iterable of str): "key.sub.0.name=value"; numbers step into lists, values are YAML.
        data (str | None): folder that becomes dataset_root of train_dataset and val_dataset; lists of files that lay
            below the old one are looked for at the same place below it.
        pretrained (bool): whether the model begins with the configuration's `pretrained` weights. False, for a model
            that is then filled with trained ones, spares reading or downloading those.

    Returns:
        Job.

    Raises:
        UserError: PaddleSeg is not installed; not a YAML mapping; an unknown key, type or argument; settings that
            contradict each other; an override that leads nowhere.
    """
    parse = import_toolkit()
    from . import checks
    from .builder import Builder, Settings

    path = Path(path)
    anchored = anchored_keys(path)
    try:
        dic = plain(parse(str(path)))
    except (yaml.YAMLError, OSError, AttributeError, TypeError) as error:
        raise UserError(f"{path} cannot be read as a configuration: {' '.join(str(error).split())}") from error
    known = checks.TOOLKIT_KEYS | set(RUN_SETTINGS)
    for override in overrides:
        apply_override(dic, override, known)
    dic = plain(dic)
    checks.check_keys(dic, known, anchored, path)
    for key in ("train_dataset", "val_dataset"):
        if data is not None and key in dic:
            _move_data(dic[key], data)
    if not pretrained:
        _leave_out_pretrained(dic["model"])
    run = _run_settings(dic, path)
    checks.check_components(dic, path)
    checks.check_test_config(dic.get("test_config") or {}, f"{path}: test_config")
    checks.check_classes(dic, num_classes(dic), path)
    checks.check_channels(dic, path)
    checks.check_loss_pixels(dic, path)
    if type(dic["optimizer"].get("weight_decay")) is int:  # PaddleSeg wants 0.0 where one writes 0
        dic["optimizer"]["weight_decay"] = float(dic["optimizer"]["weight_decay"])
    try:
        config = Settings(dic)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    _set_device(run["use_gpu"])
    return Job(path, dic, config, Builder(config), **run)


def import_toolkit():
    """PaddleSeg's reader of a file and its bases, once everything that a configuration can name is registered."""
    try:
        import paddleseg.datasets
        import paddleseg.models
        import paddleseg.optimizers
        import paddleseg.transforms  # noqa: F401
        from paddleseg.cvlibs.config import parse_from_yaml
        from paddleseg.utils import logger
    except ImportError as error:
        raise UserError(
            f'PaddleSeg cannot be imported ({error}); pip install "densebone[segmentation]", or put a checkout of it '
            f"on PYTHONPATH"
        ) from error
    from ...integrations import paddleseg as adapter  # noqa: F401

    logger.log_level = 0  # errors: what it says of building and evaluating is said by us, or is in the file
    return parse_from_yaml


def num_classes(dic):
    """The number of classes of a configuration: the model's, else the training set's; UserError without either."""
    from .checks import classes_of

    classes = dic["model"].get("num_classes", classes_of(dic["train_dataset"]))
    if type(classes) is not int or classes < 1:
        raise UserError(f"num_classes is {classes!r}; set model.num_classes to the number of classes")
    return classes


def _run_settings(dic, path):
    run = {key: dic.get(key, default) for key, default in RUN_SETTINGS.items()}
    for key, least in _LEAST.items():
        value = dic.get(key, run.get(key))
        if type(value) is not int or value < least:
            raise UserError(f"{path}: {key} is {value!r}; a whole number of at least {least} is expected")
    names = run["class_names"]
    if names is not None and (not isinstance(names, list) or len(set(map(str, names))) < len(names)):
        raise UserError(f"{path}: class_names is {names!r}; a list of different names is expected")
    run["class_names"] = None if names is None else [str(name) for name in names]
    if run["save_dir"] in (None, ""):
        raise UserError(f"{path}: save_dir is {run['save_dir']!r}; the name of a folder is expected")
    run["save_dir"] = str(run["save_dir"])
    return run


def _move_data(dataset, folder):
    """Sets dataset_root; lists of files below the old one move with it."""
    old = dataset.get("dataset_root")
    dataset["dataset_root"] = str(folder)
    for key in ("train_path", "val_path", "test_path"):
        if old and isinstance(dataset.get(key), str):
            below = os.path.relpath(dataset[key], old)
            if below.split(os.sep)[0] != os.pardir:
                dataset[key] = os.path.join(folder, below)


def _leave_out_pretrained(block):
    for key, value in block.items():
        if key in ("pretrained", "pretrained_encoder"):
            block[key] = None
        elif isinstance(value, dict):
            _leave_out_pretrained(value)


def _set_device(use_gpu):
    import paddle

    paddle.set_device("gpu" if gpu_to_use(use_gpu) else "cpu")
