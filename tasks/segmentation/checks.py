"""Checks of a segmentation configuration, before anything is built.

PaddleSeg itself ignores unknown keys and stumbles on most other mistakes in the middle of training.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import paddle
from paddleseg.cvlibs import manager

from ...errors import UserError, suggest

# The top-level keys that PaddleSeg reads, and the keys of test_config.
TOOLKIT_KEYS = frozenset(
    """
    batch_size iters train_dataset val_dataset optimizer lr_scheduler loss distill_loss model test_config
    to_static_training _base_ _inherited_
    """.split()  # noqa: SIM905
)
TEST_KEYS = (
    "aug_eval", "scales", "flip_horizontal", "flip_vertical", "is_slide", "crop_size", "stride", "auc_roc",
)  # fmt: skip
_FAMILIES = {
    "model": manager.MODELS,
    "backbone": manager.BACKBONES,
    "train_dataset": manager.DATASETS,
    "val_dataset": manager.DATASETS,
    "transforms": manager.TRANSFORMS,
    "types": manager.LOSSES,
    "losses": manager.LOSSES,
    "optimizer": manager.OPTIMIZERS,
}
# Arguments that need not be written down: PaddleSeg takes them from the data set.
_SUPPLIED = frozenset(("num_classes", "in_channels"))
# Arguments that are numbers, though no default of their constructors says so.
_NUMBERS = frozenset(("learning_rate", "weight_decay", "min_K", "loss_th", "warmup_iters", "warmup_start_lr"))
# Transform -> the argument with the (width, height) of its result; and the transforms whose result has any size.
_LEFT_SIZE = {
    "Resize": "target_size",
    "Padding": "target_size",
    "RandomPaddingCrop": "crop_size",
    "ScalePadding": "target_size",
    "RandomAffine": "size",
}
_ANY_SIZE = frozenset(
    """
    ResizeByLong ResizeByShort LimitLong ResizeRangeScaling ResizeStepScaling PaddingByAspectRatio RandomCenterCrop
    RandomRotation
    """.split()  # noqa: SIM905
)


def check_keys(dic: Mapping[str, Any], known: Collection[str], anchored: Collection[str], file: Path) -> None:
    """Raises UserError for a top-level key that nothing reads, and for a section that is missing or no block."""
    for key in dic:
        if key not in known and key not in anchored:
            raise UserError(f"{file}: unknown key {key!r}; {suggest(key, known)}")
    for key in ("model", "train_dataset", "loss", "optimizer", "lr_scheduler", "batch_size", "iters"):
        if key not in dic:
            raise UserError(f"{file} has no {key!r}; a segmentation configuration needs it")
    for key in ("model", "train_dataset", "val_dataset", "optimizer", "lr_scheduler", "loss", "distill_loss"):
        if key in dic and not isinstance(dic[key], dict):
            raise UserError(f"{file}: {key} is {dic[key]!r}; a block of keys and values is expected")


def check_components(dic: Mapping[str, Any], file: Path) -> None:
    """Raises UserError for a `type` that is not registered, and for an argument that is unknown or missing."""
    for key in ("model", "train_dataset", "val_dataset"):
        if key in dic:
            _check_component(dic[key], key, _FAMILIES[key], file)
    for key in ("loss", "distill_loss"):
        if key in dic:
            _check_names(dic[key], {"types", "coef"}, ("types", "coef"), f"{file}: {key}")
            coef = dic[key]["coef"]
            if not isinstance(coef, list) or not all(map(_is_number, coef)):
                raise UserError(f"{file}: {key}.coef is {coef!r}; a list of numbers is expected, one for each output")
            _check_blocks(dic[key]["types"], f"{key}.types", manager.LOSSES, file)
    optimizer = dict(dic["optimizer"])
    if optimizer.get("type") in ("sgd", "SGD"):  # as PaddleSeg's builder takes it
        optimizer["type"] = "Momentum" if "momentum" in optimizer else "SGD"
    elif optimizer.get("type") == "adam":
        optimizer["type"] = "Adam"
    _check_component(optimizer, "optimizer", manager.OPTIMIZERS, file)
    _check_schedule(dic["lr_scheduler"], file)


def _check_component(block, where, family, file):
    if not isinstance(block, dict) or "type" not in block:
        raise UserError(f"{file}: {where} is {block!r}; a block with a type: is expected")
    known = family.components_dict if family else _all_components()
    kind = block["type"]
    if kind not in known:
        raise UserError(f"{file}: {where} has the unknown type {kind!r}; {suggest(kind, known)}")
    _check_arguments(known[kind], block, f"{file}: {where}: {kind}")
    _check_shapes(block, f"{file}: {where}: {kind}")
    for key, value in block.items():
        inner = _FAMILIES.get("transforms" if "transforms" in key else key)
        if inner is manager.TRANSFORMS and value is not None:
            _check_blocks(value, f"{where}.{key}", inner, file)
        elif (isinstance(value, dict) and (inner or "type" in value)) or (key == "backbone" and value is not None):
            _check_component(value, f"{where}.{key}", inner, file)
        elif isinstance(value, list) and any(isinstance(item, dict) and (inner or "type" in item) for item in value):
            _check_blocks(value, f"{where}.{key}", inner, file)


def _check_shapes(block, what):
    """Raises UserError for a list whose form PaddleSeg would take for granted."""
    size = _LEFT_SIZE.get(block["type"])
    if size in block and not _is_size(block[size]):
        raise UserError(f"{what}.{size} is {block[size]!r}; [width, height] in pixels is expected")
    indices = block.get("backbone_indices", [])
    if not isinstance(indices, (list, tuple)) or not all(type(index) is int for index in indices):
        raise UserError(f"{what}.backbone_indices is {indices!r}; a list of whole numbers is expected, such as [0, 3]")


def _check_blocks(blocks, where, family, file):
    if not isinstance(blocks, list):
        raise UserError(f"{file}: {where} is {blocks!r}; a list of blocks with a type: is expected")
    for position, block in enumerate(blocks):
        _check_component(block, f"{where}.{position}", family, file)


def _all_components():
    """Name -> component, for a block whose place does not tell its kind."""
    families = (manager.LOSSES, manager.TRANSFORMS, manager.DATASETS, manager.BACKBONES, manager.MODELS)
    return {name: component for family in families for name, component in family.components_dict.items()}


def _check_arguments(component, block, what, supplied=_SUPPLIED):
    parameters = inspect.signature(component).parameters
    if any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters.values()):
        return
    needed = [name for name, p in parameters.items() if p.default is p.empty and name not in supplied]
    _check_names({key for key in block if key != "type"}, parameters, needed, what)
    for name, parameter in parameters.items():
        if isinstance(block.get(name), str) and isinstance(parameter.default, bool):
            raise UserError(f"{what}.{name} is {block[name]!r}; true or false is expected")
        if isinstance(block.get(name), str) and (_is_number(parameter.default) or name in _NUMBERS):
            raise UserError(f"{what}.{name} is {block[name]!r}; a number is expected")


def _check_names(given, allowed, needed, what):
    for key in given:
        if key not in allowed:
            raise UserError(f"{what} has no argument {key!r}; {suggest(key, allowed)}")
    for key in needed:
        if key not in given:
            raise UserError(f"{what} needs the argument {key!r}")


def _check_schedule(block, file):
    module = paddle.optimizer.lr
    known = {n: c for n, c in vars(module).items() if inspect.isclass(c) and issubclass(c, module.LRScheduler)}
    kind = block.get("type")
    if kind not in known:
        raise UserError(f"{file}: lr_scheduler has the unknown type {kind!r}; {suggest(kind, known)}")
    warmup = {"warmup_iters", "warmup_start_lr"} & set(block)
    if len(warmup) == 1:
        raise UserError(
            f"{file}: lr_scheduler has {warmup.pop()} alone; give warmup_iters and warmup_start_lr, or none"
        )
    for key in warmup:
        if not _is_number(block[key]):
            raise UserError(f"{file}: lr_scheduler.{key} is {block[key]!r}; a number is expected")
    rest = {key: value for key, value in block.items() if key not in warmup}
    _check_arguments(known[kind], rest, f"{file}: lr_scheduler: {kind}", {"decay_steps"})


def check_test_config(settings: Any, where: str) -> None:
    """Raises UserError for a `test_config` that evaluation cannot follow.

    Args:
        settings: PaddleSeg's keys: aug_eval, scales, flip_horizontal, is_slide, crop_size and stride in pixels as
            [width, height], ...
        where: what the message calls it.
    """
    if not isinstance(settings, dict):
        raise UserError(f"{where} is {settings!r}; a block of keys and values is expected")
    for key in settings:
        if key not in TEST_KEYS:
            raise UserError(f"{where} has no key {key!r}; {suggest(key, TEST_KEYS)}")
    scales = settings.get("scales", 1.0)
    for scale in scales if isinstance(scales, (list, tuple)) else [scales]:
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale <= 16:
            raise UserError(f"{where}: scales are {scales!r}; numbers above 0, to at most 16, are expected")
    if not settings.get("is_slide"):
        return
    crop: Any = settings.get("crop_size")
    stride: Any = settings.get("stride")
    for name, value in (("crop_size", crop), ("stride", stride)):
        if not _is_size(value):
            raise UserError(f"{where}: is_slide needs {name} as [width, height] in pixels, and it is {value!r}")
    if stride[0] > crop[0] or stride[1] > crop[1]:
        raise UserError(
            f"{where}: stride {list(stride)} is larger than crop_size {list(crop)} [width, height], so pixels would be "
            f"left out; give a stride of at most the crop"
        )


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_size(value):
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(type(v) is int and v > 0 for v in value)


def check_classes(dic: Mapping[str, Any], classes: int, file: Path) -> None:
    """Raises UserError when model, data sets, losses and class_names do not agree on the number of classes."""
    given = {"model.num_classes": dic["model"].get("num_classes", classes)}
    for key in ("train_dataset", "val_dataset"):
        if key in dic:
            given[f"{key} ({dic[key]['type']})"] = classes_of(dic[key], classes)
    for where, block in _losses(dic):
        if isinstance(block.get("weight"), list):
            given[f"the weights of {where} ({block['type']})"] = len(block["weight"])
        for key in ("num_class", "num_classes"):
            if key in block:
                given[f"{where}.{key} ({block['type']})"] = block[key]
    if dic.get("class_names") is not None:
        given["class_names"] = len(dic["class_names"])
    if len(set(given.values())) > 1:
        numbers = ", ".join(f"{name}: {value}" for name, value in given.items())
        raise UserError(f"{file}: the numbers of classes differ ({numbers}); set them alike")


def check_channels(dic: Mapping[str, Any], file: Path) -> None:
    """Raises UserError when training and evaluation read pictures of different numbers of channels."""
    given = [dic[key].get("img_channels", 3) for key in ("train_dataset", "val_dataset") if key in dic]
    if len(set(given)) > 1:
        raise UserError(
            f"{file}: train_dataset.img_channels is {given[0]} and val_dataset.img_channels is {given[1]}; one network "
            f"takes both, so set them alike"
        )


def num_classes(dic: Mapping[str, Any]) -> int:
    """The number of classes of a configuration: the model's, else the training set's; UserError without either."""
    classes = dic["model"].get("num_classes", classes_of(dic["train_dataset"]))
    if type(classes) is not int or classes < 1:
        raise UserError(f"num_classes is {classes!r}; set model.num_classes to the number of classes")
    return classes


def classes_of(dataset: Mapping[str, Any], default: int | None = None) -> Any:
    """The number of classes of a data set's block."""
    component = manager.DATASETS.components_dict[dataset["type"]]
    return getattr(component, "NUM_CLASSES", dataset.get("num_classes", default))


