"""Matching detected boxes with true ones, as COCO's evaluation does, and average precision.

Source: pycocotools' cocoeval (Lin et al., "Microsoft COCO", 2014). The tests compare with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

#: detections of a class in a picture that count, those with the highest scores
LIMIT = 100
#: COCO's sizes of objects: (name, smallest and largest area in square pixels)
SIZES = (("small", 0.0, 32.0**2), ("medium", 32.0**2, 96.0**2), ("large", 96.0**2, 1e10))

Rows = TypeVar("Rows", "Truth", "Detections")


@dataclass
class Truth:
    """The boxes that are there. All arrays have one entry for each.

    Attributes:
        picture: int (M,), number of the picture.
        label: int (M,), number of the class.
        boxes: float (M, 4): left, top, width, height in pixels.
        area: float (M,), in square pixels.
        ignored: bool (M,): crowds and difficult objects. They need not be found, and what finds them is no error.
        crowd: bool (M,): may be found many times, and a detection overlaps it as far as it lies inside.
    """

    picture: np.ndarray
    label: np.ndarray
    boxes: np.ndarray
    area: np.ndarray
    ignored: np.ndarray
    crowd: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def per_class(self, classes: int) -> np.ndarray:
        """int (classes,): the boxes of each class that must be found."""
        return np.bincount(self.label[~self.ignored], minlength=classes)


@dataclass
class Detections:
    """What a detector found. All arrays have one entry for each box.

    Attributes:
        picture: int (D,), number of the picture.
        label: int (D,), number of the class.
        boxes: float (D, 4): left, top, width, height in pixels.
        score: float (D,), 0 to 1.
    """

    picture: np.ndarray
    label: np.ndarray
    boxes: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def best(self, limit: int = LIMIT) -> Detections:
        """The `limit` best of each class in each picture, sorted by picture, then from high to low score."""
        order = np.lexsort((-self.score, self.label, self.picture))
        keys = np.column_stack([self.picture, self.label])[order]
        first = np.r_[True, (keys[1:] != keys[:-1]).any(1)] if len(keys) else np.zeros(0, bool)
        starts = np.flatnonzero(first)
        rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
        kept = order[rank < limit]
        return take(self, kept[np.lexsort((kept, -self.score[kept], self.picture[kept]))])


def take(rows: Rows, index: np.ndarray) -> Rows:
    """The rows with these places, or for which a bool array is True."""
    return type(rows)(**{field.name: getattr(rows, field.name)[index] for field in fields(rows)})


def overlaps(found: np.ndarray, true: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Intersection over union of every detected box with every true one.

    IoU = |A n B| / |A u B|. For a crowd B it is |A n B| / |A|: the share of the detection that lies inside.

    Args:
        found: (D, 4) left, top, width, height.
        true: (M, 4) likewise.
        crowd: bool (M,).

    Returns:
        float (D, M), 0 to 1.
    """
    start = np.maximum(found[:, None, :2], true[None, :, :2])
    end = np.minimum((found[:, :2] + found[:, 2:])[:, None], (true[:, :2] + true[:, 2:])[None])
    common = np.maximum(end - start, 0).prod(2)
    area = found[:, 2:].prod(1)[:, None]
    union = np.where(crowd[None], area, area + true[:, 2:].prod(1)[None] - common)
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def by_picture(truth: Truth, found: Detections) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields for each picture that has both (places of its detections, best first; places of its true boxes)."""
    true_order = np.argsort(truth.picture, kind="stable")
    numbers, starts, counts = np.unique(truth.picture[true_order], return_index=True, return_counts=True)
    places = {number: true_order[s : s + n] for number, s, n in zip(numbers.tolist(), starts, counts)}
    order = np.lexsort((-found.score, found.picture))
    numbers, starts, counts = np.unique(found.picture[order], return_index=True, return_counts=True)
    for number, start, count in zip(numbers.tolist(), starts, counts):
        if number in places:
            yield order[start : start + count], places[number]


@dataclass
class Matches:
    """Which detection found which true box.

    Attributes:
        truth: int (D,): the place of the true box that a detection found; -1 for none.
        ignored: bool (D,): counts neither as right nor as wrong.
    """

    truth: np.ndarray
    ignored: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """bool (D,): the detections that count as right."""
        return (self.truth >= 0) & ~self.ignored

    @property
    def wrong(self) -> np.ndarray:
        """bool (D,): the detections that count as wrong."""
        return (self.truth < 0) & ~self.ignored


def match(truth: Truth, found: Detections, iou: float = 0.5, area: tuple[float, float] | None = None) -> Matches:
    """Matches detections with true boxes of their class as COCO does.

    From the highest score to the lowest, a detection takes the free true box of its class that it overlaps most, if
    their IoU is at least `iou`. Ignored boxes come after the others.

    Args:
        truth, found: of all pictures.
        iou: the least overlap.
        area: (smallest, largest) area in square pixels. Objects of other sizes are ignored, and so are detections of
            other sizes that found nothing.
    """
    ignored = truth.ignored
    if area is not None:
        ignored = ignored | (truth.area < area[0]) | (truth.area > area[1])
    result = np.full(len(found), -1)
    least = min(iou, 1 - 1e-10)
    for places, targets in by_picture(truth, found):
        table = overlaps(found.boxes[places], truth.boxes[targets], truth.crowd[targets])
        table[found.label[places][:, None] != truth.label[targets][None]] = 0
        _match_one(table, least, ignored[targets], truth.crowd[targets], places, targets, result)
    left_out = np.append(ignored, False)[result]  # -1 is the last one
    if area is not None:
        size = found.boxes[:, 2:].prod(1)
        left_out |= (result < 0) & ((size < area[0]) | (size > area[1]))
    return Matches(result, left_out)


def _match_one(table, least, ignored, crowd, places, targets, result):
    """Matches in one picture; `table` (D, M) holds the overlaps."""
    free = np.ones(len(targets), bool)
    for row in np.flatnonzero((table >= least).any(1)):
        options = (table[row] >= least) & (free | crowd)
        options = options & ~ignored if (options & ~ignored).any() else options
        if options.any():
            values = np.where(options, table[row], -1)
            best = len(values) - 1 - int(values[::-1].argmax())  # of equal ones COCO takes the last
            free[best] = False
            result[places[row]] = targets[best]


def precision_at_recalls(score: np.ndarray, right: np.ndarray, truths: int) -> np.ndarray:
    """Precision at the recalls 0, 0.01, ... 1, as COCO interpolates: the best precision at this recall or a higher one.

    Args:
        score: float (N,), of the detections that count.
        right: bool (N,).
        truths: how many objects there are.

    Returns:
        float (101,).
    """
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(right[order])
    recall, precision = hits / max(truths, 1), hits / (np.arange(1, len(hits) + 1) + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return np.append(precision, 0.0)[np.minimum(place, len(precision))]


def average_precision(label: np.ndarray, score: np.ndarray, right: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """AP of each class: the mean of `precision_at_recalls`.

    Args:
        label: int (N,), classes of the detections that count.
        score: float (N,).
        right: bool (N,).
        truths: int (C,), objects of each class.

    Returns:
        float (C,), 0 to 1; nan for a class without objects.
    """
    values = np.full(len(truths), np.nan)
    for number in np.flatnonzero(truths > 0):
        own = label == number
        values[number] = precision_at_recalls(score[own], right[own], truths[number]).mean()
    return values
