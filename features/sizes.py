"""How a picture becomes an input: as the weights were evaluated, or of another size with their colours."""

from dataclasses import dataclass, replace

import numpy as np

from ..errors import UserError
from ..pictures.preparing import prepare

MODES = ("crop", "resize", "letterbox", "native")


@dataclass(frozen=True)
class SizePolicy:
    """The size of inputs.

    Args:
        mode (str): "crop": resized and cropped as the weights were evaluated. "resize": to `size`, whatever the shape.
            "letterbox": as large as fits into `size`, the shape kept, in the middle of zeros. "native": as it is.
        size ((int, int) | None): height and width in pixels, of "resize" and "letterbox".
        multiple (int): of "native": zeros are added below and to the right until both sides are multiples. Default 1.
        min_side (int): smallest input that the network takes, in pixels.

    Raises:
        UserError: an unknown mode, a size that is missing, too small, or of a mode that takes none.
    """

    mode: str = "crop"
    size: tuple | None = None
    multiple: int = 1
    min_side: int = 32

    def __post_init__(self):
        if self.mode not in MODES:
            raise UserError(f"size_mode is {self.mode!r}; give one of {', '.join(MODES)}")
        if self.mode in ("crop", "native"):
            if self.size is not None:
                raise UserError(f"size is {self.size!r}, which size_mode {self.mode!r} does not take; leave it out")
            return
        valid = isinstance(self.size, (list, tuple)) and len(self.size) == 2
        if not valid or not all(type(side) is int and side >= self.min_side for side in self.size):
            raise UserError(
                f"size is {self.size!r}; size_mode {self.mode!r} takes (height, width) in pixels, both "
                f"{self.min_side} or more"
            )

    def fixed(self, preprocessing):
        """(height, width) of every input, or None where they differ."""
        if self.size is not None:
            return tuple(self.size)
        if self.mode == "native" or preprocessing is None:
            return None
        if preprocessing.crop is not None:
            return preprocessing.crop, preprocessing.crop
        return tuple(preprocessing.resize[::-1]) if isinstance(preprocessing.resize, (list, tuple)) else None

    def apply(self, image, preprocessing):
        """uint8 (H, W, 3), red-green-blue -> float32 (3, H', W').

        Raises:
            UserError: the input would be too small for the network, or too large for `images.prepare`.
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
        (height, width), (rows, columns) = image.shape[:2], self.size
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
    """The same colours and interpolation, for this size."""
    return replace(
        preprocessing, resize=[width, height], crop=None, interpolation=preprocessing.interpolation or "bilinear"
    )
