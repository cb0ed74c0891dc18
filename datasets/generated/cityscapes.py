"""Street scenes in the layout of Cityscapes: a segmentation network learns them in minutes."""

import json

import numpy as np
from PIL import Image, ImageDraw

from ...errors import UserError
from .. import cityscapes
from .painting import paint
from .shared import camera, check_count, check_seed, is_int, write_once
from .street import lay_out

# Cities of the real set, by split.
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


def label_pictures(objects, height, width):
    """Draw polygons one over the other, as the tools of Cityscapes do.

    Args:
        objects: (name of the label, [(x, y)]), the farthest first; labels without an id are not drawn.
        height: of the picture in pixels.
        width: likewise.

    Returns:
        ids (H, W) uint8 and instance ids (H, W) uint16: id * 1000 + number where the label has instances.
    """
    ids, instances = Image.new("L", (width, height)), Image.new("I", (width, height))
    seen = {}
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
    """Write all that belongs to a picture."""
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
    """The names of the pictures of a split, the cities in turn."""
    cities = CITIES[split]
    return [cityscapes.frame_name(cities[n % len(cities)], n // len(cities), 19) for n in range(count)]


def _write_all(folder, arguments, bar):
    """Write all splits; there are no boxes."""
    height, width = arguments["size"]
    for split in SPLITS:
        for index, name in enumerate(_names(split, arguments[split])):
            rng = np.random.default_rng([arguments["seed"], SPLITS.index(split), index])
            scene, frame = lay_out(rng, height, width, index)
            picture = folder / cityscapes.image_file(split, name)
            for path in (picture, folder / cityscapes.label_file(split, name, "labelIds")):
                path.parent.mkdir(parents=True, exist_ok=True)
            _paint(rng, scene + frame, height, width).save(picture)
            # As in the real set, the test pictures' labels are kept back, but for what is not scored anyway.
            shown = frame if split == "test" else scene + frame
            objects = [(piece.label, piece.outline) for piece in shown if piece.label]
            _write_labels(folder, split, name, objects, height, width)
            bar.update()
    return {}


def _lost(folder, arguments):
    """The first split that has not all of its files, or None."""
    for split in SPLITS:
        for name in _names(split, arguments[split]):
            files = [cityscapes.label_file(split, name, kind) for kind in cityscapes.KINDS]
            if not all((folder / file).is_file() for file in [cityscapes.image_file(split, name), *files]):
                return split
    return None


def _check_arguments(train, val, test, size, seed):
    """The arguments as plain values that JSON keeps, or an error."""
    counts = {"train": check_count("train", train), "val": check_count("val", val)}
    counts["test"] = check_count("test", test, least=0)
    sides = list(size) if isinstance(size, (tuple, list)) else [size]
    if len(sides) != 2 or not all(map(is_int, sides)) or not all(MIN_SIDE <= side <= MAX_SIDE for side in sides):
        raise UserError(
            f"size={size!r}: must be (height, width) in pixels, whole numbers from {MIN_SIDE} to {MAX_SIDE}"
        )
    return {
        "layout": "cityscapes",
        "version": 1,  # to be raised when the same arguments give other pictures
        **counts,
        "size": [int(side) for side in sides],
        "seed": check_seed(seed),
    }


def write_cityscapes(folder, train=60, val=20, test=2, size=(256, 512), seed=0, progress=True):
    """Write a segmentation data set in the layout of Cityscapes.

    `folder` gets what the archives of the real set hold, leftImg8bit/SPLIT/CITY and gtFine/SPLIT/CITY with
    labelIds, instanceIds, color and polygons, the labelTrainIds pictures that PaddleSeg wants, and a marker with the
    arguments. Each picture is a drawn street scene; the polygons drawn one over the other give the label pictures.
    Any three pictures of train or val in a row show all 19 classes, but for what is hidden by chance. The label
    pictures of test are void, as in the real set. The same arguments give the same bytes with the same versions of
    the libraries.

    The set is written beside `folder` and renamed at the end: an interrupted run leaves nothing at `folder`.

    Args:
        folder: where to write; new, empty, or holding the set that the same arguments made, which is kept.
        train: number of training pictures, at least 1.
        val: number of evaluation pictures, at least 1.
        test: number of pictures without labels, at least 0.
        size: (height, width) in pixels, each from 64 to 4096.
        seed: whole number, at least 0; another seed gives other pictures.
        progress: show a progress bar.

    Returns:
        SampleSet: folder, pictures per split, class names, and whether the set was there already; no boxes.

    Raises:
        UserError: an argument out of range, a folder that holds something else or that cannot be written.
    """
    arguments = _check_arguments(train, val, test, size, seed)
    return write_once(folder, arguments, _write_all, _lost, cityscapes.CLASS_NAMES, SPLITS, progress)
