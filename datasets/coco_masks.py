"""Masks as COCO has them: polygons, and run-length encodings (RLE) as lists or packed into texts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def mask_of(value: Any) -> Any:
    """A mask as COCO has it: polygons of three points or more, or RLE as a dict; None when there is none."""
    if isinstance(value, dict):
        counts, size = value.get("counts"), value.get("size")
        whole = isinstance(counts, (str, list)) and counts and isinstance(size, list) and len(size) == 2
        return value if whole else None
    if not isinstance(value, list):
        return None
    polygons = [value] if value and not isinstance(value[0], list) else value  # one polygon without its list
    usable = [polygon for polygon in polygons if _is_polygon(polygon)]
    return usable or None


def _is_polygon(values):
    return (
        isinstance(values, list)
        and len(values) >= 6
        and len(values) % 2 == 0
        and all(isinstance(value, (int, float)) and -1e9 < value < 1e9 for value in values)
    )


def area_of(mask: Any) -> float:
    """Square pixels of a mask; nan without one. Polygons that overlap count twice there."""
    if isinstance(mask, list):
        points = (np.reshape(polygon, (-1, 2)).T for polygon in mask)
        return sum(abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2 for x, y in points)
    if isinstance(mask, dict) and isinstance(mask["counts"], list):
        return float(sum(mask["counts"][1::2]))
    if isinstance(mask, dict):
        from pycocotools.mask import area

        return float(area(mask))
    return math.nan


def box_of(mask: Any) -> list[float]:
    """The box of polygons or RLE as [left, top, width, height]."""
    if isinstance(mask, dict):
        from pycocotools.mask import frPyObjects, toBbox

        return toBbox(frPyObjects(mask, *mask["size"]) if isinstance(mask["counts"], list) else mask).tolist()
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in mask])
    return [*points.min(0).tolist(), *np.ptp(points, 0).tolist()]
