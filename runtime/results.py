"""What a model finds on a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Boxes:
    """A detector's objects, the best first.

    Attributes:
        boxes: float32 (M, 4): left, top, right, bottom in pixels of the picture.
        scores: float32 (M,), 0 to 1.
        labels: int64 (M,), places in the model's classes.
        names: the name of each label.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: list[str]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass
class Pixels:
    """A segmentation model's class of every pixel: labels, uint8 or int32 (H, W) of the picture's size."""

    labels: np.ndarray


@dataclass
class Classes:
    """A classifier's classes, the best first.

    Attributes:
        labels: int64 (K,), places in the model's classes.
        scores: float64 (K,), softmax, 0 to 1.
        names: the name of each.
    """

    labels: np.ndarray
    scores: np.ndarray
    names: list[str]


@dataclass
class Maps:
    """A backbone's outputs: maps, float32 (C, H, W) or (C,) each."""

    maps: list[np.ndarray]
