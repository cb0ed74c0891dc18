"""A segmentation model that is a function of a picture, on pictures and on frames of videos. Needs no toolkit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...pictures.finding import check_free, output_names
from ...pictures.video import Frame
from .. import prediction
from ..journal import Journal
from ..prediction import Entry, Picture, Run, Work, none_usable
from ..tiling import find_labels_in_tiles
from ..videos import FrameWork, frame_file, predict_videos
from .results import LabelWriter, save_labels

LABELS, SUBMISSION = "labels", "submission"
#: uint8 (H, W, 3) in RGB -> uint8 (H, W)
Find = Callable[[np.ndarray], np.ndarray]


@dataclass
class Labels:
    """How the labels of a picture are written.

    Attributes:
        writer: draws, and makes rows.
        save: (labels, place below OUTPUT) -> writes the label pictures. None writes class numbers.
        submission: whether `save` writes one for Cityscapes' server too.
    """

    writer: LabelWriter
    save: Callable[[np.ndarray, Path], None] | None = None
    submission: bool = False


def places_of(run: Run) -> list[Path]:
    """Where below the output each picture's files go. A folder called "labels" or "submission" gets an underscore."""
    if not run.pictures:
        return []
    places = [_free(name.relative_to(run.output)) for name in output_names(run.pictures, run.output, run.ending)]
    check_free((run.output / LABELS / place.with_suffix(".png") for place in places), run.pictures)
    return places


def _free(place):
    return Path(f"{place.parts[0]}_", *place.parts[1:]) if place.parts[0] in (LABELS, SUBMISSION) else place


def work_of(find: Find, run: Run, labels: Labels, threads: int) -> Work:
    """What finds and writes the classes of pictures, several at a time; arguments as of `find_all`."""
    find = run.extras.over_tiles(find, find_labels_in_tiles)
    return prediction.work_of(
        run, lambda picture, image: finish(run, labels, picture, image, find(np.asarray(image))), threads
    )


def find_all(find: Find | None, run: Run, labels: Labels, threads: int) -> dict[str, Any]:
    """Finds, draws and writes the classes of a run's pictures and videos, several at a time.

    Args:
        find: called by all the threads; None where the run has hands.
        run: what to do.
        labels: how they are written.
        threads: how many.

    Returns:
        As `segmentation.prediction.predict`.
    """
    places = places_of(run)
    work = find and work_of(find, run, labels, threads)
    return end(find, run, labels, threads, write_rows(lambda rows: run.entries(rows, work, places), run, labels))


def finish(run: Run, labels: Labels, picture: Picture, image: Image.Image, found: np.ndarray) -> Entry:
    """Draws and writes the labels of a picture; returns what `Journal.add` takes."""
    if run.drawing:
        labels.writer.draw(image, found, run.output / picture.place)
    _save(run, labels, found, picture.place.with_suffix(".png"))
    return picture.number, [labels.writer.row(picture.path, found)], 0


def _save(run, labels, found, place):
    if labels.save is None:
        save_labels(found, labels.writer.colours, run.output / LABELS / place)
    else:
        labels.save(found, place)


def write_rows(found: Callable[[Journal], Iterable[list[Entry]]], run: Run, labels: Labels) -> dict[str, Any]:
    """Writes OUTPUT/predictions.json while pictures are predicted on.

    Args:
        found: journal -> what its `add` takes.
        run: what to do.
        labels: how they are written.

    Returns:
        The pictures' part of what `segmentation.prediction.predict` returns.

    Raises:
        UserError: no picture is left.
    """
    folders: dict[str, Any] = {
        "labels": str(run.output / LABELS),
        "submission": str(run.output / SUBMISSION) if labels.submission else None,
    }
    if not run.pictures:
        return run.result(**folders)
    with run.journal() as rows:
        for entries in found(rows):
            rows.add(entries)
        if not rows.images:
            raise none_usable(run.skipped, "used")
        rows.finish()
        return run.result(rows.images, **folders)


def end(find: Find | None, run: Run, labels: Labels, threads: int, result: dict[str, Any]) -> dict[str, Any]:
    """Predicts on the run's videos, and completes the result."""
    if run.videos and find:
        find = run.extras.over_tiles(find, find_labels_in_tiles)
        result["videos"] = predict_videos(run, _frame_work(find, run, labels, threads))
        if not result["images"] and not result["videos"]:
            raise none_usable(run.skipped, "used")
    run.end()
    return result


def _frame_work(find, run, labels, threads):
    writer = labels.writer

    def place_of(frame, place):
        return frame_file(_free(place.relative_to(run.output)), frame.number, ".png")

    def work(frame: Frame, place: Path) -> dict[str, Any]:
        found = find(frame.image)
        _save(run, Labels(writer), found, place_of(frame, place))
        row = writer.row(place, found)
        return {key: row[key] for key in ("width", "height", "classes")}

    def draw(frame: Frame, found: Mapping[str, Any], place: Path) -> np.ndarray:
        with Image.open(run.output / LABELS / place_of(frame, place)) as picture:
            return np.asarray(writer.drawn(frame.image, np.asarray(picture), every=True))

    return FrameWork(work, draw, lambda found: 0, threads)
