"""Scenes with a few shapes, in the layout of COCO 2017. A detector learns them in minutes.

A scene has a textured ground, light from one side, shadows, blur, noise and JPEG artefacts. It is no photograph, but a
detector runs the same code on it.
"""

import colorsys
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ...errors import UserError
from ...system.files import atomic_path
from .shared import SampleSet, camera, check_count, check_seed, is_int, smooth_noise, soften, write_once

# (category id, name, supercategory). The ids have gaps, like COCO's.
CATEGORIES = (
    (1, "circle", "round"),
    (3, "square", "angular"),
    (7, "triangle", "angular"),
    (18, "star", "pointed"),
)
CATEGORY_IDS = {name: number for number, name, _ in CATEGORIES}
# Like most things, the classes have usual colours and stand mostly upright. With random colours and rotations,
# HarDNet-39DS with the PP-YOLOE head still guesses after 12 epochs from random weights (AP50 0.29, measured).
HUES = {"circle": 0.95, "square": 0.6, "triangle": 0.36, "star": 0.14}  # red, blue, green, yellow
HUE_SPREAD = 0.05  # plus or minus; 1 is the whole circle of hues
UPRIGHT = {"circle": 0.0, "square": math.pi / 4, "triangle": -math.pi / 2, "star": -math.pi / 2}
TILT = 0.25  # radians, plus or minus
SPLITS = ("train", "val")

MAX_OBJECTS = 5
RELATIVE_SIZE = (0.15, 0.45)  # longer side of an object's box over the shorter side of the picture
MAX_BOX_IOU = 0.15
MAX_HIDDEN = 0.2  # share of an object that nearer objects may cover
SUPERSAMPLE = 8  # sub-pixels per side of a pixel: soft edges, and boxes exact to a fifth of a pixel


def _colour(rng, saturation, value, hue=None):
    """RGB floats 0..1, with saturation and value drawn from the given ranges. No hue: a random one."""
    hue = rng.uniform() if hue is None else hue
    return np.array(colorsys.hsv_to_rgb(hue, rng.uniform(*saturation), rng.uniform(*value)), np.float32)


def _surface(rng, height, width):
    """A dull surface (H, W, 3): two related colours mixed by clouds, with a grain that may have a direction."""
    first = _colour(rng, (0.03, 0.2), (0.25, 0.75))
    second = np.clip(first + rng.uniform(-0.1, 0.1, 3), 0.05, 0.95).astype(np.float32)
    clouds = 0.6 * smooth_noise(rng, height, width, 3) + 0.4 * smooth_noise(rng, height, width, 9)
    mix = np.clip(0.5 + clouds, 0, 1)[..., None]
    surface = first * (1 - mix) + second * mix
    grain = smooth_noise(rng, height, width, 40)
    if rng.uniform() < 0.5:  # boards or cloth: bands along one direction, bent by the clouds
        angle = rng.uniform(0, math.pi)
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        along = rows * math.sin(angle) + columns * math.cos(angle)
        grain = 0.5 * grain + 0.8 * np.sin(along * (2 * math.pi / rng.uniform(7, 24)) + 2 * clouds)
    return surface + rng.uniform(0.01, 0.03) * grain[..., None]


def _background(rng, height, width):
    """A wall over a floor, or one surface seen from above: float32 (H, W, 3) of about 0..1."""
    scene = _surface(rng, height, width)
    if rng.uniform() < 0.6:
        horizon = rng.uniform(0.2, 0.8) * height + rng.uniform(-0.2, 0.2) * np.arange(width, dtype=np.float32)
        depth = np.arange(height, dtype=np.float32)[:, None] - horizon  # pixels below the edge
        floor = np.clip(depth / rng.uniform(1, 4) + 0.5, 0, 1)[..., None]
        scene = scene * (1 - floor) + _surface(rng, height, width) * floor
        scene *= 1 - 0.25 * np.exp(-np.abs(depth) / 8)[..., None]  # the corner is darker
    return scene


