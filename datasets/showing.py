"""Pictures of a data set as the user annotated them: boxes, classes of pixels or class names drawn, on a sheet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from ..pictures.drawing import class_colours, draw_boxes, draw_labels
from ..pictures.reading import read_image
from .annotations import Annotations
from .own import DataSet, pictures_of


def samples(data: DataSet, part: str, count: int, seed: int, cell: int) -> Iterator[tuple[Image.Image, str]]:
    """Yields (picture with its annotation drawn, title) of a part.

    Args:
        data: the data set.
        part: "train", "val" or "test".
        count: of pictures; at most all of the part.
        seed: of the choice.
        cell: the longer side to which a picture is scaled before anything is drawn on it, in pixels.
    """
    content = data.parts[part]
    names = pictures_of(content)
    colours = class_colours(data.classes)
    for place in np.random.default_rng(seed).permutation(len(names))[:count].tolist():
        name = names[place]
        image = Image.fromarray(read_image(data.source.root / name, min_side=1))
        scale = cell / max(image.size)
        small = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)
        title = name
        if isinstance(content, Annotations):
            chosen = np.flatnonzero(content.picture == place)
            boxes = content.boxes[chosen] * scale
            labels = [data.classes[label] for label in content.label[chosen]]
            small = draw_boxes(small, np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]), labels, palette=colours)
        elif hasattr(content, "labels"):
            title = f"{data.classes[content.labels[place]]}: {name}"
        else:
            values = Image.fromarray(content.numbers(data.source.root / content.pairs[place][1]))
            table = np.zeros((256, 3), np.uint8)
            table[: len(data.classes)] = [colours[each] for each in data.classes]
            labels = np.asarray(values.resize(small.size, Image.Resampling.NEAREST))
            small = draw_labels(np.asarray(small), labels, data.classes, table, ignore_index=255)
        yield small, title
