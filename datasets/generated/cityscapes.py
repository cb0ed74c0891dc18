"""Street scenes in the layout of Cityscapes. A segmentation network learns them in minutes."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ...errors import UserError
from .. import cityscapes
from .painting import paint
from .shared import SampleSet, camera, check_count, check_seed, is_int, write_once
from .street import lay_out

# Some cities of the real set, by split.
CITIES = {
    "train": ("aachen", "bremen", "darmstadt", "hamburg"),
    "val": ("frankfurt", "lindau", "munster"),
    "test": ("berlin", "bonn"),
}
SPLITS = cityscapes.SPLITS
MIN_SIDE, MAX_SIDE = 64, 4096


def _paint(rng, parts, height, width):
    """The scene as a Pillow picture."""
    scene = paint(rng, parts, height, width)
    angle = rng.uniform(0, 2 * np.pi)
    return camera(rng, scene, np.array([np.cos(angle), np.sin(angle)]))


def label_pictures(
    objects: Iterable[tuple[str, Sequence[tuple[int, int]]]], height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws polygons one over the other, as the tools of Cityscapes do.

    Args:
        objects: (name of the label, [(x, y)]), the farthest first. Labels without an id are not drawn.
        height: of the picture, in pixels.
        width: of the picture, in pixels.

    Returns:
        (ids, uint8 (H, W); instance ids, uint16 (H, W): id * 1000 + number where the label has instances).
    """
    ids, instances = Image.new("L", (width, height)), Image.new("I", (width, height))
    seen: dict[str, int] = {}
    for name, outline in objects:
        label = cityscapes.BY_NAME[name]
        if label.id < 0:
            continue
        value = label.id
        if label.has_instances:
            value = 1000 * value + seen.get(name, 0)
            seen[name] = seen.get(name, 0) + 1
        ImageDraw.Draw(ids).polygon(outline, fill=label.id)
        ImageDraw.Draw(instances).polygon(outline, fill=value)
    return np.asarray(ids), np.asarray(instances).astype(np.uint16)


def _write_labels(folder, split, name, objects, height, width):
    """Writes the label files of one picture."""
    ids, instances = label_pictures(objects, height, width)
    colours = np.zeros((256, 4), np.uint8)
    for label in cityscapes.LABELS:
        if label.id >= 0:
            colours[label.id] = (*label.colour, 255)
    pictures = {
        "labelIds": ids,
        "instanceIds": instances,
        "color": colours[ids],
        "labelTrainIds": cityscapes.TRAIN_ID_OF_ID[ids],
    }
    for kind, values in pictures.items():
        Image.fromarray(values).save(folder / cityscapes.label_file(split, name, kind))
    content = {
        "imgHeight": height,
        "imgWidth": width,
        "objects": [{"label": label, "polygon": [list(point) for point in outline]} for label, outline in objects],
    }
    path = folder / cityscapes.label_file(split, name, "polygons")
    path.write_text(json.dumps(content), encoding="utf-8")


def _names(split, count):
    """The names of the pictures of a split. The cities take turns."""
    cities = CITIES[split]
    return [cityscapes.frame_name(cities[n % len(cities)], n // len(cities), 19) for n in range(count)]


def _write_all(folder, arguments, bar):
    """Writes all splits. The set has no boxes, so this returns {}."""
    height, width = arguments["size"]
    for split in SPLITS:
        for index, name in enumerate(_names(split, arguments[split])):
            rng = np.random.default_rng([arguments["seed"], SPLITS.index(split), index])
            scene, frame = lay_out(rng, height, width, index)
            picture = folder / cityscapes.image_file(split, name)
            for path in (picture, folder / cityscapes.label_file(split, name, "labelIds")):
                path.parent.mkdir(parents=True, exist_ok=True)
            _paint(rng, scene + frame, height, width).save(picture)
            # As in the real set, test pictures come with the labels of the camera's frame only, which is never scored.
            shown = frame if split == "test" else scene + frame
            objects = [(piece.label, piece.outline) for piece in shown if piece.label]
            _write_labels(folder, split, name, objects, height, width)
            bar.update()
    return {}


def _lost(folder, arguments):
    """The first split with missing files, or None."""
    for split in SPLITS:
        for name in _names(split, arguments[split]):
            files = [cityscapes.label_file(split, name, kind) for kind in cityscapes.KINDS]
            if not all((folder / file).is_file() for file in [cityscapes.image_file(split, name), *files]):
                return split
    return None


def _check_arguments(train: Any, val: Any, test: Any, size: Any, seed: Any) -> dict[str, Any]:
    """The arguments as JSON values. UserError when one is out of range."""
    counts = {"train": check_count("train", train), "val": check_count("val", val)}
    counts["test"] = check_count("test", test, least=0)
    sides = list(size) if isinstance(size, (tuple, list)) else [size]
    if len(sides) != 2 or not all(map(is_int, sides)) or not all(MIN_SIDE <= side <= MAX_SIDE for side in sides):
        raise UserError(
            f"size={size!r}: must be (height, width) in pixels, whole numbers from {MIN_SIDE} to {MAX_SIDE}"
        )
    return {
        "layout": "cityscapes",
        "version": 1,  # raise it when the same arguments give other pictures
        **counts,
        "size": [int(side) for side in sides],
        "seed": check_seed(seed),
    }


def write_cityscapes(
    folder: str | Path,
    train: int = 60,
    val: int = 20,
    test: int = 2,
    size: tuple[int, int] = (256, 512),
    seed: int = 0,
    progress: bool = True,
) -> SampleSet:
    """Writes a segmentation data set in the layout of Cityscapes.

    `folder` gets the contents of the real archives: leftImg8bit/SPLIT/CITY, and gtFine/SPLIT/CITY with labelIds,
    instanceIds, color and polygons. It also gets the labelTrainIds pictures that PaddleSeg reads, and a marker file
    with the arguments. Each picture is a drawn street scene; its polygons, drawn one over the other, give the label
    pictures. Any three consecutive pictures of train or val show all 19 classes, except for what is hidden by chance.
    The label pictures of test are void, as in the real set. The same arguments give the same bytes with the same
    versions of the libraries.

    The set is written beside `folder` and renamed at the end: an interrupted run leaves nothing at `folder`.

    Args:
        folder: where to write. New, empty, or the folder of a set that the same arguments made, which is kept.
        train: number of training pictures, at least 1.
        val: number of evaluation pictures, at least 1.
        test: number of pictures without labels, at least 0.
        size: (height, width) in pixels, each from 64 to 4096.
        seed: whole number, at least 0. Another seed gives other pictures.
        progress: show a progress bar.

    Returns:
        The set, without boxes.

    Raises:
        UserError: an argument is out of range, or the folder holds something else or is not writable.
    """
    arguments = _check_arguments(train, val, test, size, seed)
    return write_once(folder, arguments, _write_all, _lost, cityscapes.CLASS_NAMES, SPLITS, progress)
