"""Sheets of feature maps: the picture as the network sees it, beside the strongest channels at every stride."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..errors import UserError
from ..pictures.drawing import fit_text
from ..pictures.plots import png_path
from ..pictures.preparing import Preprocessing, denormalize
from ..system.files import atomic_path

CHANNELS = 8
_CELL, _GAP, _LINE = 136, 8, 20
_INK, _FAINT = (20, 20, 20), (105, 105, 105)


def colours() -> np.ndarray:
    """The colour map viridis, uint8 (256, 3). Equal steps in it look equal.

    Raises:
        UserError: matplotlib, which brings viridis, is not installed.
    """
    try:
        from matplotlib import colormaps
    except ImportError as error:
        raise UserError(f"sheets need matplotlib ({error}); pip install 'densebone[features]'") from error
    return np.rint(colormaps["viridis"](np.arange(256))[:, :3] * 255).astype(np.uint8)


def picture_of(inputs: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """The picture that an input shows: float32 (3, H, W) -> uint8 (H, W, 3) in RGB."""
    return denormalize(inputs, preprocessing)


def strongest(maps: np.ndarray, count: int = CHANNELS) -> list[int]:
    """The channels of (C, H, W) with the largest standard deviation over the picture, largest first.

    Channels with the same standard deviation are ordered by their absolute mean, largest first.
    """
    order = np.lexsort((-np.abs(maps.mean((1, 2))), -maps.std((1, 2))))
    return [int(number) for number in order[:count]]


def draw_sheet(
    path: str | Path,
    title: str,
    picture: np.ndarray,
    maps: Sequence[np.ndarray],
    strides: Sequence[int],
    count: int = CHANNELS,
) -> None:
    """Write a sheet: the picture at the left, and at the right a row of maps for each stride.

    A row shows the mean over all channels, then the strongest channels. Each map has its own colour scale, from its
    smallest value (dark) to its largest (bright).

    Args:
        path: the PNG to write.
        title: one line at the top.
        picture: uint8 (H, W, 3) in RGB.
        maps: one array (C_i, H_i, W_i) for each stride.
        strides: the strides of the maps.
        count: channels in a row.

    Raises:
        UserError: the path is not a PNG or cannot be written, or matplotlib is not installed.
    """
    path, palette = png_path(path), colours()
    cell = _fit(picture.shape[:2], _CELL)
    row = cell[1] + 3 * _LINE + _GAP
    left = 2 * cell[0] + 3 * _GAP
    width = left + (count + 1) * (cell[0] + _GAP) + _GAP
    height = _GAP + _LINE + _GAP + max(len(maps) * row, 2 * cell[1] + 6 * _LINE)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    top = 2 * _GAP + _LINE
    _write(draw, (_GAP, _GAP), title, 15, width - 2 * _GAP)
    _draw_picture(sheet, draw, (_GAP, top), picture, (2 * cell[0], 2 * cell[1]), palette, count)
    for index, (one, stride) in enumerate(zip(maps, strides)):
        _draw_row(sheet, draw, (left, top + index * row), one, stride, cell, palette, count)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def _fit(shape, side):
    """Scale a (height, width) so that the longer side is `side` -> (width, height) in pixels."""
    scale = side / max(shape)
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _write(draw, corner, text, size, width, ink=_INK):
    text, font = fit_text(draw, text, size, width)
    draw.text(corner, text, fill=ink, font=font)


def _draw_picture(sheet, draw, corner, picture, size, palette, count):
    """Draw the picture, its size, the colour scale, and an explanation of the rows."""
    left, top = corner
    sheet.paste(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), corner)
    top += size[1] + _GAP // 2
    _write(draw, (left, top), f"input, {picture.shape[0]} x {picture.shape[1]}", 13, size[0])
    top += 2 * _LINE
    scale = Image.fromarray(palette[None]).resize((size[0], _LINE // 2), Image.Resampling.NEAREST)
    sheet.paste(scale, (left, top))
    words = ("smallest to largest value of each map", f"rows: mean, then the {count} channels that vary most")
    for number, text in enumerate(words):
        _write(draw, (left, top + _LINE // 2 + 2 + number * _LINE), text, 12, size[0], _FAINT)


def _draw_row(sheet, draw, corner, maps, stride, cell, palette, count):
    """Draw one stride: a line of text, then the mean over channels and the strongest channels, each with its range."""
    left, top = corner
    channels, height, width = maps.shape
    _write(draw, corner, f"stride {stride}: {channels} channels of {height} x {width}", 14, (count + 1) * cell[0])
    top += _LINE
    shown = [("mean", maps.mean(0))] + [(f"channel {n}", maps[n]) for n in strongest(maps, count)]
    for place, (name, values) in enumerate(shown):
        x = left + place * (cell[0] + _GAP)
        sheet.paste(_coloured(values, palette).resize(cell, Image.Resampling.NEAREST), (x, top))
        _write(draw, (x, top + cell[1] + 1), name, 12, cell[0])
        extent = f"{values.min():.3g} to {values.max():.3g}"
        _write(draw, (x, top + cell[1] + 1 + _LINE * 3 // 4), extent, 11, cell[0], _FAINT)


def _coloured(values, palette):
    """(H, W) -> a Pillow image of that size."""
    low, high = float(values.min()), float(values.max())
    steps = (values - low) / (high - low) * 255 if high > low else np.zeros(values.shape)
    return Image.fromarray(palette[np.rint(steps).astype(np.uint8)])
