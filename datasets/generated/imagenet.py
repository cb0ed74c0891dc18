"""Pictures of single things in the layout of ImageNet. A classifier learns the ten classes in minutes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import UserError
from . import things
from .painting import View, facing, ground, paint, part, rgb, sky, solid, speckled, windows
from .shared import SampleSet, camera, check_count, check_seed, is_int, write_once

SPLITS = ("train", "val")
MIN_SIDE, MAX_SIDE = 32, 1024
CAMERA_HEIGHT = 1.76  # metres
#: size of the thing, as a share of the picture's shorter side
FILLED = (0.62, 0.95)


@dataclass(frozen=True)
class _Close(View):
    """A camera close to a thing, which stands where t is 1. `scale`: pixels per metre there."""

    scale: float

    @property
    def metre(self) -> float:
        return self.scale

    @property
    def drop(self) -> float:
        return CAMERA_HEIGHT * self.scale


def _picket_fence(rng, view, right, t):
    """Pointed boards on two rails, across the picture."""
    pitch, tall = rng.uniform(0.16, 0.22), rng.uniform(0.95, 1.15)
    light = rgb(rng.uniform(0.08, 0.15), rng.uniform(0.02, 0.12), rng.uniform(0.85, 0.98))
    parts = []
    for up in (0.3 * tall, 0.72 * tall):
        corners = [(-3, up), (-3, up + 0.09), (3, up + 0.09), (3, up)]
        parts += part(view, "fence", [view.at(right + u, t, v) for u, v in corners], solid(light))
    for left in np.arange(-3, 3, pitch):
        half, middle = 0.36 * pitch, left + 0.5 * pitch
        corners = [(middle - half, 0), (middle - half, tall - 0.12), (middle, tall), (middle + half, tall - 0.12)]
        corners += [(middle + half, 0)]
        parts += part(view, "fence", [view.at(right + u, t, v) for u, v in corners], solid(light))
    return parts


# Synset: (name, function that draws it, height of its middle and its longer side in metres, range of `right`)
_THINGS = {
    "n02747177": ("ashcan", things.dustbin, 0.5, 1.05, (0, 0)),
    "n03769881": ("minibus", things.bus, 1.45, 3.3, (1.2, 2.0)),
    "n03791053": ("motor scooter", things.motorcycle, 0.52, 1.75, (0, 0)),
    "n03792782": ("mountain bike", things.bicycle, 0.5, 1.5, (0, 0)),
    "n03930313": ("picket fence", _picket_fence, 0.55, 1.2, (-0.1, 0.1)),
    "n04285008": ("sports car", things.car, 0.75, 1.9, (0, 0)),
    "n04335435": ("streetcar", things.tram, 1.6, 3.6, (1.2, 2.0)),
    "n04467665": ("trailer truck", things.truck, 1.4, 3.2, (1.2, 2.0)),
    "n06794110": ("street sign", things.traffic_sign, 2.2, 1.0, (0, 0)),
    "n06874185": ("traffic light", things.traffic_light, 2.45, 1.3, (0, 0)),
}
SYNSETS = tuple(_THINGS)
CLASSES = tuple(name for name, *_ in _THINGS.values())


def _surroundings(rng, view):
    """Sky, houses, ground and some green. They are independent of the thing in front of them."""
    width, far = view.width, 0.12
    foot = view.at(0, far)[1]
    top = rgb(rng.uniform(0.55, 0.62), rng.uniform(0.1, 0.5), rng.uniform(0.8, 0.97))
    parts = part(view, "sky", [(0, 0), (width, 0), (width, foot + 2), (0, foot + 2)], sky(top, rng.uniform(0.1, 0.5)))
    left = 0.0
    while left < width:
        step, roof = rng.uniform(0.3, 0.7) * width, foot - rng.uniform(0.2, 0.7) * view.height
        colour = rgb(rng.uniform(0.02, 0.12), rng.uniform(0.1, 0.55), rng.uniform(0.45, 0.85))
        pattern = windows(rng.uniform(1.6, 2.4), rng.uniform(1.5, 1.9), rng.uniform(0.15, 0.35))
        outline = [(left, foot), (left, roof), (left + step, roof), (left + step, foot)]
        parts += part(view, "building", outline, facing(view, colour, pattern, foot))
        left += step
    floor = ground(view, rgb(rng.uniform(0, 0.7), rng.uniform(0.03, 0.14), rng.uniform(0.3, 0.7)), _tiles)
    if rng.uniform() < 0.3:
        floor = speckled(rgb(0.2, 0.5, rng.uniform(0.4, 0.55)), rgb(0.24, 0.45, 0.62), 12, 40)
    parts += part(view, "road", [(0, foot - 1), (width, foot - 1), (width, view.height), (0, view.height)], floor)
    reach = width / view.metre
    for t in sorted(rng.uniform(0.2, 0.7, rng.integers(0, 4))):
        green = things.tree if rng.uniform() < 0.4 else things.bush
        parts += green(rng, view, (rng.uniform(0, reach) - view.middle / view.metre) / t, t)
    return parts


def _tiles(right, away):
    return -0.1 * (((right / 0.6) % 1 < 0.1) | ((away / 0.9) % 1 < 0.1))


def draw(rng: np.random.Generator, synset: str, height: int, width: int) -> Image.Image:
    """Draws a picture of one thing."""
    _, make, middle, extent, sideways = _THINGS[synset]
    side = min(height, width)
    scale = side * rng.uniform(*FILLED) / extent
    right = rng.uniform(*sideways) * rng.choice([-1, 1])
    # the thing is near the middle of the picture
    x, y = width * rng.uniform(0.42, 0.58), height * rng.uniform(0.44, 0.56)
    view = _Close(height, width, x - right * scale, y - (CAMERA_HEIGHT - middle) * scale, scale)
    scene = paint(rng, _surroundings(rng, view) + make(rng, view, right, 1.0), height, width)
    angle = rng.uniform(0, 2 * np.pi)
    return camera(rng, scene, np.array([np.cos(angle), np.sin(angle)]))


def _file(split, index):
    """SPLIT/SYNSET/NAME of a picture. The classes take turns."""
    synset = SYNSETS[index % len(SYNSETS)]
    name = f"{synset}_{index}" if split == "train" else f"ILSVRC2012_val_{index + 1:08d}"
    return f"{split}/{synset}/{name}.JPEG"


def _write_all(folder, arguments, bar):
    size = arguments["size"]
    for split in SPLITS:
        for index in range(arguments[split]):
            rng = np.random.default_rng([arguments["seed"], SPLITS.index(split), index])
            sides = [size, round(size * rng.uniform(1, 4 / 3))]
            path = folder / _file(split, index)
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = draw(rng, SYNSETS[index % len(SYNSETS)], *rng.permutation(sides).tolist())
            picture.save(path, format="JPEG", quality=92)
            bar.update()
    return {}


def _lost(folder, arguments):
    """The first split with missing files, or None."""
    for split in SPLITS:
        if not all((folder / _file(split, index)).is_file() for index in range(arguments[split])):
            return split
    return None


def write_imagenet(
    folder: str | Path, train: int = 600, val: int = 200, size: int = 80, seed: int = 0, progress: bool = True
) -> SampleSet:
    """Writes a classification data set in the layout of ImageNet.

    `folder` gets train/SYNSET/*.JPEG and val/SYNSET/*.JPEG of ten of ImageNet's classes, and a marker file with the
    arguments. Each picture shows one thing of the street in front of houses, ground and green. The same arguments give
    the same bytes with the same versions of the libraries.

    The set is written beside `folder` and renamed at the end: an interrupted run leaves nothing at `folder`.

    Args:
        folder: where to write. New, empty, or the folder of a set that the same arguments made, which is kept.
        train: number of training pictures, at least 10.
        val: number of evaluation pictures, at least 10.
        size: shorter side of the pictures in pixels, from 32 to 1024. The other side is up to a third longer.
        seed: whole number, at least 0. Another seed gives other pictures.
        progress: show a progress bar.

    Returns:
        The set, without boxes.

    Raises:
        UserError: an argument is out of range, or the folder holds something else or is not writable.
    """
    if not is_int(size) or not MIN_SIDE <= size <= MAX_SIDE:
        raise UserError(f"size={size!r}: must be a whole number of pixels from {MIN_SIDE} to {MAX_SIDE}")
    arguments = {
        "layout": "imagenet",
        "version": 1,  # raise it when the same arguments give other pictures
        "train": check_count("train", train, least=len(CLASSES)),
        "val": check_count("val", val, least=len(CLASSES)),
        "size": int(size),
        "seed": check_seed(seed),
    }
    return write_once(folder, arguments, _write_all, _lost, CLASSES, SPLITS, progress)
