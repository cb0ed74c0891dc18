"""Data sets of boxes from one format into another, and label pictures or polygons into index PNGs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageDraw

from ..errors import UserError
from ..system.files import atomic_path
from .annotations import Annotations
from .formats import FORMATS
from .formats.writing import Output
from .own import DataSet
from .report import Report

#: the formats that are written
TARGETS = (*(name for name, form in FORMATS.items() if form.write), "masks")


def convert(data: DataSet, target: str, folder: Path, pictures: str = "link", polygons: bool = True) -> None:
    """Writes a data set in another format.

    Args:
        data: the user's data set.
        target: one of `TARGETS`. "masks" writes label pictures whose values are class numbers: from coloured ones, or
            from polygons and boxes, the smaller object over the larger, with 0 for what no object covers.
        folder: new or empty.
        pictures: as `formats.writing.Output` takes it.
        polygons: False writes boxes where polygons could be written.

    Raises:
        UserError: the data cannot be written in this format; a folder that is not empty.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder} is not empty; give a new folder with -O")
    output = Output(folder, pictures)
    if target == "masks":
        _write_masks(data, output)
        return
    if data.task != "detection":
        raise UserError(
            f"{data.source.root} has {data.task} data; into {target} go boxes alone; --to masks is for label pictures"
        )
    parts = {part: content if polygons else replace(content, masks=None) for part, content in data.parts.items()}
    write(parts, target, output)


def write(parts: Mapping[str, Annotations], target: str, output: Output) -> None:
    """Writes boxes in a format; see `convert`.

    Args:
        parts: part -> its annotations; "" where they are not divided.
        target: one of `TARGETS`, but for "masks".
        output: the folder.
    """
    form = FORMATS[target].write
    assert form is not None
    form(parts, output)


def losses(data: DataSet, target: str, polygons: bool = True) -> Report:
    """What the target format cannot hold of a data set; arguments as `convert`."""
    report = Report(f"{data.source.root} as {target}")
    if data.task == "detection" and target != "masks":
        parts = {part: content if polygons else replace(content, masks=None) for part, content in data.parts.items()}
        _report_losses(parts, FORMATS[target].holds, FORMATS[target].title, report)
    return report


def _report_losses(parts: Mapping[str, Annotations], holds, title, report):
    for part, found in parts.items():
        crowds, difficult = np.flatnonzero(found.crowd), np.flatnonzero(found.difficult)
        if "crowd" not in holds:
            report.drop(
                f"crowds of {part}, which {title} cannot hold and which become objects", map(found.what, crowds)
            )
        if "difficult" not in holds:
            report.drop(f"flags 'difficult' of {part}, which {title} cannot hold", map(found.what, difficult))
        masks = [i for i, mask in enumerate(found.masks or ()) if mask is not None]
        if "masks" not in holds:
            report.drop(f"masks of {part}, which {title} cannot hold; their boxes are written", map(found.what, masks))
        else:
            kinds = found.masks or []
            packed = [i for i in masks if isinstance(kinds[i], dict)] if title != "COCO" else []
            report.drop(
                f"masks of {part} in RLE, which {title} cannot hold; their boxes are written", map(found.what, packed)
            )


def _write_masks(data, output):
    if data.task == "classification":
        raise UserError(f"{data.source.root} has a class for each picture; there is nothing to make label pictures of")
    names = list(data.classes)
    if data.task == "detection":
        names = ["background", *names]
    for part, content in data.parts.items():
        rows = []
        for name, values in _labels_of(data, content):
            stem = PurePosixPath(part, *[p for p in PurePosixPath(name).parts if p not in ("/", "..")]).with_suffix(
                ".png"
            )
            label = PurePosixPath("masks", stem)
            with atomic_path(output.folder / label) as temporary:
                Image.fromarray(values).save(temporary, format="PNG")
            source = (data.source.root / name).resolve()
            picture = PurePosixPath("images", part, *[p for p in PurePosixPath(name).parts if p not in ("/", "..")])
            rows.append(f"{_put(source, picture, output)}\t{label}\n")
        output.text(f"{part}.txt", "".join(rows))
    output.text("classes.txt", "".join(f"{name}\n" for name in names))


def _put(source, name, output):
    if output.pictures == "none":
        return source
    target = output.folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if output.pictures == "link":
        target.symlink_to(source)
    else:
        target.write_bytes(source.read_bytes())
    return name


def _labels_of(data, content):
    """(name of the picture, its label picture as class numbers)."""
    if not isinstance(content, Annotations):
        for picture, label in content.pairs:
            yield picture, content.numbers(data.source.root / label)
        return
    order = np.argsort(-content.area)
    for place, picture in enumerate(content.pictures):
        drawn = Image.new("L", (int(picture.width), int(picture.height)), 0)
        pen = ImageDraw.Draw(drawn)
        for index in order[content.picture[order] == place]:
            _draw(pen, content, index)
        yield picture.name, np.asarray(drawn)


def _draw(pen, content, index):
    value, mask = int(content.label[index]) + 1, content.masks[index] if content.masks is not None else None
    if isinstance(mask, list):
        for polygon in mask:
            pen.polygon([float(v) for v in polygon], fill=value)
    elif mask is None:
        left, top, width, height = content.boxes[index]
        pen.rectangle([left, top, left + width - 1, top + height - 1], fill=value)
    else:
        from pycocotools import mask as rle

        packed = rle.frPyObjects(mask, *mask["size"]) if isinstance(mask["counts"], list) else mask
        pen.bitmap((0, 0), Image.fromarray(rle.decode(packed) * 255), fill=value)