def check_loss_pixels(dic: Mapping[str, Any], file: Path) -> None:
    """Raises UserError when a loss keeps the min_K hardest pixels and a training sample has no more than min_K."""
    size = sample_size(dic["train_dataset"].get("transforms") or ())
    for where, block in _losses(dic):
        if block["type"] != "BootstrappedCrossEntropyLoss":
            continue
        if type(block["min_K"]) is not int or block["min_K"] < 1:
            raise UserError(f"{file}: {where}.min_K is {block['min_K']!r}; a whole number of pixels is expected")
        if size and block["min_K"] >= size[0] * size[1]:
            raise UserError(
                f"{file}: {where}.min_K is {block['min_K']}, and a training sample of {size[0]} x {size[1]} has "
                f"{size[0] * size[1]} pixels; give fewer, such as {max(1, size[0] * size[1] // 16)}"
            )


def _losses(dic):
    """(place, block) of every loss, those of a MixedLoss included."""
    for key in ("loss", "distill_loss"):
        for position, block in enumerate(dic.get(key, {}).get("types", ())):
            yield f"{key}.types.{position}", block
            for inner, part in enumerate(block.get("losses") or ()):
                yield f"{key}.types.{position}.losses.{inner}", part


def sample_size(transforms: Iterable[Mapping[str, Any]]) -> tuple[int, int] | None:
    """(width, height) in pixels of a picture after these transforms, or None when it depends on the picture."""
    size: Any = None
    for step in transforms:
        if step["type"] in _ANY_SIZE or step.get("keep_ratio") or step.get("size_divisor"):
            size = None
        elif step["type"] in _LEFT_SIZE:
            size = argument(step, _LEFT_SIZE[step["type"]])
    return tuple(size) if _is_size(size) else None


def argument(step: Mapping[str, Any], name: str) -> Any:
    """An argument of a transform's block, or the default of its constructor."""
    default = inspect.signature(manager.TRANSFORMS[step["type"]]).parameters[name].default
    return step.get(name, default)
