"""CSV tables of boxes, a line for each: the picture, the class, and the corners or left, top, width and height.

Columns are known by their names (TensorFlow's xmin, ymin, xmax, ymax, and many others), or, without a header, as
PATH,X1,Y1,X2,Y2,CLASS. A line with a picture alone has no box.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from ...errors import UserError
from ...pictures.finding import is_picture_name
from ...pictures.reading import read_header
from ..annotations import Annotations
from ..lists import read_text
from ..report import Report
from .building import Builder, number
from .listing import Format, Listing, Source, part_of_file, part_of_word
from .writing import Output

_COLUMNS = {
    "picture": (
        "filename", "file_name", "file", "image", "image_path", "image_name", "imagename", "path", "filepath", "img",
        "image_id", "picture",
    ),
    "class": ("class", "label", "category", "name", "class_name", "label_name", "object"),
    "left": ("xmin", "x_min", "x1", "left", "bbox_xmin", "xtl"),
    "top": ("ymin", "y_min", "y1", "top", "bbox_ymin", "ytl"),
    "right": ("xmax", "x_max", "x2", "right", "bbox_xmax", "xbr"),
    "bottom": ("ymax", "y_max", "y2", "bottom", "bbox_ymax", "ybr"),
    "x": ("x", "bbox_x", "left", "xmin", "x_min"),
    "y": ("y", "bbox_y", "top", "ymin", "y_min"),
    "w": ("w", "bbox_width", "bbox_w", "box_width", "width"),
    "h": ("h", "bbox_height", "bbox_h", "box_height", "height"),
    "part": ("split", "set", "subset", "part", "usage"),
}  # fmt: skip
_CORNERS, _SIDES = ("left", "top", "right", "bottom"), ("x", "y", "w", "h")
_PLAIN = ("picture", "left", "top", "right", "bottom", "class")


def recognise(listing: Listing) -> Source | None:
    """Takes CSV files with columns for picture, class and box."""
    found = {name: columns for name in listing.of(".csv", ".tsv") if (columns := _columns_of(listing.root / name))}
    if not found:
        return None
    evidence = ", ".join(found)
    return Source("csv", "detection", listing.root, evidence, len(found), (found, listing.pictures))


def rows_of_table(file: str | Path) -> list[list[str]]:
    """The rows of a CSV file; tabs and semicolons part columns too. UserError when it is no text."""
    text = read_text(Path(file))
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    return [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=separator)]


def columns_by_name(header: list[str]) -> dict[str, int]:
    """{what a column holds: its number} of the names in a header that are known, such as "picture" and "class"."""
    names = [cell.casefold().replace(" ", "_") for cell in header]
    return {what: names.index(name) for what, known in _COLUMNS.items() for name in reversed(known) if name in names}


def _columns_of(file):
    """{what: number of its column}, and whether a header holds them; None for another table."""
    try:
        rows = rows_of_table(file)
    except (UserError, csv.Error):
        return None
    rows = [row for row in rows if any(row)]
    if not rows:
        return None
    found = columns_by_name(rows[0])
    if {"picture", "class"} <= set(found):
        if all(key in found for key in _CORNERS):
            return {
                key: found[key] for key in ("picture", "class", *_CORNERS, *(["part"] if "part" in found else []))
            }, True
        if all(key in found for key in _SIDES):
            return {
                key: found[key] for key in ("picture", "class", *_SIDES, *(["part"] if "part" in found else []))
            }, True
    boxes = [row for row in rows[:20] if len(row) == len(_PLAIN)]
    fits = [is_picture_name(PurePosixPath(row[0].replace("\\", "/")).name) and (not any(row[1:5]) or
            all(math.isfinite(number(cell)) for cell in row[1:5])) for row in boxes]  # fmt: skip
    return ({key: place for place, key in enumerate(_PLAIN)}, False) if boxes and all(fits) else None


def read(source: Source, report: Report) -> dict[str, Annotations]:
    """Reads the tables. A picture that no line names is left out.

    Raises:
        UserError: a line without the name of a picture or of a class.
    """
    tables, listed = source.details
    builders: dict[str, Builder] = {}
    places: dict[tuple[str, str], int] = {}
    shares = _holds_shares(source, tables)
    files, by_name = {name: name for name in listed}, {PurePosixPath(name).name: name for name in listed}
    for name, (columns, header) in tables.items():
        whole = part_of_file(name) if len(tables) > 1 else ""
        for line, row in enumerate(rows_of_table(source.root / name), 1):
            if (header and line == 1) or not any(row):
                continue
            row += [""] * (max(columns.values()) + 1 - len(row))
            picture, kind = row[columns["picture"]].replace("\\", "/"), " ".join(row[columns["class"]].split())
            if not picture:
                report.fault(f"{source.root / name}, line {line} names no picture; mend it")
                continue
            part = part_of_word(row[columns["part"]]) if "part" in columns else whole
            builder = builders.setdefault(part, Builder(str(source.root)))
            if (part, picture) not in places:
                places[part, picture] = builder.add_picture(picture)
            cells = [row[columns[key]] for key in (_CORNERS if "left" in columns else _SIDES)]
            if not kind and not any(cells):
                continue
            if not kind:
                report.fault(f"{source.root / name}, line {line} has a box of {picture} and no class; name one")
                continue
            box = _box([number(cell) for cell in cells], "left" in columns)
            if shares:
                file = files.get(picture) or by_name.get(PurePosixPath(picture).name, picture)
                box = _in_pixels(box, source.root / file)
            builder.add(
                places[part, picture], builder.add_class(kind), box, f"line {line} of {PurePosixPath(name).name}"
            )
    if "" in builders and len(builders) > 1:
        raise UserError(
            f"{source.root}: some lines say train, val or test, and others do not; say it in all or in none"
        )
    if shares:
        report.note(
            "boxes in shares of the pictures' sides, which are made pixels",
            count=sum(len(b.rows) for b in builders.values()),
        )
    named = {picture for _, picture in places}
    report.note(
        "pictures that no line names, left out",
        [p for p in listed if p not in named and PurePosixPath(p).name not in named],
    )
    classes = sorted({name for builder in builders.values() for name in builder.classes})
    return {part: _with_classes(builder, classes) for part, builder in builders.items()}


def _holds_shares(source, tables):
    """Whether all boxes lie within 0..1."""
    highest, count = 0.0, 0
    for name, (columns, header) in tables.items():
        for row in rows_of_table(source.root / name)[header:]:
            cells = [
                number(row[columns[key]]) for key in (*_CORNERS, *_SIDES) if key in columns and columns[key] < len(row)
            ]
            values = [value for value in cells if math.isfinite(value)]
            if values:
                highest, count = max(highest, *values), count + 1
    return count > 0 and 0 < highest <= 1


def _box(values, corners):
    left, top, right, bottom = values
    return [left, top, right - left, bottom - top] if corners else values


def _in_pixels(box, path):
    try:
        width, height = read_header(path).shown
    except UserError:
        return [math.nan] * 4
    return [box[0] * width, box[1] * height, box[2] * width, box[3] * height]


def _with_classes(builder, classes):
    """The annotations with the classes of all parts, in one order."""
    found = builder.build()
    found.label = found.label if not len(found) else _renumbered(found, classes)
    found.classes, found.category_ids = list(classes), list(range(1, len(classes) + 1))
    return found


def _renumbered(found, classes):
    return np.array([classes.index(name) for name in found.classes])[found.label]


def write(parts: Mapping[str, Annotations], output: Output) -> None:
    """Writes annotations.csv with the columns filename, class, xmin, ymin, xmax, ymax, split."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["filename", "class", "xmin", "ymin", "xmax", "ymax", "split"])
    for part, found in parts.items():
        for picture, boxes in output.by_picture(found):
            name = output.picture(picture, part)
            for box in boxes:
                left, top, width, height = found.boxes[box]
                corners = [f"{value:.8g}" for value in (left, top, left + width, top + height)]
                table.writerow([name, found.classes[found.label[box]], *corners, part])
            if not len(boxes):
                table.writerow([name, "", "", "", "", "", part])
    output.text("annotations.csv", stream.getvalue())


FORMAT = Format("csv", "CSV", "detection", recognise, read, write)
