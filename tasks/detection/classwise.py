"""The figures of each class, from what PaddleDetection's evaluation computes anyway; boxes as a report takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...datasets.annotations import Annotations
from ...datasets.coco import whole_ids
from ...errors import UserError
from ...reports.boxes import Detections, Truth
from ...reports.coco import ClassScores


def truth_of(annotations: Annotations, ids: set[int] | None) -> tuple[Truth, list[int]]:
    """The true boxes of the pictures with these ids, or of all, and the place of each picture in `annotations`.

    Pictures are numbered in the order of their ids, in which COCO's evaluation goes over them.
    """
    numbers = whole_ids([picture.id for picture in annotations.pictures])
    places = sorted(range(len(numbers)), key=numbers.__getitem__)
    if ids is not None:
        places = [place for place in places if numbers[place] in ids]
    number_of = np.full(len(numbers), -1)
    number_of[places] = np.arange(len(places))
    picture = number_of[annotations.picture]
    chosen = picture >= 0
    crowd = annotations.crowd[chosen]
    return Truth(
        picture[chosen],
        annotations.label[chosen],
        annotations.boxes[chosen],
        annotations.area[chosen],
        crowd | annotations.difficult[chosen],
        crowd,
    ), places


def coco_values(
    scores: Mapping[str, ClassScores], annotations: Annotations, truths: np.ndarray
) -> dict[str, np.ndarray]:
    """{"AP": float (C,), "AP50": ..., ...} of COCO's evaluation; nan for a class without objects.

    Args:
        scores: of `scoring.fast_scores`; empty where the detector found nothing.
        annotations: say which class has which id.
        truths: int (C,), objects of each class.
    """
    if "bbox" not in scores:
        return {name: np.where(truths > 0, 0.0, np.nan) for name in ("AP", "AP50", "AP75", "AR")}
    ids = whole_ids(annotations.category_ids)
    places = {category: place for place, category in enumerate(scores["bbox"].categories)}
    order = [places.get(category, -1) for category in ids] + [-1] * (len(truths) - len(ids))
    values = {name: np.append(column, np.nan)[order] for name, column in scores["bbox"].values.items()}
    if "segm" in scores:
        values["AP_mask"] = np.append(scores["segm"].values["AP"], np.nan)[order]
    return values


def voc_values(metric: Any, classes: int) -> dict[str, np.ndarray]:
    """{"AP50": float (C,)} of PaddleDetection's VOC metric, after `accumulate`; nan for a class without objects."""
    found = metric.detection_map
    values = np.full(classes, np.nan)
    values[[number for number, count in enumerate(found.class_gt_counts) if count]] = 0.0
    scored = [n for n, count in enumerate(found.class_gt_counts) if count and found.class_score_poss[n]]
    for number, row in zip(scored, found.eval_results):
        values[number] = row["ap"]
    return {"AP50": values}


def class_rows(names: Sequence[str], truths: np.ndarray, values: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """{name, objects, AP, ...} of each class; None in place of nan."""
    return [
        {
            "name": name,
            "objects": int(truths[number]),
            **{key: None if np.isnan(column[number]) else float(column[number]) for key, column in values.items()},
        }
        for number, name in enumerate(names)
    ]


class BoxCollector:
    """Collects the boxes of an evaluation, in the place of one of PaddleDetection's metrics: 32 bytes for a box."""

    def __init__(self) -> None:
        self._rows: list[np.ndarray] = []
        self._pictures: list[np.ndarray] = []
        self.ids: set[int] = set()

    def update(self, inputs: Any, outputs: Mapping[str, Any]) -> None:
        """Takes the boxes of a batch."""
        data = inputs[0] if isinstance(inputs, (list, tuple)) else inputs
        ids, counts, rows = (np.asarray(x).astype(kind) for x, kind in (
            (data["im_id"], np.int64), (outputs["bbox_num"], np.int64), (outputs["bbox"], np.float32)
        ))  # fmt: skip
        ids = ids.reshape(-1)
        self.ids.update(ids.tolist())
        rows = rows[: counts.sum()]
        if not len(rows):
            return
        if rows.shape[1] != 6:
            raise UserError("a report is for upright boxes, and this detector gives others; leave out --report")
        pictures = np.repeat(ids, counts.reshape(-1))
        chosen = rows[:, 0] >= 0  # an empty picture has a row of -1
        self._rows.append(rows[chosen])
        self._pictures.append(pictures[chosen])

    def accumulate(self) -> None:
        """Does nothing: there is no score of its own."""

    def log(self) -> None:
        """Does nothing."""

    def reset(self) -> None:
        """Does nothing: what was collected is needed after the evaluation."""

    def get_results(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def detections(self, ids: Sequence[int]) -> Detections:
        """What was collected; `ids` of the pictures give them their numbers."""
        rows = np.concatenate([np.zeros((0, 6), np.float32), *self._rows]).astype(np.float64)
        number_of = {number: place for place, number in enumerate(ids)}
        picture = np.array([number_of[n] for n in np.concatenate([[], *self._pictures])], np.int64)
        boxes = np.hstack([rows[:, 2:4], rows[:, 4:6] - rows[:, 2:4]])
        return Detections(picture, rows[:, 0].astype(np.int64), boxes, rows[:, 1]).best()
