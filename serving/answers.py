"""What a model finds on a picture, as JSON for people and as tensors for the Open Inference Protocol."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..pictures.drawing import class_colours
from ..runtime import Boxes, Classes, Pixels
from .models import Served
from .settings import Refused


@dataclass(frozen=True)
class Choice:
    """What a request wants of what is found.

    Attributes:
        threshold: boxes of a lower score are left out.
        top: classes of a classifier.
    """

    threshold: float = 0.5
    top: int = 5


def as_json(served: Served, choice: Choice, found: Any, size: tuple[int, int]) -> dict[str, Any]:
    """What is found on a picture of (height, width) pixels, as values that JSON has."""
    answer: dict[str, Any] = {"width": size[1], "height": size[0]}
    if isinstance(found, Boxes):
        kept = np.flatnonzero(found.scores >= choice.threshold)
        labels, scores, boxes = (values[kept].tolist() for values in (found.labels, found.scores, found.boxes))
        answer["objects"] = [
            {"label": label, "name": found.names[place], "score": score, "box": box}
            for place, label, score, box in zip(kept, labels, scores, boxes)
        ]
    elif isinstance(found, Pixels):
        answer |= _pixels(found.labels, served.model.classes or [])
    elif isinstance(found, Classes):
        rows = zip(found.labels.tolist(), found.names, found.scores.tolist())
        answer["classes"] = [
            {"label": label, "name": name, "score": score} for label, name, score in [*rows][: choice.top]
        ]
    else:
        answer["maps"] = [
            {"shape": list(values.shape), "datatype": "FP32", "data": values.ravel().tolist()} for values in found.maps
        ]
    return answer


def _pixels(labels, names):
    """The shares of the classes, and a PNG of one channel: class numbers, which a viewer shows in their colours."""
    numbers, counts = np.unique(labels, return_counts=True)
    shares = [
        {"label": number, "name": names[number] if 0 <= number < len(names) else str(number), "share": share}
        for number, share in zip(numbers.tolist(), (counts / labels.size).tolist())
    ]
    if numbers[0] >= 0 and numbers[-1] < 256:
        image = Image.fromarray(labels.astype(np.uint8))
        if len(names) <= 256:
            image.putpalette([part for colour in class_colours(names).values() for part in colour])
    else:
        image = Image.fromarray(labels.astype(np.int32))
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return {
        "shares": sorted(shares, key=lambda row: -row["share"]),
        "labels": "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode(),
    }


def as_arrays(found: Any, choice: Choice, outputs: Sequence[str]) -> dict[str, np.ndarray]:
    """What is found on one picture, as arrays by the names of `Served.picture_tensors`."""
    if isinstance(found, Boxes):
        kept = found.scores >= choice.threshold
        return {"boxes": found.boxes[kept], "scores": found.scores[kept], "labels": found.labels[kept]}
    if isinstance(found, Pixels):
        return {"labels": found.labels.astype(np.int32)}
    if isinstance(found, Classes):
        names = np.array([name.encode() for name in found.names[: choice.top]], object)
        return {"labels": found.labels[: choice.top], "scores": found.scores[: choice.top], "names": names}
    return dict(zip(outputs, found.maps))


def stacked(rows: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of several pictures as one batch.

    Boxes fill up with zeros to the most of any picture, their labels with -1; `count` says how many each has.

    Raises:
        Refused: their outputs have different sizes.
    """
    if "boxes" in rows[0]:
        counts = [len(row["scores"]) for row in rows]
        most, fill = max(counts), {"labels": -1}
        found = {
            name: np.stack([_filled(row[name], most, fill.get(name, 0)) for row in rows])
            for name in ("boxes", "scores", "labels")
        }
        return {**found, "count": np.array(counts, np.int64)}
    if any(row[name].shape != value.shape for row in rows for name, value in rows[0].items()):
        raise Refused(400, "the pictures have different sizes, and so would their outputs; send them one by one")
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _filled(values, length, fill):
    return np.pad(values, [(0, length - len(values)), *[(0, 0)] * (values.ndim - 1)], constant_values=fill)


def summary(served: Served) -> dict[str, Any]:
    """What the page and a person want to know of a model."""
    names = served.model.classes or []
    colours = ["#" + bytes(colour).hex() for colour in class_colours(names).values()] if len(names) <= 2000 else []
    return {
        "name": served.name,
        "task": served.task,
        "takes_pictures": served.takes_pictures,
        "engine": served.model.description.rpartition(" on ")[2],
        "classes": names,
        "colours": colours,
    }
