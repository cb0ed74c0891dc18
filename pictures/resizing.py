"""OpenCV's resizing of 8-bit pictures in NumPy, for programs that should not need OpenCV.

Fixed-point arithmetic as OpenCV's (4.5): weights of 11 bits, cubic kernel with a = -0.75, edges repeated, no smoothing
when a picture becomes smaller. The values differ from OpenCV's by one at most, which its own processors' code does too.
"""

from __future__ import annotations

import numpy as np

_BITS = 11
_ONE = 1 << _BITS
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
    if method == "nearest":
        rows, columns = map(_nearest, image.shape[:2], size, steps)
        return np.ascontiguousarray(image[rows][:, columns])
    taps = _cubic if method == "bicubic" else _linear
    columns, weights = taps(image.shape[1], width, steps[1])
    across = sum(image[:, columns[k]].astype(np.int32) * weights[k][None, :, None] for k in range(len(columns)))
    rows, weights = taps(image.shape[0], height, steps[0])
    if method == "bilinear":  # OpenCV drops bits between the two passes here
        first, second = ((weights[k][:, None, None] * (across[rows[k]] >> 4)) >> 16 for k in (0, 1))
        found = (first + second + 2) >> 2
    else:
        found = sum(across[rows[k]].astype(np.int64) * weights[k][:, None, None] for k in range(len(rows)))
        found = (found + (1 << (2 * _BITS - 1))) >> (2 * _BITS)
    return np.clip(found, 0, 255).astype(np.uint8)


def _nearest(old, new, step):
    return np.minimum((np.arange(new) * step).astype(np.int64), old - 1)


def _places(new, step):
    """(the place left of each new one, how far it is from there, 0 to 1)."""
    place = ((np.arange(new) + 0.5) * step - 0.5).astype(np.float32)
    left = np.floor(place).astype(np.int64)
    return left, place - left.astype(np.float32)


def _linear(old, new, step):
    left, share = _places(new, step)
    share = np.where((left < 0) | (left >= old - 1), np.float32(0), share)
    left = np.clip(left, 0, old - 1)
    second = np.rint(share * _ONE).astype(np.int32)
    first = np.rint((np.float32(1) - share) * _ONE).astype(np.int32)
    return [left, np.minimum(left + 1, old - 1)], [first, second]


def _cubic(old, new, step):
    left, x = _places(new, step)
    a = np.float32(_CUBIC)
    far = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    other = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1
    weights = [far, near, other, 1 - far - near - other]
    places = [np.clip(left + shift, 0, old - 1) for shift in (-1, 0, 1, 2)]
    return places, [np.rint(weight * _ONE).astype(np.int32) for weight in weights]


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
