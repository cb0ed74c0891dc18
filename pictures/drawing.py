"""Drawing on pictures: boxes with their classes, and maps of classes with a legend."""

import colorsys
import math
import zlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import UserError

# Saturation and value of the colours, strong enough to stand off a photograph.
_TONES = ((0.90, 1.00), (0.55, 1.00), (1.00, 0.65))


def _tone(hue, tone):
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, *_TONES[tone]))


def class_colours(names):
    """Give every class a colour that no other class of the list has.

    Args:
        names: the class names of a data set, in its order.

    Returns:
        dict of name -> (red, green, blue), 0..255; the same list gives the same colours.
    """
    golden = 0.618034  # hues in steps of the golden ratio keep neighbours in the list far apart
    distinct = dict.fromkeys(str(name) for name in names)
    return {name: _tone(index * golden % 1, index % 3) for index, name in enumerate(distinct)}


def _colour_of(name, palette):
    """The colour of a class: from the palette, or one that follows from the letters of the name alone."""
    if palette and name in palette:
        return tuple(palette[name])
    number = zlib.crc32(name.encode())
    return _tone(number % 997 / 997, number // 997 % 3)


def _font(size):
    """The font that comes with Pillow; before Pillow 10.1 or without FreeType it has one small size only."""
    try:
        return ImageFont.load_default(size=size)
    except (TypeError, ImportError, OSError):
        return ImageFont.load_default()


def as_picture(image):
    """A uint8 (H, W, 3) array or a Pillow picture -> a new Pillow picture in RGB."""
    if isinstance(image, Image.Image):
        return image.convert("RGB") if image.mode != "RGB" else image.copy()
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise UserError(f"image is {image.dtype} {image.shape}; give a uint8 array (H, W, 3) in RGB, or a Pillow image")
    return Image.fromarray(image)


def _check_boxes(boxes, labels, scores):
    """The three as arrays and a list of one length N, or an error."""
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
    """Edges of a box -> its first and last pixels (left, top, right, bottom) in the picture, or None."""
    left, right = sorted((box[0], box[2]))
    top, bottom = sorted((box[1], box[3]))
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        return None
    left, top = min(max(round(left), 0), width - 1), min(max(round(top), 0), height - 1)
    right, bottom = min(round(right), width) - 1, min(round(bottom), height) - 1
    return left, top, max(right, left), max(bottom, top)


def fit_text(draw, text, size, width):
    """The largest font up to `size` in which the text fits the width, and the text, cut if none does."""
    smallest = min(size, 8)
    if not isinstance(_font(size), ImageFont.FreeTypeFont):  # the old font has 256 letters
        text = text.encode("latin-1", "replace").decode("latin-1")
    for points in range(size, smallest - 1, -1):
        font = _font(points)
        if draw.textlength(text, font) <= width:
            return text, font
    while text and draw.textlength(text + ".", font) > width:
        text = text[:-1]
    return text + ".", font


def _draw_plate(draw, corner, text, colour, size, picture_size):
    """Write the text on a filled plate above the corner (left, top), or below it where the picture ends."""
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


def draw_boxes(image, boxes, labels, scores=None, palette=None):
    """Draw boxes with their class names and scores; lines and letters grow with the picture.

    Low scores are drawn first, so that high ones lie on top. Lines run inside the box, along its outermost
    pixels. Boxes are cut at the edge of the picture; those outside are left out.

    Args:
        image: uint8 array (H, W, 3), red-green-blue, or Pillow image; it is not changed.
        boxes: (N, 4) left, top, right, bottom in pixels, right and bottom exclusive.
        labels: N class names.
        scores: N numbers 0..1, or None.
        palette: dict of class name -> (red, green, blue), as `class_colours` returns; a class that is not in
            it gets a colour that depends on its name only.

    Returns:
        PIL.Image in RGB, of the size of the image.

    Raises:
        UserError: another shape or type than those above, or not as many labels or scores as boxes.
    """
    boxes, labels, scores = _check_boxes(boxes, labels, scores)
    picture = as_picture(image)
    draw = ImageDraw.Draw(picture)
    side = (picture.width + picture.height) / 2
    line, size = max(2, round(side / 250)), max(11, round(side / 36))
    order = range(len(boxes)) if scores is None else np.argsort(scores, kind="stable")
    plates = []
    for index in order:
        edges = _pixels(boxes[index], *picture.size)
        if edges is None:
            continue
        colour = _colour_of(labels[index], palette)
        draw.rectangle(edges, outline=colour, width=line)
        text = labels[index] if scores is None else f"{labels[index]} {scores[index]:.2f}"
        plates.append((edges[:2], text, colour))
    for corner, text, colour in plates:  # after all lines, which would cross the letters
        _draw_plate(draw, corner, text, colour, size, picture.size)
    return picture


def _check_labels(labels, size, palette, ignore_index):
    """The map of classes as an array, or an error; `size` is the picture's (width, height)."""
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
    """(H, W) -> bool (H, W): the pixels at most `line` away from another class, along the row or the column."""
    edges = np.zeros(labels.shape, bool)
    for step in range(1, line + 1):
        for classes, marks in ((labels, edges), (labels.T, edges.T)):
            differ = classes[step:] != classes[:-step]
            marks[step:] |= differ
            marks[:-step] |= differ
    return edges


def _legend(names, colours, size, width):
    """A white strip, at least `width` pixels wide, with a square of colour and a name for every class, in columns."""
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


def draw_labels(image, labels, names, palette, opacity=0.5, ignore_index=255):
    """Lay the colours of a map of classes over a picture, with a legend of the classes in it below.

    Along its borders a class has its full colour, in a thin line, so that a class one pixel wide is still seen;
    lines and letters grow with the picture. The picture stands at the top left in its size; the legend, largest
    class first, adds rows below it, and columns at the right where a name is wider than the picture.

    Args:
        image: uint8 array (H, W, 3), red-green-blue, or Pillow image; it is not changed.
        labels: whole numbers (H, W), the class of every pixel.
        names: the class names; a class past their end is called "class N".
        palette: uint8 (at least number of classes, 3), the colours.
        opacity: 0 (the picture with borders) to 1 (colours alone).
        ignore_index: pixels with this label stay as they are.

    Returns:
        PIL.Image in RGB, at least as wide and high as the image.

    Raises:
        UserError: another shape or type than those above, a label without a colour, opacity out of range.
    """
    picture, palette = as_picture(image), np.asarray(palette, np.uint8)
    labels = _check_labels(labels, picture.size, palette, ignore_index)
    if not 0 <= opacity <= 1:
        raise UserError(f"opacity is {opacity}; it must be from 0 to 1")
    side = (picture.width + picture.height) / 2
    line, size = max(1, round(side / 700)), max(12, round(side / 45))
    known = labels != ignore_index
    opacities = np.where(_borders(labels, line), np.float32(1), np.float32(opacity)) * known
    pixels = np.asarray(picture, np.float32)
    colours = palette[np.where(known, labels, 0)]
    drawn = np.rint(pixels + (colours - pixels) * opacities[..., None]).astype(np.uint8)
    counts = np.bincount(labels[known], minlength=1)
    present = [number for number in np.argsort(-counts, kind="stable") if counts[number]]
    shown = [str(names[number]) if number < len(names) else f"class {number}" for number in present]
    legend = _legend(shown, palette[present].tolist(), size, picture.width)
    canvas = Image.new("RGB", (legend.width, picture.height + legend.height), "white")
    canvas.paste(Image.fromarray(drawn), (0, 0))
    canvas.paste(legend, (0, picture.height))
    return canvas