def _outline(rng, name):
    """Outline (K, 2) of a shape, centred on (0, 0) and tilted at random. The longer side of its box is 1."""
    if name == "circle":
        angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
        radii = np.ones(48)
    elif name == "star":
        angles = np.arange(10) * (math.pi / 5)
        radii = np.where(np.arange(10) % 2 == 0, 1.0, rng.uniform(0.42, 0.5))
    else:
        corners = {"triangle": 3, "square": 4}[name]
        angles = np.arange(corners) * (2 * math.pi / corners)
        radii = np.ones(corners)
    points = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    turn = UPRIGHT[name] + rng.uniform(-TILT, TILT)
    points = points @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    points[:, rng.integers(2)] *= rng.uniform(0.88, 1.0)  # seen a little from the side
    points -= (points.min(axis=0) + points.max(axis=0)) / 2
    return points / np.ptp(points, axis=0).max()


@dataclass(frozen=True)
class _Shape:
    """A shape in the picture: its outline and the pixels that it covers."""

    name: str
    outline: np.ndarray  # (K, 2) x, y in pixels
    coverage: np.ndarray  # (H, W) float32 0..1
    box: tuple[float, float, float, float]  # x, y, width, height in pixels

    @property
    def mask(self) -> np.ndarray:
        return self.coverage >= 0.5


def _rasterise(outline, name, height, width):
    """Draws an outline with soft edges. The box is the extent of the drawn pixels."""
    left, top = np.floor(outline.min(axis=0)).astype(int)
    right, bottom = np.ceil(outline.max(axis=0)).astype(int)
    # Pillow's origin is the middle of the first pixel, ours is its corner.
    points = (outline - (left, top)) * SUPERSAMPLE - 0.5
    canvas = Image.new("L", (int(right - left) * SUPERSAMPLE, int(bottom - top) * SUPERSAMPLE))
    ImageDraw.Draw(canvas).polygon([tuple(point) for point in points], fill=255)
    first_x, first_y, last_x, last_y = (edge / SUPERSAMPLE for edge in canvas.getbbox())
    coverage = np.zeros((height, width), np.float32)
    coverage[top:bottom, left:right] = np.asarray(canvas.reduce(SUPERSAMPLE), np.float32) / 255
    box = (float(left + first_x), float(top + first_y), last_x - first_x, last_y - first_y)
    return _Shape(name, outline, coverage, box)


