"""OpenCV's resizing of 8-bit pictures in NumPy, for programs that should not need OpenCV.

As OpenCV 4.5 on x86 processors: bilinear in fixed-point arithmetic with weights of 11 bits, bicubic with a = -0.75 in
floating point, edges repeated, no smoothing when a picture becomes smaller. Fewer than one value in a thousand differs
from OpenCV's, by one.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

_opencv: Any = None


def prefer_opencv() -> None:
    """Lets `resize` call OpenCV, where it can be imported: for programs that have it anyway, in a tenth of the time."""
    global _opencv
    with suppress(ImportError):  # NumPy does it then
        import cv2

        _opencv = cv2


def _by_opencv(image, size, method, scale):
    methods = {"bilinear": _opencv.INTER_LINEAR, "bicubic": _opencv.INTER_CUBIC}
    options = {"interpolation": methods[method]}
    if scale is None:
        found = _opencv.resize(image, size, **options)
    else:
        found = _opencv.resize(image, None, fx=scale[1], fy=scale[0], **options)
    return found.reshape(*found.shape[:2], *image.shape[2:])


_ONE = 1 << 11
_CUBIC = -0.75


def resize(
    image: np.ndarray, size: tuple[int, int], method: str = "bilinear", scale: tuple[float, float] | None = None
) -> np.ndarray:
    """Resizes a picture as `cv2.resize` does with INTER_LINEAR, INTER_CUBIC or INTER_NEAREST.

    Args:
        image: uint8 (H, W, C); of any type for "nearest".
        size: (height, width) of the result in pixels.
        method: "bilinear", "bicubic" or "nearest".
        scale: (y, x) by which OpenCV was told to enlarge; None takes it from the sizes.

    Returns:
        uint8 (height, width, C).
    """
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    steps = (
        [old / new for old, new in zip(image.shape[:2], size)] if scale is None else [1 / factor for factor in scale]
    )
    if _opencv is not None and method != "nearest":
        return _by_opencv(image, (width, height), method, scale)
    if method == "nearest":
        rows, columns = map(_nearest, image.shape[:2], size, steps)
        return np.ascontiguousarray(image[rows][:, columns])
    return (_cubic if method == "bicubic" else _linear)(image, size, steps)


def _nearest(old, new, step):
    return np.minimum((np.arange(new) * step).astype(np.int64), old - 1)


def _places(new, step):
    """(the place left of each new one, how far it is from there, 0 to 1)."""
    place = ((np.arange(new) + 0.5) * step - 0.5).astype(np.float32)
    left = np.floor(place).astype(np.int64)
    return left, place - left.astype(np.float32)


def _linear(image, size, steps):
    taps = []
    for old, new, step in zip(image.shape[:2], size, steps):
        left, share = _places(new, step)
        share = np.where((left < 0) | (left >= old - 1), np.float32(0), share)
        left = np.clip(left, 0, old - 1)
        weights = [np.rint((np.float32(1) - share) * _ONE).astype(np.int32), np.rint(share * _ONE).astype(np.int32)]
        taps.append(([left, np.minimum(left + 1, old - 1)], weights))
    (rows, down), (columns, right) = taps
    across = sum(image[:, columns[k]].astype(np.int32) * right[k][None, :, None] for k in (0, 1))
    # OpenCV drops bits between the two passes
    first, second = ((down[k][:, None, None] * (across[rows[k]] >> 4)) >> 16 for k in (0, 1))
    return np.clip((first + second + 2) >> 2, 0, 255).astype(np.uint8)


def _cubic(image, size, steps):
    a, taps = np.float32(_CUBIC), []
    for old, new, step in zip(image.shape[:2], size, steps):
        left, x = _places(new, step)
        far = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        other = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1
        places = [np.clip(left + shift, 0, old - 1) for shift in (-1, 0, 1, 2)]
        taps.append((places, [far, near, other, 1 - far - near - other]))
    (rows, down), (columns, right) = taps
    values = image.astype(np.float32)
    across = sum(values[:, columns[k]] * right[k][None, :, None] for k in range(4))
    found = sum(across[rows[k]] * down[k][:, None, None] for k in range(4))
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)


def stretch(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a picture so that pixel (0, 0) stays pixel (0, 0), as `cv2.warpAffine` does: black beyond the last one.

    Args:
        image: uint8 (H, W, C).
        size: (height, width) of the result in pixels.
    """
    padded = np.pad(image, [(0, 1), (0, 1), (0, 0)]).astype(np.float32)
    taps = []
    for old, new in zip(image.shape[:2], size):
        place = np.rint(np.arange(new) * (old / new) * 32) / 32  # OpenCV's fractions have five bits
        left = np.minimum(np.floor(place).astype(np.int64), old - 1)
        taps.append((left, (place - left).astype(np.float32)))
    (rows, down), (columns, right) = taps
    across = padded[:, columns] * (1 - right)[None, :, None] + padded[:, columns + 1] * right[None, :, None]
    found = across[rows] * (1 - down)[:, None, None] + across[rows + 1] * down[:, None, None]
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)
