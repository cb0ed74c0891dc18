"""Label pictures: one channel whose values are the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..pictures.reading import open_picture, whole_pictures

#: Pillow's formats that store values without loss
FORMATS = ("PNG", "BMP", "TIFF", "GIF", "PPM")
_COLOURED = {"RGB": "in colour (RGB)", "RGBA": "in colour (RGBA)", "LA": "gray with transparency"}


def read_mask(path: str | Path) -> np.ndarray:
    """A label picture as class numbers.

    Gray pictures of 8 bits and the indices of a palette are the numbers. Others are taken where they can mean only one
    thing: 1 bit is 0 and 1; 16 and 32 bits where the values fit into 8; three channels, or gray with an opaque alpha
    channel, where all channels are equal.

    Args:
        path: the file.

    Returns:
        uint8 (H, W).

    Raises:
        UserError: the file is damaged, or its values can mean several things.
    """
    try:
        with whole_pictures(), open_picture(path) as picture:
            mode, values = picture.mode, np.array(picture)
    except Exception as error:  # Pillow reports damaged data in many ways
        raise damaged(path, error) from error
    if values.dtype == np.uint8 and values.ndim == 2:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.ndim == 3:
        return _one_channel(path, mode, values)
    if values.dtype.kind not in "iu":
        raise UserError(f"{path} is of floating-point numbers; {_WANTED}")
    if values.min() < 0 or values.max() > 255:
        worst = values.max() if values.max() > 255 else values.min()
        raise UserError(f"{path} is 16-bit or 32-bit and has the value {worst}; labels are from 0 to 255")
    return values.astype(np.uint8)


def damaged(path: str | Path, error: Exception) -> UserError:
    """What to say of a label picture that Pillow cannot read."""
    return UserError(f"{path} is damaged ({' '.join(str(error).split())}); mend it")


_WANTED = (
    "labels are 8-bit gray PNG (or PNG with a palette), one channel, whose values are the classes; convert it, each "
    "colour to the number of its class"
)


def _one_channel(path, mode, values):
    colours = values[..., :-1] if mode in ("RGBA", "LA") else values
    opaque = mode not in ("RGBA", "LA") or (values[..., -1] == 255).all()
    if not opaque or (colours != colours[..., :1]).any():
        raise UserError(f"{path} is {_COLOURED.get(mode, f'of mode {mode}')}; {_WANTED}")
    return np.ascontiguousarray(colours[..., 0])


def wrong_value(values: np.ndarray, num_classes: int, ignore_index: int) -> tuple[int, int, int] | None:
    """(value, its pixels, number of such values) of the commonest value that is neither a class nor ignored, or None.

    Args:
        values: uint8 (H, W).
        num_classes: classes are 0 to num_classes - 1.
        ignore_index: the value of pixels that do not count.
    """
    allowed = np.zeros(256, bool)
    allowed[:num_classes] = True
    if 0 <= ignore_index < 256:
        allowed[ignore_index] = True
    if allowed[values].all():
        return None
    counts = np.bincount(values.ravel(), minlength=256) * ~allowed
    return int(counts.argmax()), int(counts.max()), int((counts > 0).sum())


def renumbering(own: Sequence[str], wanted: Sequence[str], ignore_index: int) -> np.ndarray | None:
    """uint8 (256,): a label of the data -> the number of the same class in the network; None where they are alike.

    Args:
        own: names of the data's classes.
        wanted: names of the network's classes: the same ones in another order, else there is nothing to renumber.
        ignore_index: stays.
    """
    if list(own) == list(wanted) or sorted(own) != sorted(wanted):
        return None
    table = np.arange(256, dtype=np.uint8)
    for number, name in enumerate(own):
        if number != ignore_index:
            table[number] = list(wanted).index(name)
    return table
