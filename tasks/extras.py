"""What a prediction does besides, when it is asked: tiles, crops, annotation files, some frames of a video alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import UserError
from ..pictures.reading import MAX_PIXELS
from ..system.memory import free_bytes
from .tiling import LEAST_TILE

_BYTES = 24
#: formats of annotations that predictions are written in
SAVED_AS = ("coco", "voc", "yolo", "labelme")


@dataclass(frozen=True)
class Extras:
    """What a prediction does besides.

    Attributes:
        tile: (width, height) in pixels: large pictures are gone over in tiles of this size; None takes them whole.
        overlap: of neighbouring tiles, as a share of their sides, from 0 to below 1.
        save_as: one of `SAVED_AS`: the boxes become annotations of a data set in OUTPUT/FORMAT; None writes none.
        save_crops: what is in each box becomes OUTPUT/crops/CLASS/NAME-N.jpg.
        every: of a video, only the frames whose number is a multiple of this.

    Raises:
        UserError: a value that is not allowed.
    """

    tile: tuple[int, int] | None = None
    overlap: float = 0.2
    save_as: str | None = None
    save_crops: bool = False
    every: int = 1

    def __post_init__(self) -> None:
        if self.tile is not None and min(self.tile) < LEAST_TILE:
            raise UserError(
                f"tile is {self.tile[0]} x {self.tile[1]} pixels, too small for a network; give {LEAST_TILE} at least"
            )
        if not 0 <= self.overlap < 1:
            raise UserError(f"overlap is {self.overlap}; give a share of the tile's sides, from 0 to below 1")
        if self.tile and any(round(side * (1 - self.overlap)) < 1 for side in self.tile):
            raise UserError(
                f"overlap is {self.overlap}, with which tiles of {self.tile} pixels do not move on; give less"
            )
        if self.save_as is not None and self.save_as not in SAVED_AS:
            raise UserError(f"save_as is {self.save_as!r}; give one of {', '.join(SAVED_AS)}")
        if self.every < 1:
            raise UserError(f"every is {self.every}; 1 takes every frame of a video, 2 every second one")

    def check(self, task: str) -> None:
        """Raises UserError for what a task has not: boxes are a detector's, and a classifier takes whole pictures."""
        if task == "classification" and self.tile:
            raise UserError("--tile is for detectors and segmentation models; a classifier takes whole pictures")
        if task != "detection" and (self.save_as or self.save_crops):
            option = "--save-as" if self.save_as else "--save-crops"
            instead = "; labels/ holds label pictures, which densebone init reads" if task == "segmentation" else ""
            raise UserError(f"{option} is of boxes, and this model is for {task}{instead}; leave it out")

    def most_pixels(self) -> int | None:
        """Pixels that a picture may have: with tiles as many as memory holds, else None for the usual limit.

        A pixel takes up to `_BYTES` while it is decoded, predicted on and drawn.
        """
        free = free_bytes() if self.tile else None
        return None if free is None else max(MAX_PIXELS, free // _BYTES)

    def over_tiles(
        self,
        find: Callable[[np.ndarray], np.ndarray],
        in_tiles: Callable[[Callable[[np.ndarray], np.ndarray], np.ndarray, tuple[int, int], float], np.ndarray],
    ) -> Callable[[np.ndarray], np.ndarray]:
        """`find`, a function of a picture, over tiles where they are wanted; `in_tiles` is one of `tiling`'s two."""
        tile = self.tile
        return find if tile is None else lambda image: in_tiles(find, image, tile, self.overlap)

    def facts(self) -> dict[str, Any]:
        """The attributes, for the key of a journal."""
        return asdict(self)
