"""How a detector's or segmentation model's picture becomes its input: steps of a model card, in NumPy alone.

    {"resize": {"size": [320, 320], "keep_ratio": false, "interpolation": "bicubic"}}
    {"stretch": {"size": [512, 512]}}
    {"normalize": {"mean": [...], "std": [...], "scale": 255}}
    {"pad": {"stride": 32}}                    or {"pad": {"size": [1344, 1344]}}, below and right, with zeros

They are those of PaddleDetection and PaddleSeg, with the values that OpenCV gives (see `resizing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UserError
from .reading import MAX_PIXELS
from .resizing import resize, stretch

STEPS = ("resize", "stretch", "normalize", "pad")
METHODS = ("bilinear", "bicubic", "nearest")


@dataclass
class Prepared:
    """A picture as a network takes it.

    Attributes:
        image: float32 (3, H, W).
        shape: (height, width) before padding, in pixels.
        scale: (y, x) of the prepared size over the picture's.
    """

    image: np.ndarray
    shape: tuple[float, float]
    scale: tuple[float, float]


def check_steps(steps: Any) -> None:
    """Raises UserError unless these are steps that `prepare` knows."""
    try:
        for step in steps:
            ((name, values),) = step.items()
            if name in ("resize", "stretch"):
                good = len(values["size"]) == 2 and all(type(side) is int and side > 0 for side in values["size"])
                good = good and values.get("interpolation", "bilinear") in METHODS
            elif name == "normalize":
                good = all(len(values[key]) == 3 for key in ("mean", "std")) and 0 not in values["std"]
                good = good and values["scale"] in (1, 255)
            else:
                sides = values["size"] if "size" in values else [values["stride"]]
                good = name == "pad" and all(type(side) is int and side > 0 for side in sides)
            if not good:
                raise ValueError(f"{name}: {values}")
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UserError(f"preprocessing has a step that is not known ({error}); one of {', '.join(STEPS)}") from error


def prepare(image: np.ndarray, steps: Sequence[Mapping[str, Any]]) -> Prepared:
    """Turns a picture into a network's input.

    Args:
        image: uint8 (H, W, 3) in RGB.
        steps: see above.
    """
    height, width = image.shape[:2]
    shape: tuple[float, float] = (height, width)
    scale, values = (1.0, 1.0), image
    for step in steps:
        ((name, given),) = step.items()
        if name == "resize":
            values, shape, scale = _resized(values, given)
        elif name == "stretch":
            size = tuple(given["size"])
            shape, scale = size, (size[0] / height, size[1] / width)
            values = stretch(values, size)
        elif name == "normalize":
            # as planes in memory, shown as (H, W, 3): a tenth of the time
            values = _normalized(values.transpose(2, 0, 1), given).transpose(1, 2, 0)
        else:
            missing = _missing(values.shape[:2], given)
            if any(missing):
                values = np.pad(values.transpose(2, 0, 1), [(0, 0), (0, missing[0]), (0, missing[1])]).transpose(
                    1, 2, 0
                )
    return Prepared(np.ascontiguousarray(values.transpose(2, 0, 1), np.float32), shape, scale)


def _missing(sides, given):
    """Pixels to add below and right."""
    if "size" not in given:
        return [-side % given["stride"] for side in sides]
    missing = [wanted - side for side, wanted in zip(sides, given["size"])]
    if min(missing) < 0:
        raise UserError(
            f"{sides[1]} x {sides[0]} prepared pixels do not fit into {given['size'][1]} x {given['size'][0]}"
        )
    return missing


def _resized(image, given):
    height, width = image.shape[:2]
    target = given["size"]
    if given.get("keep_ratio"):
        factor = min(min(target) / min(height, width), max(target) / max(height, width))
        shape, scale = (factor * height, factor * width), (factor, factor)
        size = round(shape[0]), round(shape[1])
    else:
        size = target[0], target[1]
        shape, scale = size, (target[0] / height, target[1] / width)
    if size[0] * size[1] > MAX_PIXELS:
        raise UserError(f"{width} x {height} pixels would become {size[1]} x {size[0]}; crop the picture")
    factors = scale if given.get("keep_ratio") else None
    return resize(image, size, given.get("interpolation", "bilinear"), factors), shape, scale


def _normalized(planes, given):
    values = planes.astype(np.float32, order="C")
    if given["scale"] != 1:
        values *= np.float32(1.0 / given["scale"])
    values -= np.array(given["mean"], np.float32).reshape(3, 1, 1)
    values /= np.array(given["std"], np.float32).reshape(3, 1, 1)
    return values
