"""How a picture becomes an input: as the weights were evaluated, or at another size with their normalisation."""

from dataclasses import dataclass, replace

import numpy as np
from PIL.Image import Image

from ..errors import UserError
from ..pictures.preparing import Preprocessing, least_size, prepare

MODES = ("crop", "resize", "letterbox", "native")


@dataclass(frozen=True)
class SizePolicy:
    """How large inputs are.

    Args:
        mode: "crop" resizes and crops as the weights were evaluated. "resize" resizes to `size` and ignores the aspect
            ratio. "letterbox" keeps the aspect ratio and centres the picture in `size`, with zeros around it. "native"
            does not resize.
        size: (height, width) in pixels, for "resize" and "letterbox".
        multiple: with "native", pad with zeros below and to the right until both sides are multiples of this.
        min_side: the smallest input that the network takes, in pixels.

    Raises:
        UserError: an unknown mode, a size that is missing or too small, or a size for a mode that takes none.
    """

    mode: str = "crop"
    size: tuple[int, int] | None = None
    multiple: int = 1
    min_side: int = 32

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"size_mode is {self.mode!r}; give one of {', '.join(MODES)}")
        if self.mode in ("crop", "native"):
            if self.size is not None:
                raise UserError(f"size is {self.size!r}, which size_mode {self.mode!r} does not take; leave it out")
            return
        sides = self.size if isinstance(self.size, (list, tuple)) else ()
        if len(sides) != 2 or not all(type(side) is int and side >= self.min_side for side in sides):
            raise UserError(
                f"size is {self.size!r}; size_mode {self.mode!r} takes (height, width) in pixels, both "
                f"{self.min_side} or more"
            )

    def fixed(self, preprocessing: Preprocessing | None) -> tuple[int, int] | None:
        """(height, width) of every input, or None if inputs differ in size."""
        if self.size is not None:
            height, width = self.size
            return height, width
        if self.mode == "native" or preprocessing is None:
            return None
        return preprocessing.input_size

    def least(self, preprocessing: Preprocessing) -> tuple[int, int] | None:
        """(width, height) to which a JPEG may be decoded at a reduced size; None when every pixel counts."""
        if self.mode == "crop":
            return least_size(preprocessing)
        return None if self.size is None else (self.size[1], self.size[0])

    def apply(self, image: np.ndarray | Image, preprocessing: Preprocessing) -> np.ndarray:
        """uint8 (H, W, 3) in RGB, or a Pillow image in RGB -> float32 (3, H', W').

        Raises:
            UserError: the input would be too small for the network, or too large for `pictures.preparing.prepare`.
        """
        prepared = getattr(self, f"_{self.mode}")(image, preprocessing)
        height, width = prepared.shape[1:]
        if min(height, width) < self.min_side:
            raise UserError(
                f"{height} x {width} pixels (height x width) is too small, at least {self.min_side} each side; give "
                f"larger pictures, or size_mode 'resize' or 'letterbox'"
            )
        return prepared

    def _crop(self, image, preprocessing):
        return prepare(image, preprocessing)

    def _resize(self, image, preprocessing):
        return prepare(image, _resizing(preprocessing, *self.size))

    def _letterbox(self, image, preprocessing):
        (height, width), (rows, columns) = image.size[::-1] if isinstance(image, Image) else image.shape[:2], self.size
        scale = min(rows / height, columns / width)
        inner = [max(1, min(round(side * scale), limit)) for side, limit in ((height, rows), (width, columns))]
        top, left = (rows - inner[0]) // 2, (columns - inner[1]) // 2
        whole = np.zeros((3, rows, columns), np.float32)
        inside = prepare(image, _resizing(preprocessing, *inner))
        whole[:, top : top + inner[0], left : left + inner[1]] = inside
        return whole

    def _native(self, image, preprocessing):
        prepared = prepare(image, replace(preprocessing, resize=None, crop=None))
        missing = [-side % self.multiple for side in prepared.shape[1:]]
        return np.pad(prepared, [(0, 0), *((0, count) for count in missing)]) if any(missing) else prepared


def _resizing(preprocessing, height, width):
    """The same normalisation and interpolation, at this size."""
    return replace(
        preprocessing, resize=[width, height], crop=None, interpolation=preprocessing.interpolation or "bilinear"
    )
