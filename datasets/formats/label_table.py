"""A CSV table with a picture and its class in each line."""

from __future__ import annotations

import csv
from pathlib import PurePosixPath

from ...errors import UserError
from ...pictures.listed import find_listed
from ..report import Report, few
from .class_folders import Labelled
from .listing import Format, Listing, Source, part_of_file, part_of_word
from .table import columns_by_name, rows_of_table


def recognise(listing: Listing) -> Source | None:
    """Takes CSV files whose header names a picture and a class, and no box."""
    found = {}
    for name in listing.of(".csv", ".tsv"):
        try:
            rows = [row for row in rows_of_table(listing.root / name) if any(row)]
        except (UserError, csv.Error):
            continue
        columns = columns_by_name(rows[0]) if rows else {}
        if {"picture", "class"} <= set(columns) and not {"left", "x"} & set(columns):
            found[name] = columns
    if not found:
        return None
    return Source("labels", "classification", listing.root, ", ".join(found), len(found), found)


def read(source: Source, report: Report) -> dict[str, Labelled]:
    """The pictures of each part; the part is what a column "split" says, else the name of the file.

    Raises:
        UserError: a line without a picture or a class; none of the pictures is there.
    """
    rows: dict[str, dict[str, str]] = {}
    for name, columns in source.details.items():
        whole = part_of_file(name) if len(source.details) > 1 else ""
        for line, row in enumerate(rows_of_table(source.root / name), 1):
            if line == 1 or not any(row):
                continue
            row += [""] * (max(columns.values()) + 1 - len(row))
            picture, kind = row[columns["picture"]].replace("\\", "/"), " ".join(row[columns["class"]].split())
            if not picture or not kind:
                raise UserError(f"{source.root / name}, line {line} is {row}; a picture and its class are expected")
            part = part_of_word(row[columns["part"]]) if "part" in columns else whole
            rows.setdefault(part, {})[picture] = kind
    classes = sorted({kind for part in rows.values() for kind in part.values()})
    return {part: _found(source, pictures, classes, report) for part, pictures in rows.items()}


def _found(source, pictures, classes, report):
    paths, _ = find_listed(list(pictures), [source.root])
    missing = [name for name, path in zip(pictures, paths) if path is None]
    if len(missing) == len(pictures):
        where = few(list(source.details))
        raise UserError(f"{source.root}: none of the {len(missing)} pictures of {where} is there ({few(missing, 3)})")
    report.drop(f"pictures that are not in {source.root} and are left out", missing)
    pairs = sorted(
        (PurePosixPath(path.relative_to(source.root)).as_posix(), classes.index(kind))
        for path, kind in zip(paths, pictures.values()) if path is not None
    )  # fmt: skip
    return Labelled([name for name, _ in pairs], [label for _, label in pairs], classes)


FORMAT = Format("labels", "CSV of classes", "classification", recognise, read)
