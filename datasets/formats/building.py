"""Collects pictures and boxes one by one and makes `Annotations` of them: what the readers of most formats share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..annotations import Annotations, Picture
from ..coco_masks import area_of


class Builder:
    """Annotations in the making.

    Args:
        source: the file or folder, for messages.
        classes: the class names, in their order; None numbers classes as they come, sorted by name at the end.
    """

    def __init__(self, source: str, classes: Sequence[str] | None = None):
        self.source, self.is_open = source, classes is None
        self.classes = list(classes or ())
        self.places = {name: place for place, name in enumerate(self.classes)}
        self.pictures: list[Picture] = []
        self.rows: list[tuple[int, int, Sequence[float], bool, bool, str, Any, float]] = []

    def add_picture(self, name: str, width: float | None = None, height: float | None = None) -> int:
        """Adds a picture; returns its place. Sizes are in pixels."""
        self.pictures.append(Picture(len(self.pictures) + 1, name, width, height))
        return len(self.pictures) - 1

    def add_class(self, name: str) -> int:
        """The place of a class, which is added where it is new."""
        if name not in self.places:
            self.places[name] = len(self.classes)
            self.classes.append(name)
        return self.places[name]

    def add(
        self,
        picture: int,
        label: int,
        box: Sequence[float],
        what: str,
        mask: Any = None,
        crowd: bool = False,
        difficult: bool = False,
        area: float = math.nan,
    ) -> None:
        """Adds a box, [left, top, width, height] in pixels; `what` is what messages call it."""
        self.rows.append((picture, label, box, crowd, difficult, what, mask, area))

    def build(self) -> Annotations:
        """The annotations. Classes that were numbered as they came are sorted by name."""
        order = list(range(len(self.classes)))
        if self.is_open:
            order = sorted(order, key=lambda place: self.classes[place])
        number = np.argsort(order) if order else np.zeros(0, np.int64)
        columns = list(zip(*self.rows)) if self.rows else [()] * 8
        labels = np.array(columns[1], np.int64)
        masks = list(columns[6])
        areas = np.array(columns[7], float)
        for place in np.flatnonzero(np.isnan(areas)):
            areas[place] = area_of(masks[place])
        return Annotations(
            self.source,
            self.pictures,
            [self.classes[place] for place in order],
            list(range(1, len(order) + 1)),
            np.array(columns[0], np.int64),
            number[labels] if len(labels) else labels,
            np.array([list(box) for box in columns[2]], float).reshape(-1, 4),
            areas,
            np.array(columns[3], bool),
            np.array(columns[4], bool),
            np.array(columns[5], object),
            masks if any(mask is not None for mask in masks) else None,
        )


def box_of_points(points: Sequence[float]) -> list[float]:
    """[left, top, width, height] of points x1, y1, x2, y2, ..."""
    xs, ys = points[0::2], points[1::2]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def number(value: Any) -> float:
    """A number that is given as one or as a text; else nan."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def join(parts: Sequence[Annotations]) -> Annotations:
    """Several annotation files as one data set; classes are joined by their names, in the order in which they come."""
    if len(parts) == 1:
        return parts[0]
    classes = list(dict.fromkeys(name for part in parts for name in part.classes))
    places = {name: place for place, name in enumerate(classes)}
    starts = np.cumsum([0, *(len(part.pictures) for part in parts)])
    labels = [np.array([places[name] for name in p.classes], np.int64)[p.label] if len(p) else p.label for p in parts]
    pictures = [picture for part in parts for picture in part.pictures]
    for place, picture in enumerate(pictures, 1):
        picture.id = place
    with_masks = any(part.masks is not None for part in parts)
    masks = [mask for part in parts for mask in (part.masks or [None] * len(part))]
    return Annotations(
        ", ".join(part.source for part in parts),
        pictures,
        classes,
        list(range(1, len(classes) + 1)),
        np.concatenate([part.picture + start for part, start in zip(parts, starts)]),
        np.concatenate(labels),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.area for part in parts]),
        np.concatenate([part.crowd for part in parts]),
        np.concatenate([part.difficult for part in parts]),
        np.concatenate([part.names for part in parts]),
        masks if with_masks else None,
        any(part.has_truth for part in parts),
    )


def selected(found: Annotations, places: Sequence[int], source: str | None = None) -> Annotations:
    """A copy with some of the pictures, in the given order, and their boxes."""
    order = np.asarray(places, np.int64)
    new = np.full(len(found.pictures), -1, np.int64)
    new[order] = np.arange(len(order))
    kept = np.flatnonzero(new[found.picture] >= 0)
    return Annotations(
        source or found.source,
        [replace(found.pictures[place]) for place in order],
        list(found.classes),
        list(found.category_ids),
        new[found.picture[kept]],
        found.label[kept].copy(),
        found.boxes[kept].copy(),
        found.area[kept].copy(),
        found.crowd[kept].copy(),
        found.difficult[kept].copy(),
        found.names[kept].copy(),
        None if found.masks is None else [found.masks[index] for index in kept],
        found.has_truth,
    )
