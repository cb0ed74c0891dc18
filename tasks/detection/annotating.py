"""Predictions as annotations of a data set: a start for who labels the next pictures. Needs no toolkit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.annotations import Annotations, Picture
from ...datasets.conversion import write
from ...datasets.formats.writing import Output
from ...pictures.finding import EXTENSIONS, output_names
from ...pictures.reading import read_header
from ...system.folders import new_folder
from ..prediction import Rows, Run
from ..videos import frame_file, frames_folder
from .results import BoxWriter

#: names of folders that mean something in a format
_MEANING = ("images", "labels", "JPEGImages", "Annotations", "train", "val", "test", "all")


def annotate(run: Run, result: Mapping[str, Any], writer: BoxWriter) -> str:
    """Writes the boxes of a run that have the score as OUTPUT/FORMAT, with links to the pictures.

    Args:
        run: its extras name the format.
        result: of the pictures and videos; its files are read.
        writer: knows classes and threshold.

    Returns:
        The folder.
    """
    skipped = {path for path, _ in run.skipped}
    pictures = [path for path in run.pictures if path not in skipped]
    target = run.output / str(run.extras.save_as)
    wanted = [path.relative_to(target) for path in output_names(pictures, target, "")] if pictures else []
    found: dict[Path, tuple[Path, list[Mapping[str, Any]]]]
    found = {path: (name, []) for path, name in zip(pictures, wanted)}
    if result["images"]:
        for row in Rows(result["file"], 0):
            if row["score"] >= writer.threshold:
                found[Path(row["file_name"])][1].append(row)
    for path, boxes in _frames(result["videos"], writer.threshold):
        found[path] = path.relative_to(run.output).with_suffix(""), boxes
    with new_folder(target) as folder:
        write({"": _annotations(found, writer, target)}, str(run.extras.save_as), Output(folder))
    return str(target)


def _frames(videos, threshold) -> Iterator[tuple[Path, list[Mapping[str, Any]]]]:
    """(the file of a frame, its boxes) of all videos."""
    for one in videos:
        folder = frames_folder(Path(one["file"]).with_suffix(""))
        with open(one["file"], encoding="utf-8") as stream:
            for line in stream:
                row = json.loads(line)
                boxes = [one for one in row["boxes"] if one["score"] >= threshold]
                yield frame_file(folder, row["frame"], ".jpg"), boxes


def _annotations(found, writer, source):
    names = _names(found)
    pictures, rows = [], []
    for place, (path, (_, boxes)) in enumerate(found.items()):
        width, height = read_header(path, limited=False).shown
        pictures.append(Picture(place + 1, names[place], width, height, path))
        rows += [(place, writer.names.index(one["category"]), *one["bbox"]) for one in boxes]
    table = np.array(rows, np.float64).reshape(-1, 6)
    table = _inside(table, pictures)
    count = len(table)
    return Annotations(
        str(source), pictures, writer.names, writer.numbers,
        table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:], table[:, 4] * table[:, 5],
        np.zeros(count, bool), np.zeros(count, bool), np.array([f"box {n}" for n in range(1, count + 1)], object),
    )  # fmt: skip


def _inside(table, pictures):
    """Boxes cut to their pictures; those that leave no pixel are left out."""
    sides = np.array([(p.width, p.height) for p in pictures], np.float64).reshape(-1, 2)[table[:, 0].astype(int)]
    low = np.clip(table[:, 2:4], 0, sides)
    high = np.clip(table[:, 2:4] + table[:, 4:6], 0, sides)
    result = np.concatenate([table[:, :2], low, high - low], 1)
    return result[(result[:, 4:] > 0).all(1)]


def _names(found):
    """A name for each picture in one folder, sub-folders spelled with underscores, each stem once."""
    taken: set[str] = set()
    names = []
    for path, (wish, _) in found.items():
        parts = [part for part in wish.parts if part not in _MEANING] or ["picture"]
        plain = "".join(c if c.isprintable() else "_" for c in "_".join(parts))
        stem = wanted = plain.lstrip(".") or "picture"
        number = 2
        while stem.casefold() in taken:
            stem, number = f"{wanted}-{number}", number + 1
        taken.add(stem.casefold())
        suffix = path.suffix if path.suffix.lower() in EXTENSIONS else ".png"  # readers go by it, decoders do not
        names.append(f"{stem}{suffix}")
    return names