def _box_iou(a, b):
    """Intersection over union of two boxes (x, y, width, height)."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(across, 0) * max(down, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def _extent(mask):
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return rows[0], rows[-1], columns[0], columns[-1]


def _fits(shape, nearer):
    """Whether `shape` can lie behind the shapes `nearer`.

    The boxes must hardly overlap, most of the shape must stay visible, and the visible part must have the same box.
    """
    if any(_box_iou(shape.box, other.box) >= MAX_BOX_IOU for other in nearer):
        return False
    visible = shape.mask
    for other in nearer:
        visible = visible & ~other.mask
    if visible.sum() < (1 - MAX_HIDDEN) * shape.mask.sum():
        return False
    return _extent(visible) == _extent(shape.mask)


def _place_shapes(rng, height, width):
    """1 to MAX_OBJECTS shapes, the nearest first. A shape that finds no place is left out."""
    placed = []
    side = min(height, width)
    for _ in range(rng.integers(1, MAX_OBJECTS + 1)):
        _, name, _ = CATEGORIES[rng.integers(len(CATEGORIES))]
        outline = _outline(rng, name) * rng.uniform(*RELATIVE_SIZE) * side
        reach = np.abs(outline).max(axis=0) + 1  # one pixel from the edge of the picture
        for _ in range(12):
            centre = rng.uniform(reach, (width, height) - reach)
            shape = _rasterise(outline + centre, name, height, width)
            if _fits(shape, placed):
                placed.append(shape)
                break
    return placed


def _texture(rng, height, width):
    """A texture, float32 (H, W) of about -1..1: plain, clouds, stripes or a weave."""
    kind = rng.integers(4)
    if kind == 0:
        return np.zeros((height, width), np.float32)
    if kind == 1:
        return smooth_noise(rng, height, width, 14)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, period = rng.uniform(0, math.pi), rng.uniform(6, 14)
    first = np.sin((rows * math.sin(angle) + columns * math.cos(angle)) * (2 * math.pi / period))
    if kind == 2:
        return first
    return first * np.sin((rows * math.cos(angle) - columns * math.sin(angle)) * (2 * math.pi / period))


def _contrasting_colour(rng, name, ground):
    """A colour of the class that differs from nearly all pixels of the ground, (N, 3), or the best of ten tries."""
    ground = ground[:: max(1, len(ground) // 256)]
    hues = (HUES[name] + rng.uniform(-HUE_SPREAD, HUE_SPREAD, 10)) % 1
    colours = [_colour(rng, (0.6, 1.0), (0.55, 1.0), hue) for hue in hues]
    distances = [np.percentile(np.abs(ground - colour).sum(axis=1), 10) for colour in colours]
    far = [index for index, distance in enumerate(distances) if distance > 0.6]
    return colours[far[0] if far else int(np.argmax(distances))]


def _moved(values, down, right):
    """Shifts an array (H, W) by whole pixels and fills the edges with zeros."""
    reach = max(abs(down), abs(right))
    height, width = values.shape
    padded = np.pad(values, reach)
    return padded[reach - down : reach - down + height, reach - right : reach - right + width]


def _window(box, margin):
    """(rows, columns): slices of a box with a margin around it, in pixels."""
    x, y, width, height = box
    rows = slice(max(int(y) - margin, 0), math.ceil(y + height) + margin)
    return rows, slice(max(int(x) - margin, 0), math.ceil(x + width) + margin)


def _paint(rng, scene, shape, light):
    """Paints one shape and its shadow over the scene, in place. `light` (x, y) points towards the lamp."""
    longest = max(shape.box[2:])
    length = 0.08 * longest  # of the shadow, pixels
    window = _window(shape.box, math.ceil(4 + 0.3 * longest))
    scene, coverage = scene[window], shape.coverage[window]
    shadow = _moved(soften(coverage, 1 + length / 2), round(-length * light[1]), round(-length * light[0]))
    scene *= 1 - rng.uniform(0.3, 0.55) * shadow[..., None]
    colour = _contrasting_colour(rng, shape.name, scene[coverage >= 0.5])
    height, width = coverage.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    side = ((columns / width - 0.5) * light[0] + (rows / height - 0.5) * light[1]) / 0.7
    shade = 1 + 0.35 * side + 0.06 * _texture(rng, height, width)
    rim = 1 - 0.3 * (1 - np.clip(2 * soften(coverage, 1.2) - 1, 0, 1))  # darker towards the edge
    scene *= 1 - coverage[..., None]
    scene += coverage[..., None] * colour * (shade * rim)[..., None]


def _draw_scene(rng, sides):
    """(picture, its shapes, its JPEG quality). Width and height are drawn from the range `sides`."""
    height, width = (int(side) for side in rng.integers(sides[0], sides[1] + 1, 2))
    angle = rng.uniform(0, 2 * math.pi)
    light = np.array([math.cos(angle), math.sin(angle)])
    scene = _background(rng, height, width)
    shapes = _place_shapes(rng, height, width)
    for shape in reversed(shapes):
        _paint(rng, scene, shape, light)
    return camera(rng, scene, light), shapes, int(rng.integers(75, 96))


def _annotation(shape, number, image_id):
    x, y = shape.outline[:, 0], shape.outline[:, 1]
    area = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))  # shoelace formula
    return {
        "segmentation": [[round(float(value), 2) for value in shape.outline.ravel()]],
        "area": round(float(area), 4),
        "iscrowd": 0,
        "image_id": image_id,
        "bbox": [float(value) for value in shape.box],
        "category_id": CATEGORY_IDS[shape.name],
        "id": number,
    }


def _coco(split, seed, images, annotations):
    """The content of an annotation file, with the fields of COCO's."""
    return {
        "info": {
            "description": f"densebone sample data, {split}2017, seed {seed}",
            "url": "",
            "version": "1.0",
            "year": 2017,
            "contributor": "densebone",
            "date_created": "2017/09/01",
        },
        "licenses": [{"url": "", "id": 1, "name": "Drawn by densebone, free to use"}],
        "images": images,
        "annotations": annotations,
        "categories": [{"supercategory": group, "id": number, "name": name} for number, name, group in CATEGORIES],
    }


