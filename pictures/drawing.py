"""Draw on pictures: boxes with class names and scores, and class maps with a legend."""

import colorsys
import math
import threading
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import UserError, printable

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Saturation and value of the colours: strong enough to stand out on a photograph.
_TONES = ((0.90, 1.00), (0.55, 1.00), (1.00, 0.65))


def _tone(hue, tone):
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, *_TONES[tone]))


def class_colours(names: Iterable[str]) -> dict[str, Colour]:
    """Give every class a colour of its own. The same list always gives the same colours.

    Args:
        names: the class names of a data set, in its order.

    Returns:
        name -> (red, green, blue), each 0..255.
    """
    golden = 0.618034  # hues in golden-ratio steps: neighbours in the list get hues that are far apart
    distinct = dict.fromkeys(str(name) for name in names)
    return {name: _tone(index * golden % 1, index % 3) for index, name in enumerate(distinct)}


def _colour_of(name, palette):
    """The class's colour from the palette, or else one computed from its name alone."""
    if palette and name in palette:
        return tuple(palette[name])
    number = zlib.crc32(name.encode())
    return _tone(number % 997 / 997, number // 997 % 3)


def _font(size):
    return _font_of_thread(size, threading.get_ident())  # a font is for one thread


@lru_cache(maxsize=256)
def _font_of_thread(size, thread):
    """Pillow's own font. Before Pillow 10.1, or without FreeType, it exists in one small size only."""
    try:
        return ImageFont.load_default(size=size)
    except (TypeError, ImportError, OSError):
        return ImageFont.load_default()


def as_picture(image: np.ndarray | Image.Image) -> Image.Image:
    """A uint8 array (H, W, 3) in RGB, or a Pillow image -> a new Pillow image in RGB."""
    if isinstance(image, Image.Image):
        return image.convert("RGB") if image.mode != "RGB" else image.copy()
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UserError(
            f"image is {pixels.dtype} {pixels.shape}; give a uint8 array (H, W, 3) in RGB, or a Pillow image"
        )
    return Image.fromarray(pixels)


def _check_boxes(boxes, labels, scores):
    """boxes and scores as arrays, labels as a list, all of length N; UserError when they do not fit together."""
    boxes = np.asarray(boxes, dtype=float)
    boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise UserError(f"boxes have shape {boxes.shape}; must be (N, 4): left, top, right, bottom in pixels")
    if not np.isfinite(boxes).all():
        raise UserError("boxes hold values that are not finite; leave those boxes out")
    labels = [str(label) for label in labels]
    scores = None if scores is None else np.asarray(scores, dtype=float).reshape(-1)
    counts = [len(labels)] if scores is None else [len(labels), len(scores)]
    if any(count != len(boxes) for count in counts):
        raise UserError(
            f"{len(boxes)} boxes, but {' labels and '.join(map(str, counts))}"
            f" {'labels' if scores is None else 'scores'}; give one of each for every box"
        )
    return boxes, labels, scores


def _pixels(box, width, height):
    """The first and last pixels (left, top, right, bottom) of a box inside the picture; None when it lies outside."""
    left, right = sorted((box[0], box[2]))
    top, bottom = sorted((box[1], box[3]))
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        return None
    left, top = min(max(round(left), 0), width - 1), min(max(round(top), 0), height - 1)
    right, bottom = min(round(right), width) - 1, min(round(bottom), height) - 1
    return left, top, max(right, left), max(bottom, top)


def fit_text(draw: ImageDraw.ImageDraw, text: str, size: int, width: float) -> tuple[str, Font]:
    """The text and the largest font, up to `size`, in which it fits the width in pixels. Cuts the text if none does.

    The text becomes one line: a line break in it is written as \\n.
    """
    text = printable(text)
    smallest = min(size, 8)
    if not isinstance(_font(size), ImageFont.FreeTypeFont):  # the old font knows Latin-1 only
        text = text.encode("latin-1", "replace").decode("latin-1")
    for points in range(size, smallest - 1, -1):
        font = _font(points)
        if draw.textlength(text, font) <= width:
            return text, font
    while text and draw.textlength(text + ".", font) > width:
        text = text[:-1]
    return text + ".", font


def _draw_plate(draw, corner, text, colour, size, picture_size):
    """Write the text on a filled plate above the corner (left, top), or below it if there is no room above."""
    width, height = picture_size
    pad = max(1, size // 6)
    text, font = fit_text(draw, text, size, width - 2 * pad)
    ascent, descent = font.getmetrics() if hasattr(font, "getmetrics") else (font.getbbox(text)[3], 0)
    plate_width = min(round(draw.textlength(text, font)) + 2 * pad, width)
    plate_height = min(ascent + descent + 2 * (pad // 2), height)
    left = min(max(corner[0], 0), width - plate_width)
    top = corner[1] - plate_height
    top = min(corner[1] if top < 0 else top, height - plate_height)
    draw.rectangle((left, top, left + plate_width - 1, top + plate_height - 1), fill=colour)
    luminance = np.dot(colour, (0.299, 0.587, 0.114))
    ink = "black" if luminance > 127 else "white"
    draw.text((left + pad, top + pad // 2), text, fill=ink, font=font)


def draw_boxes(
    image: np.ndarray | Image.Image,
    boxes: np.ndarray | Sequence[Sequence[float]],
    labels: Iterable[str],
    scores: np.ndarray | Sequence[float] | None = None,
    palette: Mapping[str, Colour] | None = None,
) -> Image.Image:
    """Draw boxes with their class names and scores. Lines and letters grow with the picture.

    Boxes with high scores lie on top. Lines run inside the box, along its outermost pixels. Boxes are cut at the
    edge of the picture; boxes outside it are left out.

    Args:
        image: uint8 array (H, W, 3) in RGB, or Pillow image; it is not changed.
        boxes: (N, 4) left, top, right, bottom in pixels, right and bottom exclusive.
        labels: N class names.
        scores: N numbers 0..1, or None.
        palette: class name -> colour, as `class_colours` returns it. A class that is not in it gets a colour that
            depends on its name only.

    Returns:
        RGB, of the size of the image.

    Raises:
        UserError: a wrong shape or type, or a different number of boxes, labels and scores.
    """
    corners, names, numbers = _check_boxes(boxes, labels, scores)
    picture = as_picture(image)
    draw = ImageDraw.Draw(picture)
    side = (picture.width + picture.height) / 2
    line, size = max(2, round(side / 250)), max(11, round(side / 36))
    order = range(len(corners)) if numbers is None else np.argsort(numbers, kind="stable")
    plates = []
    for index in order:
        edges = _pixels(corners[index], *picture.size)
        if edges is None:
            continue
        colour = _colour_of(names[index], palette)
        draw.rectangle(edges, outline=colour, width=line)
        text = names[index] if numbers is None else f"{names[index]} {numbers[index]:.2f}"
        plates.append((edges[:2], text, colour))
    for corner, text, colour in plates:  # last, so that no line crosses the letters
        _draw_plate(draw, corner, text, colour, size, picture.size)
    return picture


def draw_lines(image: np.ndarray | Image.Image, lines: Sequence[str]) -> Image.Image:
    """Write lines on a picture, at its top left, each on a dark plate. Letters grow with the picture.

    Args:
        image: uint8 array (H, W, 3) in RGB, or Pillow image; it is not changed.
        lines: those that find no room are left out.

    Returns:
        RGB, of the size of the image.
    """
    picture = as_picture(image)
    draw = ImageDraw.Draw(picture)
    size = max(11, round((picture.width + picture.height) / 2 / 30))
    step = round(1.5 * size)
    for number, line in enumerate(lines):
        if (number + 1) * step > picture.height:
            break
        _draw_plate(draw, (0, (number + 1) * step), line, (32, 32, 32), size, picture.size)
    return picture


def _check_labels(labels, size, palette, ignore_index):
    """The class map as an array; UserError when it does not fit the picture's `size` (width, height) or the palette."""
    labels = np.asarray(labels)
    if labels.shape != size[::-1] or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(
            f"labels are {labels.dtype} {labels.shape}; give whole numbers of the picture's size, {size[::-1]}"
        )
    used = labels[labels != ignore_index]
    if used.size and not 0 <= used.min() <= used.max() < len(palette):
        raise UserError(
            f"labels go from {used.min()} to {used.max()}; the palette has colours for 0..{len(palette) - 1}, "
            f"and {ignore_index} is left as it is"
        )
    return labels


def _borders(labels, line):
    """(H, W) -> bool (H, W): the pixels with another class at most `line` pixels away in their row or column."""
    edges = np.zeros(labels.shape, bool)
    for step in range(1, line + 1):
        for classes, marks in ((labels, edges), (labels.T, edges.T)):
            differ = classes[step:] != classes[:-step]
            marks[step:] |= differ
            marks[:-step] |= differ
    return edges


def _legend(names, colours, size, width):
    """A white strip, at least `width` pixels wide, with a coloured square and a name for every class, in columns."""
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    gap = max(3, size // 3)
    texts = [fit_text(draw, name, size, max(width - size - 3 * gap, 16 * size)) for name in names]
    column = size + 3 * gap + max((math.ceil(draw.textlength(text, font)) for text, font in texts), default=0)
    columns = max(1, min(width // column, len(names)))
    rows, row = -(-len(names) // columns), size + gap
    strip = Image.new("RGB", (max(width, column), rows * row + gap if names else 0), "white")
    draw = ImageDraw.Draw(strip)
    for index, ((text, font), colour) in enumerate(zip(texts, colours)):
        left, top = gap + index % columns * column, gap + index // columns * row
        draw.rectangle((left, top, left + size - 1, top + size - 1), fill=tuple(colour), outline="black")
        low = draw.textbbox((0, 0), "Ag", font=font)
        draw.text((left + size + gap, top + (size - low[1] - low[3]) // 2), text, fill="black", font=font)
    return strip


def _blend(picture, labels, palette, opacity, ignore_index):
    """Mix the class colours into the picture: opaque along the borders between classes, `opacity` elsewhere."""
    line = max(1, round((picture.width + picture.height) / 2 / 700))
    known = labels != ignore_index
    coloured = Image.fromarray(np.take(palette, np.where(known, labels, 0), axis=0))
    drawn = Image.blend(picture, coloured, opacity)
    drawn.paste(coloured, mask=Image.fromarray(_borders(labels, line)))
    if not known.all():
        drawn.paste(picture, mask=Image.fromarray(~known))
    return drawn


def draw_labels(
    image: np.ndarray | Image.Image,
    labels: np.ndarray,
    names: Sequence[str],
    palette: np.ndarray | Sequence[Colour],
    opacity: float = 0.5,
    ignore_index: int = 255,
    listed: Sequence[int] | None = None,
) -> Image.Image:
    """Lay the colours of a class map over a picture, with a legend of its classes below.

    A thin opaque line follows the border of every class, so that a class one pixel wide is still seen. Lines and
    letters grow with the picture. The picture keeps its size and stands at the top left. The legend, largest class
    first, adds rows below it, and columns at the right if a name is wider than the picture.

    Args:
        image: uint8 array (H, W, 3) in RGB, or Pillow image; it is not changed.
        labels: integers (H, W), the class of every pixel.
        names: the class names. A class past their end is called "class N".
        palette: uint8 (at least number of classes, 3), the colours.
        opacity: 0 (the picture with borders) to 1 (colours alone).
        ignore_index: pixels with this label stay as they are.
        listed: the classes of the legend, such as all of them, so that all frames of a video have one size; None: those
            that the picture has.

    Returns:
        RGB, at least as wide and high as the image.

    Raises:
        UserError: a wrong shape or type, a label without a colour, or an opacity out of range.
    """
    picture, colours = as_picture(image), np.asarray(palette, np.uint8)
    labels = _check_labels(labels, picture.size, colours, ignore_index)
    if not 0 <= opacity <= 1:
        raise UserError(f"opacity is {opacity}; it must be from 0 to 1")
    drawn = _blend(picture, labels, colours, opacity, ignore_index)
    counts = np.bincount(labels[labels != ignore_index], minlength=1)
    present = (
        [number for number in np.argsort(-counts, kind="stable") if counts[number]] if listed is None else [*listed]
    )
    shown = [str(names[number]) if number < len(names) else f"class {number}" for number in present]
    size = max(12, round((picture.width + picture.height) / 2 / 45))
    legend = _legend(shown, colours[present].tolist(), size, picture.width)
    canvas = Image.new("RGB", (legend.width, picture.height + legend.height), "white")
    canvas.paste(drawn, (0, 0))
    canvas.paste(legend, (0, picture.height))
    return canvas
