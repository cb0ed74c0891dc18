"""Reading a classification configuration: a file and its bases, overrides, and a check of every key."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml

from ...errors import UserError, suggest
from ...weights import catalog
from ..configuration import apply_override, gpu_to_use, plain, with_bases
from .data import class_names
from .layouts import DATASETS
from .schema import build, build_typed, setting
from .transforms import TRANSFORMS

TASK = "classification"


@dataclass(kw_only=True)
class Model:
    """The block `model`.

    Attributes:
        name (str): one of `densebone list`.
        num_classes (int): outputs.
        pretrained (bool | str | None): weights to start training from, as `create_model` takes them.
        options (dict): further arguments of `create_model`, such as form.
    """

    name: str = setting("text")
    num_classes: int = setting("whole", 1000, least=1)
    pretrained: object = setting("any", None)
    options: Mapping = setting("block", {})


@dataclass(kw_only=True)
class _Decaying:
    weight_decay: float = setting("number", 0.0, least=0)
    # which parameters are left out of it: "norm", those of batch norms; "bias", the biases of all other layers
    no_weight_decay: tuple = setting("texts", (), choices=("norm", "bias"))


@dataclass(kw_only=True)
class Momentum(_Decaying):
    """SGD with momentum."""

    momentum: float = setting("number", 0.9, least=0, most=1)
    nesterov: bool = setting("flag", False)


@dataclass(kw_only=True)
class SGD(_Decaying):
    """Plain stochastic gradient descent."""


@dataclass(kw_only=True)
class Adam(_Decaying):
    """Adam; weight_decay is added to the gradient."""

    beta1: float = setting("number", 0.9, least=0, most=1)
    beta2: float = setting("number", 0.999, least=0, most=1)
    epsilon: float = setting("number", 1e-8, least=0)


@dataclass(kw_only=True)
class AdamW(Adam):
    """Adam with decoupled weight decay."""


OPTIMIZERS = {cls.__name__: cls for cls in (Momentum, SGD, Adam, AdamW)}


@dataclass(kw_only=True)
class Constant:
    """One learning rate, after a warm-up over `warmup_epochs` that rises from `warmup_start_lr` ("linear") or stays
    there ("constant"); set every iteration."""

    learning_rate: float = setting("number", least=0)
    warmup: str = setting("text", "linear", choices=("linear", "constant"))
    warmup_epochs: float = setting("number", 0, least=0)
    warmup_start_lr: float = setting("number", 0.0, least=0)


@dataclass(kw_only=True)
class Cosine(Constant):
    """Half a cosine from `learning_rate` to `end_lr` over the epochs after the warm-up."""

    end_lr: float = setting("number", 0.0, least=0)


@dataclass(kw_only=True)
class Step(Constant):
    """Times `gamma` at each of the `milestones`, in epochs from the start of training."""

    milestones: tuple = setting("numbers", least=0)
    gamma: float = setting("number", 0.1, least=0)


SCHEDULERS = {cls.__name__: cls for cls in (Constant, Cosine, Step)}


@dataclass(kw_only=True)
class Job:
    """What a classification configuration describes.

    Attributes:
        path (Path): the file.
        dic (dict): its settings with those of its bases, overrides applied.
        model (Model), optimizer (Momentum | ...), lr_scheduler (Cosine | ...): the blocks, checked.
        train_dataset, val_dataset: one of `layouts.DATASETS` each; None where the configuration has none.
        transforms (list): training transforms in order, of `transforms.TRANSFORMS`, from train_dataset.transforms.
        given_preprocessing (dict): keys of `Preprocessing` that the configuration sets itself.
        class_names (list of str | str | None): names, or a file with one in each line; None: the data set's.
        batch_size (int): pictures a process and step; a step of the optimizer takes `accumulate` of these.
        epochs (int).
        ema (float | None): decay of the averaged weights; None: none.
        label_smoothing, mixup, cutmix (float): the last two are the alpha of their beta distribution, 0: none.
        lasso (float): weight of the group lasso of a learned CondenseNetV2; 0: none.
        clip_norm (float | None): the length that the gradient of all parameters together is cut to; None: any.
        amp (str): mixed precision on a GPU: "O0" (float32), "O1" or "O2".
        amp_dtype (str): "float16", "bfloat16", or "auto": the latter where the GPU has it.
        sync_bn (bool): batch norms over all processes.
        log_iters (int), save_interval (float): iterations between two lines of the history, epochs between two
            snapshots.
        keep_checkpoints (int): snapshots that are kept; 0 keeps all.
        num_workers (int): processes that read pictures; 0 reads them in this one.
        save_dir (str): results go to save_dir/NAME.
        use_gpu (bool | None): None takes a GPU when there is one.
    """

    path: Path
    dic: dict
    model: Model
    optimizer: object
    lr_scheduler: object
    train_dataset: object
    val_dataset: object
    transforms: list
    given_preprocessing: dict
    class_names: object = setting("any", None)
    batch_size: int = setting("whole", 32, least=1)
    accumulate: int = setting("whole", 1, least=1)
    epochs: int = setting("whole", least=1)
    ema: float | None = setting("number", None, least=0, most=1)
    label_smoothing: float = setting("number", 0.0, least=0, most=1)
    mixup: float = setting("number", 0.0, least=0)
    cutmix: float = setting("number", 0.0, least=0)
    lasso: float = setting("number", 0.0, least=0)
    clip_norm: float | None = setting("number", None, least=1e-9)
    amp: str = setting("text", "O0", choices=("O0", "O1", "O2"))
    amp_dtype: str = setting("text", "auto", choices=("auto", "float16", "bfloat16"))
    sync_bn: bool = setting("flag", False)
    log_iters: int = setting("whole", 10, least=1)
    save_interval: float = setting("number", 1, least=1e-6)
    keep_checkpoints: int = setting("whole", 5, least=0)
    num_workers: int = setting("whole", 0, least=0)
    save_dir: str = setting("text", "output")
    use_gpu: bool | None = setting("flag", None)

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
        """Outputs of the model."""
        return self.model.num_classes

    @property
    def preprocessing(self):
        """How pictures are prepared for the weights that training starts from; see `preprocessing_for`."""
        pretrained, entry = self.model.pretrained, None
        if pretrained is True:
            entry = catalog.default_for(self.model.name)
        elif isinstance(pretrained, str) and catalog.is_url(pretrained):
            entry = catalog.of_url(pretrained)
        elif isinstance(pretrained, str) and catalog.is_published(pretrained):
            entry = catalog.find(pretrained)
        return self.preprocessing_for(entry and entry.preprocessing)

    def preprocessing_for(self, own):
        """How pictures are prepared: as weights want it, but for what the configuration sets itself.

        Args:
            own (Preprocessing | None): of the weights; None stands for that of the model's default weights, or of
                HarDNet-68's where those were made for something else.
        """
        for name in (self.model.name, "hardnet68"):
            own = own or catalog.default_for(name).preprocessing
        return replace(own, **self.given_preprocessing)

    def checkpoint_facts(self):
        """What training keeps with each checkpoint, in its list of files, so that the weights are used as they were
        trained: {"model", "num_classes", "classes", "preprocessing"}."""
        return {
            "model": self.model.name,
            "num_classes": self.num_classes,
            "classes": class_names(self),
            "preprocessing": asdict(self.preprocessing),
        }


@dataclass(kw_only=True)
class _GivenPreprocessing:
    resize: object = setting("any", None)
    crop: int | None = setting("whole", None, least=1)
    interpolation: str | None = setting("text", None, choices=("bilinear", "bicubic"))
    backend: str = setting("text", "pil", choices=("pil", "opencv"))
    channels: str = setting("text", "rgb", choices=("rgb", "bgr"))
    mean: tuple = setting("numbers", (0.485, 0.456, 0.406), count=3)
    std: tuple = setting("numbers", (0.229, 0.224, 0.225), count=3, least=1e-6)


_BLOCKS = ("model", "preprocessing", "train_dataset", "val_dataset", "optimizer", "lr_scheduler")


def load(path, overrides=(), data=None, pretrained=True):
    """The job that a configuration describes; every key is checked, nothing is built and no picture looked for.

    Args:
        path (Path | str): a .yml file.
        overrides (iterable of str): "key.sub.0.name=value"; numbers step into lists, values are YAML.
        data (str | None): folder that becomes root of train_dataset and val_dataset.
        pretrained (bool): False leaves `model.pretrained` out, for a network that trained weights fill.

    Returns:
        Job.

    Raises:
        UserError: not a YAML mapping; an unknown key or type; a value of the wrong kind or out of range; an override
            that leads nowhere.
    """
    path = Path(path)
    with_bases(path)  # says what is wrong with the files
    dic = plain(_read(path))
    for key in ("preprocessing", "model"):
        dic[key] = {} if dic.get(key) is None else dic[key]
    if isinstance(dic["model"], dict):
        dic["model"].setdefault("options", {})
    known = {"task", *_BLOCKS, *_settings_of(Job)}
    for override in overrides:
        apply_override(dic, override, known)
    dic = plain(dic)
    for key in ("train_dataset", "val_dataset"):
        if data is not None and isinstance(dic.get(key), dict):
            dic[key]["root"] = str(data)
    job = _job(dic, path)
    if not pretrained:
        job.model.pretrained = None
    _set_device(job.use_gpu)
    return job


def _settings_of(cls):
    return {name for name, f in cls.__dataclass_fields__.items() if "kind" in f.metadata}


def _read(path):
    """A file's settings over those of its bases; a block of another type replaces one, others are merged."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML that can be read: {' '.join(str(error).split())}") from error
    bases = content.pop("_base_", [])
    whole = {}
    for base in bases if isinstance(bases, list) else [bases]:
        _merge(whole, _read(path.parent / Path(str(base)).expanduser()))
    _merge(whole, content)
    return whole


