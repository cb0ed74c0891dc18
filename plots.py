"""Every picture we draw: boxes and classes on pictures, training curves, contact sheets."""

import colorsys
import math
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from densebone.errors import UserError
from densebone.files import atomic_path

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


def _as_picture(image):
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
    picture = _as_picture(image)
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
    picture, palette = _as_picture(image), np.asarray(palette, np.uint8)
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


def png_path(path):
    """The path, as a Path; UserError unless its name ends in .png."""
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"{path}: the picture is written as PNG; give a name that ends in .png")
    return Path(path)


def _column(rows, key):
    """The rows that have `key` -> iterations and values, as float arrays sorted by iteration."""
    pairs = sorted((row["iteration"], row[key]) for row in rows if row.get(key) is not None)
    pairs = np.array(pairs, dtype=float).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _smooth(values):
    """Centred moving average over about a twentieth of the values; what is not finite is left out."""
    reach = max(1, len(values) // 40)
    finite = np.isfinite(values)
    sums = np.concatenate([[0], np.cumsum(np.where(finite, values, 0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    first = np.maximum(np.arange(len(values)) - reach, 0)
    last = np.minimum(np.arange(len(values)) + reach + 1, len(values))
    count = counts[last] - counts[first]
    return np.where(count > 0, (sums[last] - sums[first]) / np.maximum(count, 1), np.nan)


def _plot_losses(axes, rows):
    """The total loss, raw and smoothed, and its parts, smoothed."""
    steps, values = _column(rows, "loss")
    marker = "o" if len(values) == 1 else None
    axes.plot(steps, values, color="tab:blue", alpha=0.25, linewidth=1)
    axes.plot(steps, _smooth(values), color="tab:blue", linewidth=2, marker=marker, label="loss")
    parts = sorted({key for row in rows for key in row if "loss" in key and key != "loss"})
    for index, key in enumerate(parts):
        steps, values = _column(rows, key)
        axes.plot(steps, _smooth(values), color=f"C{index + 2}", linewidth=1, marker=marker, label=key)
    axes.set(title="Training loss (thick line: moving average)", xlabel="iteration", ylabel="loss")


# Key of an evaluation row -> its colour, its name in the legend, and the name of its kind in the title.
_SCORES = {
    "AP50": ("tab:orange", "mAP @ 0.5", "mAP"),
    "AP": ("tab:red", "mAP @ 0.5:0.95", "mAP"),
    "mIoU": ("tab:green", "mIoU", "mIoU"),
    "top5": ("tab:cyan", "top-5", "accuracy"),
    "top1": ("tab:purple", "top-1", "accuracy"),
}


def _plot_scores(axes, rows):
    """The scores of every evaluation, with the best of each in the title."""
    best, kinds = [], {}
    for key, (colour, label, kind) in _SCORES.items():
        steps, values = _column(rows, key)
        if len(values):
            axes.plot(steps, values, color=colour, marker="o", markersize=4, label=label)
            kinds[kind] = True
        if np.isfinite(values).any():
            best.append(f"{label} {np.nanmax(values):.3f}")
    name = " and ".join(kinds) or "score"
    title = f"Validation {name}" + (f" (best: {', '.join(best)})" if best else "")
    axes.set(title=title, xlabel="iteration", ylabel=name, ylim=(0, 1.02))


def check_curves():
    """UserError when curves cannot be drawn here: to be known before hours of training, not after."""
    new_figure(1, 1)


def new_figure(width, height):
    """A matplotlib figure, in inches, that draws without a display; UserError where matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("drawing curves needs matplotlib; run: pip install matplotlib") from error
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plot_training(history, path):
    """Draw the curves of a training run: the loss, and the mAP, mIoU or accuracy where there were evaluations.

    Args:
        history: dicts in any order. {"kind": "train", "iteration": int, "loss": float, ...}, where further
            keys with "loss" in their name are drawn as thin lines; {"kind": "eval", "iteration": int, "AP":
            float, "AP50": float}, or "mIoU", or "top1" and "top5", all 0..1. What is missing or not finite is left
            out, other keys ignored.
        path: the PNG to write.

    Raises:
        UserError: no row to draw, a row without iteration, or a path that is not a PNG or cannot be written.
    """
    path = png_path(path)
    rows = list(history)
    train = [row for row in rows if row.get("kind") == "train" and row.get("loss") is not None]
    evals = [row for row in rows if row.get("kind") == "eval"]
    if not train and not evals:
        raise UserError("the history holds no row of kind 'train' with a loss or 'eval'; train first")
    if any("iteration" not in row for row in train + evals):
        raise UserError("a row of the history has no 'iteration'; every row needs one")
    panels = [(_plot_losses, train)] * bool(train) + [(_plot_scores, evals)] * bool(evals)
    figure = new_figure(6.5 * len(panels), 4.2)
    for axes, (plot, chosen) in zip(figure.subplots(1, len(panels), squeeze=False, sharex=True)[0], panels):
        plot(axes, chosen)
        axes.grid(alpha=0.3)
        axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def plot_sheet(images, titles, path, columns=4, cell=256):
    """Write a contact sheet: pictures of any size in a grid, each scaled into its cell, a title above it.

    Args:
        images: uint8 arrays (H, W, 3), red-green-blue, or Pillow images; at least one.
        titles: one string for each; those that are too long get smaller letters, then are cut.
        path: the PNG to write.
        columns: pictures in a row, at least 1.
        cell: width and height of a cell in pixels, at least 32.

    Raises:
        UserError: no pictures, not as many titles, a size out of range, or a path that is not a PNG or cannot
            be written.
    """
    path = png_path(path)
    pictures, titles = [_as_picture(image) for image in images], [str(title) for title in titles]
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
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
