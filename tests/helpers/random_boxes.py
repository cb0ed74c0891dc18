"""True and detected boxes by chance, of every kind of error, also as pycocotools takes them."""

import contextlib
import io

import numpy as np

from densebone.reports.boxes import Detections, Truth

PICTURES, CLASSES = 40, 4
SIDES = (8, 20, 50, 130)  # small, small, medium and large objects


def draw(seed=0, crowds=True):
    """(Truth, Detections as `best` returns them): jittered objects, some with another class, and boxes on nothing.

    Class 3 never occurs and is found at times. Picture 0 has objects and no detection, picture 1 the other way round.
    """
    rng = np.random.default_rng(seed)
    true, found = [], []
    for picture in range(PICTURES):
        objects = rng.integers(1, 7) if picture != 1 else 0
        for _ in range(objects):
            label, box = rng.integers(0, CLASSES - 1), np.r_[rng.uniform(0, 300, 2), _sides(rng)]
            true.append((picture, label, *box, box[2] * box[3] * rng.uniform(0.6, 1), crowds and rng.random() < 0.1))
            for _ in range(rng.choice([0, 1, 1, 2, 3]) if picture else 0):
                moved = box + rng.normal(0, rng.choice([0.03, 0.12, 0.3]), 4) * np.r_[box[2:], box[2:]]
                other = rng.integers(0, CLASSES) if rng.random() < 0.3 else label
                found.append((picture, other, *moved[:2], *np.abs(moved[2:]) + 1, _score(rng)))
        for _ in range(rng.integers(0, 4) if picture else 0):
            box = np.r_[rng.uniform(0, 300, 2), _sides(rng)]
            found.append((picture, rng.integers(0, CLASSES), *box, _score(rng)))
    true, found = np.array(true), np.array(found)
    crowd = true[:, 7].astype(bool)
    truth = Truth(true[:, 0].astype(int), true[:, 1].astype(int), true[:, 2:6], true[:, 6], crowd, crowd.copy())
    return truth, Detections(found[:, 0].astype(int), found[:, 1].astype(int), found[:, 2:6], found[:, 6]).best()


def _sides(rng):
    return rng.choice(SIDES, 2) * rng.uniform(0.8, 1.2, 2)


def _score(rng):
    return round(rng.uniform(0.05, 0.99), 2)  # some are equal


def coco_evaluation(truth, found, classes=CLASSES, kind=None):
    """pycocotools' COCOeval of these boxes, after `accumulate`. Category ids are class numbers + 1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    pictures = sorted({*truth.picture.tolist(), *found.picture.tolist()})
    data = COCO()
    data.dataset = {
        "images": [{"id": p} for p in pictures],
        "categories": [{"id": c + 1, "name": str(c)} for c in range(classes)],
        "annotations": [
            {
                "id": i + 1,
                "image_id": int(p),
                "category_id": int(c) + 1,
                "bbox": b.tolist(),
                "area": a,
                "iscrowd": int(k),
            }
            for i, (p, c, b, a, k) in enumerate(
                zip(truth.picture, truth.label, truth.boxes, truth.area.tolist(), truth.crowd)
            )
        ],
    }
    rows = [
        {"image_id": int(p), "category_id": int(c) + 1, "bbox": b.tolist(), "score": float(s)}
        for p, c, b, s in zip(found.picture, found.label, found.boxes, found.score)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        data.createIndex()
        evaluation = (kind or COCOeval)(data, data.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation
