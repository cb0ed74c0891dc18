"""Contact sheets: pictures in a grid, each with a title."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..errors import UserError
from ..system.files import atomic_path
from .drawing import as_picture, fit_text
from .plots import png_path


def plot_sheet(
    images: Iterable[np.ndarray | Image.Image],
    titles: Iterable[str],
    path: str | Path,
    columns: int = 4,
    cell: int = 256,
) -> None:
    """Write a contact sheet, see `contact_sheet`.

    Args:
        images, titles, columns, cell: as there.
        path: the PNG to write.

    Raises:
        UserError: as `contact_sheet`, or a path that is not a PNG or cannot be written.
    """
    path = png_path(path)
    sheet = contact_sheet(images, titles, columns, cell)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def contact_sheet(
    images: Iterable[np.ndarray | Image.Image], titles: Iterable[str], columns: int = 4, cell: int = 256
) -> Image.Image:
    """Pictures of any size in a grid, each scaled into its cell below its title.

    Args:
        images: uint8 arrays (H, W, 3) in RGB, or Pillow images; at least one.
        titles: one for each picture. A title that is too long gets smaller letters, then is cut.
        columns: pictures in a row, at least 1.
        cell: width and height of a cell in pixels, at least 32.

    Raises:
        UserError: no pictures, a different number of titles, or a size out of range.
    """
    pictures, titles = [as_picture(image) for image in images], [str(title) for title in titles]
    if not pictures or len(pictures) != len(titles):
        raise UserError(f"{len(pictures)} pictures and {len(titles)} titles; give at least one, and one title each")
    if columns < 1 or cell < 32:
        raise UserError(f"columns={columns}, cell={cell}; columns must be at least 1 and cell at least 32 pixels")
    columns = min(columns, len(pictures))
    gap, band, size = 8, max(14, cell // 12), max(11, cell // 18)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (cell + gap) + gap, rows * (cell + band + gap) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (picture, title) in enumerate(zip(pictures, titles)):
        left = gap + index % columns * (cell + gap)
        top = gap + index // columns * (cell + band + gap)
        text, font = fit_text(draw, title, size, cell)
        draw.text((left, top), text, fill="black", font=font)
        scale = cell / max(picture.size)
        scaled = picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.LANCZOS)
        sheet.paste(scaled, (left + (cell - scaled.width) // 2, top + band))
    return sheet
