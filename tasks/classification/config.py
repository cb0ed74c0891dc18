"""Reading a classification configuration: a file and its bases, overrides, and a check of every key."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ...errors import UserError, suggest
from ...training.loading import usual_workers
from ..configuration import apply_override, check_texts, plain, set_device, with_bases
from .job import OPTIMIZERS, SCHEDULERS, Job, Model
from .layouts import DATASETS
from .schema import build, build_typed, setting
from .transforms import TRANSFORMS

TASK = "classification"


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


def load(
    path: str | Path,
    overrides: Iterable[str] = (),
    data: str | None = None,
    pretrained: bool = True,
    plugins: Sequence[str] = (),
) -> Job:
    """The job that a configuration describes. Every key is checked; nothing is built and no picture looked for.

    Args:
        path: a .yml file.
        overrides: "key.sub.0.name=value" each. Numbers step into lists, values are YAML.
        data: folder that becomes root of train_dataset and val_dataset.
        pretrained: False leaves out `model.pretrained`, because trained weights replace it.
        plugins: as for the other tasks; here no tag is read.

    Raises:
        UserError: not a YAML mapping; an unknown key or type; a value of the wrong kind or out of range; an override
            that leads nowhere.
    """
    path = Path(path)
    with_bases(path, plugins)  # raises when a file cannot be read
    dic = plain(_read(path))
    for key in ("preprocessing", "model"):
        dic[key] = {} if dic.get(key) is None else dic[key]
    if isinstance(dic["model"], dict):
        dic["model"].setdefault("options", {})
    known = {"task", *_BLOCKS, *_settings_of(Job)}
    for override in overrides:
        apply_override(dic, override, known)
    dic = plain(dic)
    check_texts(dic, path)
    for key in ("train_dataset", "val_dataset"):
        if data is not None and isinstance(dic.get(key), dict):
            dic[key]["root"] = str(data)
    job = _job(dic, path)
    if not pretrained:
        job.model.pretrained = None
    set_device(job.use_gpu)
    if job.num_workers is None:
        job.num_workers = usual_workers()
    return job


def _settings_of(cls):
    return {name for name, f in cls.__dataclass_fields__.items() if "kind" in f.metadata}


def _read(path):
    """A file's settings over those of its bases. A block of another type replaces the old one, others are merged."""
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
    from ...registry import MODELS, find_row

    model = build(Model, block, f"{path}: model.")
    try:
        row = find_row(model.name)
    except UserError as error:
        raise UserError(f"{path}: model.name: {error}") from None
    if row.is_whole:
        known = [name for name, each in MODELS.items() if not each.is_whole]
        task = row.network().task
        raise UserError(f"{path}: model.name is {model.name!r}, a network for {task}; {suggest('', known)}")
    return model


def _preprocessing(block, path):
    """The given keys of a block `preprocessing`, checked."""
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
