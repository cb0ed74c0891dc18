"""The worst pictures of an evaluation: found while it runs, drawn afterwards, with the truth beside the prediction."""

from __future__ import annotations

import heapq
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from ..errors import UserError, printable

#: how many pictures a report shows
LIMIT = 24
#: the longest side of a drawn picture, in pixels
SIDE = 480


class Worst:
    """Keeps the worst of many pictures, and forgets the others at once.

    Args:
        limit: how many are kept.
    """

    def __init__(self, limit: int = LIMIT):
        self.limit = limit
        self._heap: list[tuple[Any, int, Any]] = []
        self._turn = itertools.count(0, -1)  # of equal ones the first stays

    def offer(self, badness: Any, make: Callable[[], Any]) -> None:
        """Keeps make(), called at once, if the picture is among the worst. `badness`: a number or a tuple of them."""
        if len(self._heap) == self.limit and badness <= self._heap[0][0]:
            return
        entry = (badness, next(self._turn), make())
        (heapq.heappush if len(self._heap) < self.limit else heapq.heapreplace)(self._heap, entry)

    def sorted(self) -> list[Any]:
        """What was kept, the worst first."""
        return [entry[2] for entry in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


@dataclass
class Drawing:
    """One of the drawings of a picture.

    Attributes:
        name: "truth" and "prediction", or "picture".
        jpeg: its bytes; empty when the picture can no longer be read.
        size: (width, height) in pixels.
    """

    name: str
    jpeg: bytes = b""
    size: tuple[int, int] = (0, 0)


@dataclass
class Case:
    """A picture that went wrong.

    Attributes:
        file: the picture's file.
        title: in a few words, how bad it is.
        lines: (what, which) of its errors.
        drawings: the truth and the prediction.
        fault: why it cannot be drawn; None where it is.
    """

    file: str
    title: str
    lines: list[tuple[str, str]]
    drawings: list[Drawing] = field(default_factory=list)
    fault: str | None = None


def draw_case(
    name: str,
    read: Callable[[], Image.Image],
    title: str,
    lines: Sequence[tuple[str, str]],
    draw: Callable[[Image.Image, float], Mapping[str, Image.Image]],
) -> Case:
    """A case with its drawings; where the picture cannot be read any more, with the reason.

    Args:
        name: of the picture's file.
        read: returns the picture in RGB, or raises UserError.
        title, lines: see `Case`.
        draw: (the picture, at most SIDE pixels wide and high; its size in parts of the original's, 0 to 1) ->
            {"truth", "prediction" or "picture": a drawing}.
    """
    case = Case(name, title, [(what, printable(which)) for what, which in lines])
    try:
        picture = read()
    except UserError as error:
        case.fault = str(error).removeprefix(f"{name}: ")
        return case
    scale = min(1.0, SIDE / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    small = picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    case.drawings = [_packed(kind, drawn) for kind, drawn in draw(small, scale).items()]
    return case


def _packed(name, picture):
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, format="JPEG", quality=75)
    return Drawing(name, stream.getvalue(), picture.size)