def _merge(under, over):
    for key, value in over.items():
        old = under.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        if both and value.get("type", old.get("type")) == old.get("type"):
            _merge(old, value)
        else:
            under[key] = value


def _job(dic, path):
    if dic.get("task") != TASK:
        raise UserError(f"{path}: task is {dic.get('task')!r}; {TASK} is expected")
    for key in ("train_dataset", "optimizer", "lr_scheduler"):
        if key not in dic:
            raise UserError(f"{path} has no {key!r}; a classification configuration needs it")
    rest = {key: value for key, value in dic.items() if key not in ("task", *_BLOCKS)}
    train = dict(dic["train_dataset"]) if isinstance(dic["train_dataset"], dict) else dic["train_dataset"]
    steps = train.pop("transforms", []) if isinstance(train, dict) else []
    if not isinstance(steps, list):
        raise UserError(f"{path}: train_dataset.transforms is {steps!r}; a list of blocks with a type: is expected")
    val = dic.get("val_dataset")
    return build(
        Job,
        rest,
        f"{path}: ",
        path=path,
        dic=dic,
        model=_model(dic["model"], path),
        optimizer=build_typed(OPTIMIZERS, dic["optimizer"], f"{path}: optimizer."),
        lr_scheduler=build_typed(SCHEDULERS, dic["lr_scheduler"], f"{path}: lr_scheduler."),
        train_dataset=build_typed(DATASETS, train, f"{path}: train_dataset."),
        val_dataset=None if val is None else build_typed(DATASETS, val, f"{path}: val_dataset."),
        transforms=[
            build_typed(TRANSFORMS, step, f"{path}: train_dataset.transforms.{i}.") for i, step in enumerate(steps)
        ],
        given_preprocessing=_preprocessing(dic["preprocessing"], path),
    )


def _model(block, path):
    from ...backbones.base import Network
    from ...registry import find_model, list_models

    model = build(Model, block, f"{path}: model.")
    try:
        network, _ = find_model(model.name)
    except UserError as error:
        raise UserError(f"{path}: model.name: {error}") from None
    if not issubclass(network, Network):
        known = [name for name in list_models() if issubclass(find_model(name)[0], Network)]
        raise UserError(f"{path}: model.name is {model.name!r}, a network for {network.task}; {suggest('', known)}")
    return model


def _preprocessing(block, path):
    """The keys of a block `preprocessing` that are given, checked."""
    checked = build(_GivenPreprocessing, block, f"{path}: preprocessing.")
    size = checked.resize
    sides = size if isinstance(size, list) and len(size) == 2 else [size]
    if size is not None and not all(type(side) is int and side > 0 for side in sides):
        raise UserError(
            f"{path}: preprocessing.resize is {size!r}; the length of the shorter side in pixels, [width, height], or "
            f"null is expected"
        )
    values = {key: getattr(checked, key) for key in block}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _set_device(use_gpu):
    import paddle

    paddle.set_device("gpu" if gpu_to_use(use_gpu) else "cpu")
