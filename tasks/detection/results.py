"""What a prediction writes of a picture's boxes: rows in COCO's results format, and a drawing. Needs no toolkit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from ...pictures.drawing import class_colours, draw_boxes
from ...pictures.finding import folder_name
from ...system.timings import stage
from ..prediction import save_drawing
from ..videos import describe_videos


class BoxWriter:
    """Draws boxes and makes their rows. Any thread may call it.

    Args:
        names: of the classes, in the order of the network's outputs.
        numbers: their category ids in the data set.
        threshold: boxes with a lower score are not drawn; they have rows.
    """

    def __init__(self, names: Sequence[str], numbers: Sequence[int], threshold: float):
        self.names, self.numbers, self.threshold = list(names), list(numbers), threshold
        self.colours = class_colours(names)

    def draw(self, picture: Image, boxes: np.ndarray, place: Path) -> int:
        """Writes a picture with its boxes (M, 6): class, score, left, top, right, bottom; returns how many it draws."""
        with stage("draw"):
            drawn = self.drawn(picture, boxes)
        with stage("write"):
            save_drawing(drawn, place)
        return self.count(boxes)

    def drawn(self, picture: Image | np.ndarray, boxes: np.ndarray) -> Image:
        """A copy of a picture with those of its boxes that have the score."""
        shown = boxes[boxes[:, 1] >= self.threshold]
        titles = [self.names[int(label)] for label in shown[:, 0]]
        return draw_boxes(picture, shown[:, 2:], titles, shown[:, 1], self.colours)

    def count(self, boxes: np.ndarray) -> int:
        """How many boxes `draw` would draw."""
        return int((boxes[:, 1] >= self.threshold).sum())

    def objects(self, boxes: np.ndarray) -> list[dict[str, Any]]:
        """Every box as COCO's results format has it, with the name of its class."""
        return [
            {
                "category_id": self.numbers[int(label)],
                "category": self.names[int(label)],
                "bbox": [round(v, 3) for v in (left, top, right - left, bottom - top)],
                "score": round(score, 6),
            }
            for label, score, left, top, right, bottom in boxes.tolist()
        ]

    def boxes(self, objects: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """The boxes (M, 6) of what `objects` returned."""
        rows = [
            [self.names.index(one["category"]), one["score"], x, y, x + width, y + height]
            for one in objects
            for x, y, width, height in [one["bbox"]]
        ]
        return np.array(rows, np.float64).reshape(-1, 6)

    def save_crops(self, picture: Image, boxes: np.ndarray, output: Path, place: Path) -> None:
        """Writes what is in the boxes that `draw` draws as OUTPUT/crops/CLASS/NAME-N.jpg; NAME is that of `place`."""
        for number, (label, _, *corners) in enumerate(boxes[boxes[:, 1] >= self.threshold].tolist(), 1):
            left, top = (max(0, math.floor(value)) for value in corners[:2])
            right, bottom = (min(side, math.ceil(value)) for side, value in zip(picture.size, corners[2:]))
            if left < right and top < bottom:
                below = place.relative_to(output)
                folder = output / "crops" / folder_name(self.names[int(label)]) / below.parent
                save_drawing(picture.crop((left, top, right, bottom)), folder / f"{below.stem}-{number}.jpg")

    def rows(self, image_id: Any, path: Path, boxes: np.ndarray) -> list[dict[str, Any]]:
        """The rows of a picture in predictions.json."""
        return [{"image_id": image_id, "file_name": str(path), **one} for one in self.objects(boxes)]


def describe(result: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of a result of `detection.prediction.predict`."""
    drawn = f"drawn, in {result['output']}" if result["drawing"] else "from the threshold on"
    pictures = f"{result['images']} pictures, {result['boxes']} boxes {drawn}; all boxes in {result['file']}"
    annotations = f"annotations from the threshold on: {result.get('annotations')}"
    return [
        *([pictures] if result["images"] else []),
        *describe_videos(result["videos"], "boxes"),
        *([annotations] if result.get("annotations") else []),
    ]
