"""labelme's files: a JSON for each picture, with shapes that are rectangles, polygons or circles."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from ...errors import UserError
from ..annotations import Annotations
from ..report import Report
from .building import Builder, box_of_points, number
from .listing import Format, Listing, Source, one_part_each, part_of_folder
from .writing import Output

_CORNERS_OF_A_CIRCLE = 32


class _Shape(msgspec.Struct, gc=False):
    label: Any = None
    points: Any = None
    shape_type: Any = "polygon"
    flags: Any = None


class _Sheet(msgspec.Struct, gc=False):
    shapes: list[_Shape]
    imagePath: Any = None
    imageWidth: Any = None
    imageHeight: Any = None


def recognise(listing: Listing) -> Source | None:
    """Takes JSON files with `shapes` and `imagePath`."""
    found = [name for name in listing.of(".json") if _is_sheet(listing.root / name)]
    if not found:
        return None
    evidence = f"{len(found)} JSON files with shapes"
    return Source(
        "labelme",
        "detection",
        listing.root,
        evidence,
        len(found),
        (one_part_each(found, part_of_folder), listing.pictures),
    )


def _is_sheet(file):
    try:
        data = file.read_bytes()
    except OSError:
        return False
    return b'"shapes"' in data and b'"imagePath"' in data


def read(source: Source, report: Report) -> dict[str, Annotations]:
    """Reads the JSON files. A picture without one is not labelled yet and left out.

    Raises:
        UserError: a file that is not JSON, or a shape without a name or points.
    """
    parts, listed = source.details
    result: dict[str, Annotations] = {}
    passed: dict[str, list[str]] = {}
    used: set[str] = set()
    for part, names in parts.items():
        builder = Builder(str(source.root))
        for name in names:
            file = source.root / name
            try:
                sheet = msgspec.json.decode(file.read_bytes(), type=_Sheet)
            except (msgspec.DecodeError, OSError, RecursionError) as error:
                report.fault(f"{file} is no file of labelme ({error}); mend or remove it")
                continue
            picture = _picture_name(name, sheet.imagePath, listed)
            used.add(picture)
            place = builder.add_picture(picture, *(_side(side) for side in (sheet.imageWidth, sheet.imageHeight)))
            for index, shape in enumerate(sheet.shapes, 1):
                try:
                    _add_shape(builder, place, shape, file, index, passed)
                except UserError as error:
                    report.fault(str(error))
        result[part] = builder.build()
    for kind, examples in passed.items():
        report.drop(f"shapes of the type {kind}, which has no area, left out", examples)
    report.note("pictures without a JSON file, not labelled yet and left out", [p for p in listed if p not in used])
    return result


def _side(value):
    found = number(value)
    return found if found > 0 else None


def _picture_name(name, given, listed):
    """The picture of a JSON file, relative to the data set: as it says, else the one of the same stem beside it."""
    folder = PurePosixPath(name).parent
    written = str(given or "").replace("\\", "/")
    below = os.path.normpath(folder / written) if written else ""
    known = set(listed)
    if below in known:
        return below
    stem = (folder / PurePosixPath(name).stem).as_posix()
    beside = [p for p in listed if os.path.splitext(p)[0] == stem]
    return beside[0] if len(beside) == 1 else written or stem


def _add_shape(builder, place, shape, file, index, passed):
    points, kind = shape.points, shape.shape_type or "polygon"
    what = f"shape {index} of {file.name}"
    if not isinstance(shape.label, str) or not shape.label.strip():
        raise UserError(f"{file}: shape {index} has the label {shape.label!r}; the name of a class is expected")
    if kind in ("point", "line", "linestrip", "points"):
        passed.setdefault(kind, []).append(what)
        return
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise UserError(f"{file}: shape {index} has no points; [[x, y], ...] in pixels is expected")
    flat = [number(value) for point in points for value in point]
    label = builder.add_class(" ".join(shape.label.split()))
    if kind == "circle" and len(points) == 2:
        flat = _circle(*flat)
    if len(flat) < 4:
        builder.add(place, label, [math.nan] * 4, what)
    elif kind in ("rectangle", "mask") or len(flat) == 4:
        builder.add(place, label, box_of_points(flat), what)
    else:
        builder.add(place, label, box_of_points(flat), what, [flat])


def _circle(x, y, edge_x, edge_y):
    radius = math.hypot(edge_x - x, edge_y - y)
    turns = [2 * math.pi * i / _CORNERS_OF_A_CIRCLE for i in range(_CORNERS_OF_A_CIRCLE)]
    return [value for turn in turns for value in (x + radius * math.cos(turn), y + radius * math.sin(turn))]


def write(parts: Mapping[str, Annotations], output: Output) -> None:
    """Writes PART/NAME.json beside each picture; a mask of several polygons becomes several shapes."""
    for part, found in parts.items():
        for picture, boxes in output.by_picture(found):
            name = output.picture(picture, part)
            file = (
                f"{PurePosixPath(name).with_suffix('.json')}"
                if output.pictures != "none"
                else str(PurePosixPath(part, *PurePosixPath(picture.name).parts).with_suffix(".json"))
            )
            path = PurePosixPath(name).name if output.pictures != "none" else name
            shapes = [shape for box in boxes for shape in _shapes(found, box)]
            sheet: dict[str, Any] = {
                "version": "5.0.1", "flags": {}, "shapes": shapes, "imagePath": path, "imageData": None,
                "imageHeight": int(picture.height or 0), "imageWidth": int(picture.width or 0),
            }  # fmt: skip
            output.text(file, json.dumps(sheet, indent=1, ensure_ascii=False))


def _shapes(found, index):
    mask = found.masks[index] if found.masks is not None else None
    common = {"label": found.classes[found.label[index]], "group_id": None, "flags": {}}
    if isinstance(mask, list):
        for polygon in mask:
            yield {**common, "points": [list(p) for p in zip(polygon[0::2], polygon[1::2])], "shape_type": "polygon"}
    else:
        left, top, width, height = found.boxes[index].tolist()
        yield {**common, "points": [[left, top], [left + width, top + height]], "shape_type": "rectangle"}


FORMAT = Format("labelme", "labelme", "detection", recognise, read, write, ("masks",))
