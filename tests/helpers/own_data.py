"""The same few scenes in every format that `densebone init` reads."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from densebone.datasets import formats, own
from densebone.datasets.formats.writing import Output
from densebone.datasets.generated import write_coco

CLASSES = ("circle", "square", "star", "triangle")
BOXED = [name for name, form in formats.FORMATS.items() if form.write]


def write_scenes(folder, train=16, val=6, seed=3):
    """Generated shapes in COCO's layout, with whole numbers as boxes, so that every format holds them exactly."""
    write_coco(folder, train=train, val=val, seed=seed, progress=False)
    for file in Path(folder, "annotations").glob("*.json"):
        content = json.loads(file.read_text())
        content["categories"].sort(key=lambda row: row["name"])  # formats without a list of classes sort them
        for row in content["annotations"]:
            left, top, width, height = row["bbox"]
            row["bbox"] = [round(left), round(top), max(1, int(width)), max(1, int(height))]
            row["area"] = row["bbox"][2] * row["bbox"][3]
            row.pop("segmentation")
        file.write_text(json.dumps(content))
    return Path(folder)


def write_as(name, scenes, folder, divided=True):
    """Scenes of `write_scenes` in a format that holds boxes; not divided: without train and val in any name."""
    data = own.open_data(scenes)
    for content in data.parts.values():
        for picture in content.pictures:
            picture.name = Path(picture.name).name
    parts = data.parts if divided else {"": own.formats.building.join(list(data.parts.values()))}
    formats.FORMATS[name].write(
        {part: replace(content) for part, content in parts.items()}, Output(Path(folder), "copy")
    )
    return Path(folder)


def boxes_of(data):
    """{part: [(picture, class, left, top, width, height)]}, sorted."""
    rows = {}
    for part, content in data.parts.items():
        rows[part] = sorted(
            (Path(content.pictures[p].name).name, data.classes[label], *np.round(box, 3).tolist())
            for p, label, box in zip(content.picture, content.label, content.boxes)
        )
    return rows


def write_masks(scenes, folder, colours=None, values=None):
    """Scenes as images/ and masks/: class numbers, or what `values` or `colours` say for them (0 is background)."""
    folder = Path(folder)
    for place in ("images", "masks"):
        (folder / place).mkdir(parents=True)
    data = own.open_data(scenes)
    for content in data.parts.values():
        for place, picture in enumerate(content.pictures):
            drawn = Image.new("L", (int(picture.width), int(picture.height)), 0)
            for index in np.flatnonzero(content.picture == place):
                left, top, width, height = content.boxes[index]
                box = [left, top, left + width - 1, top + height - 1]
                ImageDraw.Draw(drawn).rectangle(box, fill=int(content.label[index]) + 1)
            labels = np.asarray(drawn)
            if values is not None:
                labels = np.array(values, np.uint8)[labels]
            if colours is not None:
                labels = np.array(colours, np.uint8)[labels]
            Image.fromarray(labels).save(folder / "masks" / f"{Path(picture.name).stem}.png")
            shutil.copy(picture.path, folder / "images" / Path(picture.name).name)
    return folder


def write_classes(folder, count=8, classes=("cat", "dog"), parts=("",)):
    """Plain pictures, a shade for each class, in folders of classes."""
    rng = np.random.default_rng(0)
    for part in parts:
        for number, name in enumerate(classes):
            place = Path(folder, part, name)
            place.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 60, (64, 64, 3)) + 150 * number // max(1, len(classes) - 1)
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{index}.png")
    return Path(folder)
