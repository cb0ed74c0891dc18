"""What a prediction writes of a picture's boxes: rows in COCO's results format, and a drawing. Needs no toolkit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from ...pictures.drawing import class_colours, draw_boxes
from ...system.timings import stage
from ..prediction import Skipped, none_usable, prediction_file, save_drawing


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
        shown = boxes[boxes[:, 1] >= self.threshold]
        titles = [self.names[int(label)] for label in shown[:, 0]]
        with stage("draw"):
            drawn = draw_boxes(picture, shown[:, 2:], titles, shown[:, 1], self.colours)
        with stage("write"):
            save_drawing(drawn, place)
        return len(shown)

    def count(self, boxes: np.ndarray) -> int:
        """How many boxes `draw` would draw."""
        return int((boxes[:, 1] >= self.threshold).sum())

    def rows(self, image_id: int, path: Path, boxes: np.ndarray) -> list[dict[str, Any]]:
        """Every box as COCO's results format has it, with the names of file and class."""
        return [
            {
                "image_id": image_id,
                "file_name": str(path),
                "category_id": self.numbers[int(label)],
                "category": self.names[int(label)],
                "bbox": [round(v, 3) for v in (left, top, right - left, bottom - top)],
                "score": round(score, 6),
            }
            for label, score, left, top, right, bottom in boxes.tolist()
        ]


def write_boxes(
    found: Iterable[tuple[list[dict[str, Any]], int]],
    skipped: list[Skipped],
    output: str | Path,
    drawing: str | None,
) -> dict[str, Any]:
    """Writes OUTPUT/predictions.json while pictures are predicted on.

    Args:
        found: for each picture its rows, and how many of its boxes are drawn.
        skipped: the pictures that were left out, filled meanwhile.
        output: the folder.
        drawing: the kind of the drawn pictures, or None.

    Returns:
        images, skipped, boxes, file, output and drawing, as `detection.prediction.predict`.

    Raises:
        UserError: no picture is left.
    """
    file, drawn, images = Path(output) / "predictions.json", 0, 0
    with prediction_file(file) as rows:
        for boxes, count in found:
            for row in boxes:
                rows.add(row)
            drawn += count
            images += 1
        if not images:
            raise none_usable(skipped, "read")
    result = {"images": images, "skipped": skipped, "boxes": drawn}
    return {**result, "file": str(file), "output": str(output), "drawing": drawing}


def describe(result: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of a result of `write_boxes`."""
    drawn = f"drawn, in {result['output']}" if result["drawing"] else "from the threshold on"
    return [f"{result['images']} pictures, {result['boxes']} boxes {drawn}; all boxes in {result['file']}"]
