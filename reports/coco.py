"""What the arrays of a COCO evaluation say of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .boxes import SIZES

_IOU_50, _IOU_75, _ALL, _MOST = 0, 5, 0, -1


@dataclass
class ClassScores:
    """AP and recall of each category, 0 to 1; nan for one without objects.

    Attributes:
        categories: their ids.
        values: {"AP" (mean over the IoU thresholds 0.50:0.95), "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
            "AR" (recall of at most 100 detections, mean over the IoU thresholds)}: float (K,).
    """

    categories: list[Any]
    values: dict[str, np.ndarray]


def class_scores(categories: Sequence[Any], precision: np.ndarray, recall: np.ndarray) -> ClassScores:
    """The figures of each category, from `COCOeval.eval` of pycocotools.

    Args:
        categories: K ids, in the order of the arrays.
        precision: (10 IoU thresholds, 101 recalls, K, 4 sizes, 3 limits); -1 where there is no object.
        recall: (10, K, 4, 3) likewise.
    """
    usual = _there(precision[:, :, :, _ALL, _MOST])
    values = {"AP": usual.mean((0, 1)), "AP50": usual[_IOU_50].mean(0), "AP75": usual[_IOU_75].mean(0)}
    for place, (name, _, _) in enumerate(SIZES, 1):
        values[f"AP_{name}"] = _there(precision[:, :, :, place, _MOST]).mean((0, 1))
    values["AR"] = _there(recall[:, :, _ALL, _MOST]).mean(0)
    return ClassScores(list(categories), values)


def _there(values):
    return np.where(values > -1, values, np.nan)
