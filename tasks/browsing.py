"""Training pictures on a sheet: the order in which they come, and how each fits its cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image


def prepared_samples(dataset: Any, count: int, seed: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (number of the picture, what the data set makes of it) for `count` pictures in random order.

    A set with fewer pictures comes again, augmented anew.

    Args:
        dataset: a `paddle.io.Dataset` that takes (epoch, number) and returns arrays, or an exception.
        count: of pictures, at least 1.
        seed: of the order.

    Raises:
        UserError: a picture cannot be prepared.
    """
    orders = np.random.default_rng(seed)
    for epoch in range(-(-count // len(dataset))):
        for number in orders.permutation(len(dataset))[: count - epoch * len(dataset)]:
            data = dataset[epoch, int(number)]
            if isinstance(data, Exception):
                raise data
            yield int(number), data


def fit_into_cell(image: np.ndarray, cell: int) -> Image.Image:
    """uint8 (H, W, 3) in RGB -> a Pillow picture whose longer side is `cell` pixels."""
    return Image.fromarray(image).resize(size_in_cell(image, cell), Image.Resampling.LANCZOS)


def size_in_cell(image: np.ndarray, cell: int) -> tuple[int, int]:
    """(width, height) of an image (H, W, ...) whose longer side is `cell` pixels."""
    height, width = image.shape[:2]
    scale = cell / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))
