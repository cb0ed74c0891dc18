"""The sizes of pictures in PaddleDetection's three readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..settings import both_sides, in_strides

READERS = ("TrainReader", "EvalReader", "TestReader")
# arguments of PaddleDetection's transforms that are a size: [height, width], or one side
_SIZES = ("target_size", "input_dim")
# transforms whose `size` is one
_SIZED = ("Pad", "CenterNetStretch")


def transforms(cfg: Mapping[str, Any], readers: Sequence[str] = READERS) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, arguments) of every transform of the readers. The arguments can be changed."""
    for reader in (cfg.get(name) or {} for name in readers):
        for step in [*(reader.get("sample_transforms") or ()), *(reader.get("batch_transforms") or ())]:
            for transform, arguments in step.items():
                yield transform, arguments or {}


def resize(cfg: Any, imgsz: Sequence[int], several: bool = True) -> None:
    """Sets every size in the three readers, and eval_size.

    Sizes that training chooses from keep their proportion to the size of evaluation, in steps of 32 pixels. A single
    number is the shorter side where pictures keep their proportions; the longer one changes with it.

    Args:
        cfg: PaddleDetection's configuration.
        imgsz: (height, width), or (side,).
        several: False leaves training one size to choose from.
    """
    new, old = new_size(cfg, imgsz), fixed_size(cfg)
    for reader in (cfg.get(name) or {} for name in READERS):
        inputs = reader.get("inputs_def") or {}
        if len(shape := inputs.get("image_shape") or ()) >= 2:
            inputs["image_shape"] = [*shape[:-2], *(n if side > 0 else side for n, side in zip(new, shape[-2:]))]
    for transform, arguments in transforms(cfg):
        for key in set(arguments) & {*_SIZES, *(["size"] if transform in _SIZED else [])}:
            if not _chooses(transform, arguments):
                arguments[key] = list(new)
            elif several and old:
                arguments[key] = [_scaled(size, old, new) for size in arguments[key]]
            else:
                arguments[key] = [list(new)]
        arguments.update({key: side for key, side in zip(("input_h", "input_w"), new) if key in arguments})
    if cfg.get("eval_size"):
        cfg["eval_size"] = list(new)


def new_size(cfg: Mapping[str, Any], imgsz: Sequence[int]) -> tuple[int, int]:
    """(height, width) that a size with one or two numbers means for a configuration; see `resize`."""
    old = fixed_size(cfg)
    keeps = any(arguments.get("keep_ratio") for _, arguments in transforms(cfg, ("EvalReader",)))
    if len(imgsz) == 2 or old is None or not keeps:
        return both_sides(imgsz)
    height, width = (imgsz[0] if side == min(old) else in_strides(imgsz[0] * side / min(old)) for side in old)
    return height, width


def fixed_size(cfg: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) to which evaluation, or else prediction or training, resizes pictures; None where none says."""
    for reader in ("EvalReader", "TestReader", "TrainReader"):
        for transform, arguments in transforms(cfg, (reader,)):
            if "input_h" in arguments and "input_w" in arguments:
                return arguments["input_h"], arguments["input_w"]
            size = arguments.get("size" if transform == "CenterNetStretch" else "target_size")
            if size and not _chooses(transform, arguments):
                return both_sides(size) if isinstance(size, (list, tuple)) else (size, size)
    return None


def _chooses(transform, arguments):
    """Whether a transform holds a list of sizes."""
    chooses = arguments.get("random_size", True) or arguments.get("random_range", False)
    return transform in ("RandomResize", "BatchRandomResize") and chooses


def _scaled(size, old, new):
    """One of several sizes, a side or [height, width], in proportion to the size of evaluation."""
    sides = size if isinstance(size, (list, tuple)) else [size, size]
    height, width = (in_strides(side * after / before) for side, before, after in zip(sides, old, new))
    return height if height == width and not isinstance(size, (list, tuple)) else [height, width]