def _write_split(folder, split, arguments, first_image, first_box, bar):
    """Draws the pictures of one split, then writes their annotation file. Returns the number of boxes."""
    (folder / f"{split}2017").mkdir()
    images, annotations = [], []
    for index in range(arguments[split]):
        rng = np.random.default_rng([arguments["seed"], SPLITS.index(split), index])
        picture, shapes, quality = _draw_scene(rng, arguments["size"])
        number = first_image + index
        name = f"{number:012d}.jpg"
        picture.save(folder / f"{split}2017" / name, quality=quality)
        width, height = picture.size
        images.append({"license": 1, "file_name": name, "height": height, "width": width, "id": number})
        for shape in shapes:
            annotations.append(_annotation(shape, first_box + len(annotations), number))
        bar.update()
    content = _coco(split, arguments["seed"], images, annotations)
    with atomic_path(folder / "annotations" / f"instances_{split}2017.json") as path:
        path.write_text(json.dumps(content), encoding="utf-8")
    return len(annotations)


def _write_all(folder, arguments, bar):
    """Writes both splits. Returns the number of boxes in each."""
    boxes, first_image, first_box = {}, 1, 1
    for split in SPLITS:
        boxes[split] = _write_split(folder, split, arguments, first_image, first_box, bar)
        first_image += arguments[split]
        first_box += boxes[split]
    return boxes


def _lost(folder, arguments):
    """The first split with missing files, or None."""
    for split in SPLITS:
        kept = sum(1 for _ in (folder / f"{split}2017").glob("*.jpg"))
        annotations = folder / "annotations" / f"instances_{split}2017.json"
        if kept != arguments[split] or not annotations.is_file():
            return f"{split}2017"
    return None


def _check_arguments(train: Any, val: Any, size: Any, seed: Any) -> dict[str, Any]:
    """The arguments as JSON values. UserError when one is out of range."""
    counts = {"train": check_count("train", train), "val": check_count("val", val)}
    sides = [size, size] if is_int(size) else list(size) if isinstance(size, (tuple, list)) else [size]
    if len(sides) != 2 or not all(map(is_int, sides)) or not 32 <= sides[0] <= sides[1] <= 4096:
        raise UserError(
            f"size={size!r}: must be the side in pixels or (smallest, largest), whole numbers from 32 to 4096"
        )
    return {
        "layout": "coco",
        "version": 1,  # raise it when the same arguments give other pictures
        **counts,
        "size": [int(side) for side in sides],
        "seed": check_seed(seed),
    }


def write_coco(
    folder: str | Path,
    train: int = 120,
    val: int = 30,
    size: int | tuple[int, int] = (240, 320),
    seed: int = 0,
    progress: bool = True,
) -> SampleSet:
    """Writes a detection data set in the layout of COCO 2017.

    `folder` gets `annotations/instances_{train,val}2017.json`, `train2017/*.jpg`, `val2017/*.jpg` and a marker file
    with the arguments. Each picture shows 1 to 5 of the shapes in `CATEGORIES`, entirely inside the picture.
    Segmentation and area of an object that lies partly behind others are those of its whole outline. At most a fifth of
    it is hidden, and never a part that touches its box. The same arguments give the same bytes with the same versions
    of the libraries.

    The set is written beside `folder` and renamed at the end: an interrupted run leaves nothing at `folder`.

    Args:
        folder: where to write. New, empty, or the folder of a set that the same arguments made, which is kept.
        train: number of pictures in train2017, at least 1.
        val: number of pictures in val2017, at least 1.
        size: side of the pictures in pixels, from 32 to 4096, or (smallest, largest): width and height of every picture
            are then drawn from that range.
        seed: whole number, at least 0. Another seed gives other pictures.
        progress: show a progress bar.

    Returns:
        The set.

    Raises:
        UserError: an argument is out of range, or the folder holds something else or is not writable.
    """
    arguments = _check_arguments(train, val, size, seed)
    classes = tuple(name for _, name, _ in CATEGORIES)
    return write_once(folder, arguments, _write_all, _lost, classes, SPLITS, progress)
