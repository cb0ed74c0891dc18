"""What a prediction writes of a picture's classes: a drawing, a label picture, their shares. Needs no toolkit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...pictures.drawing import draw_labels
from ...system.timings import stage
from ..prediction import save_drawing, save_png
from ..videos import describe_videos


class LabelWriter:
    """Draws classes and makes rows. Any thread may call it.

    Args:
        names: of the classes.
        colours: uint8 (256, 3), one for each class.
        opacity: of the colours, 0 to 1.
        ignore_index: a label that is no class.
    """

    def __init__(self, names: Sequence[str], colours: np.ndarray, opacity: float, ignore_index: int = 255):
        self.names, self.colours, self.opacity, self.ignore_index = list(names), colours, opacity, ignore_index

    def draw(self, picture: Any, labels: np.ndarray, place: Path) -> None:
        """Writes a picture with the colours of its classes (H, W) over it, and a legend."""
        with stage("draw"):
            drawn = self.drawn(picture, labels)
        with stage("write"):
            save_drawing(drawn, place)

    def drawn(self, picture: Any, labels: np.ndarray, every: bool = False) -> Image.Image:
        """A copy of a picture with the colours of its classes over it, and a legend of them, or of every class."""
        listed = range(len(self.names)) if every else None
        return draw_labels(picture, labels, self.names, self.colours, self.opacity, self.ignore_index, listed)

    def row(self, path: Path, labels: np.ndarray) -> dict[str, Any]:
        """The row of a picture in predictions.json: its size, and the share of the pixels for each class there is."""
        counts = np.bincount(labels.ravel(), minlength=len(self.names)).tolist()
        shares = {name: round(count / labels.size, 6) for name, count in zip(self.names, counts) if count}
        return {"file_name": str(path), "width": labels.shape[1], "height": labels.shape[0], "classes": shares}


def save_labels(labels: np.ndarray, colours: np.ndarray, place: Path) -> None:
    """Writes class numbers, uint8 (H, W), as an 8-bit PNG with a palette, uint8 (256, 3)."""
    picture = Image.fromarray(labels)
    picture.putpalette(np.ascontiguousarray(colours).tobytes())  # turns L into P; the numbers stay
    with stage("write labels"):
        save_png(picture, place)


def describe(result: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of a result of a prediction."""
    server = f"; for the server: {result['submission']}" if result["submission"] else ""
    pictures = f"{result['images']} pictures in {result['output']}, the classes' numbers in {result['labels']}{server}"
    return [*([pictures] if result["images"] else []), *describe_videos(result["videos"])]
