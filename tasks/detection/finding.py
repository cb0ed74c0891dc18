"""A detector that is a function of a picture, on pictures and on frames of videos. Needs no toolkit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...pictures.finding import output_names
from ...pictures.video import Frame
from .. import prediction
from ..journal import Journal
from ..prediction import Entry, Picture, Run, Work, none_usable
from ..tiling import find_boxes_in_tiles
from ..videos import FrameWork, frame_file, predict_videos
from .annotating import annotate
from .results import BoxWriter

#: uint8 (H, W, 3) in RGB -> boxes (M, 6): class, score, left, top, right, bottom
Find = Callable[[np.ndarray], np.ndarray]


def work_of(find: Find, run: Run, writer: BoxWriter, threads: int) -> Work:
    """What finds and draws the boxes of pictures, several at a time; arguments as of `find_all`."""
    find = run.extras.over_tiles(find, find_boxes_in_tiles)
    return prediction.work_of(
        run, lambda picture, image: finish(writer, run, picture, image, find(np.asarray(image))), threads
    )


def find_all(find: Find | None, run: Run, image_ids: Sequence[Any], writer: BoxWriter, threads: int) -> dict[str, Any]:
    """Finds, draws and writes the boxes of a run's pictures and videos, several at a time.

    Args:
        find: called by all the threads; None where the run has hands.
        run: what to do.
        image_ids: of the pictures, for predictions.json.
        writer: of rows and drawings.
        threads: how many.

    Returns:
        As `detection.prediction.predict`.
    """
    result = run.result(boxes=0)
    if run.pictures:
        work = find and work_of(find, run, writer, threads)
        with run.journal() as rows:
            result = write_boxes(run.entries(rows, work, places_of(run), image_ids), run, rows)
    return end(find, run, writer, threads, result)


def places_of(run: Run) -> list[Path]:
    """Where below the output each picture's files go."""
    return [name.relative_to(run.output) for name in output_names(run.pictures, run.output, run.ending)]


def finish(writer: BoxWriter, run: Run, picture: Picture, image: Image.Image, boxes: np.ndarray) -> Entry:
    """Draws a picture's boxes, and cuts out what is in them, as the run wants it; returns what `Journal.add` takes."""
    place = run.output / picture.place
    if run.extras.save_crops:
        writer.save_crops(image, boxes, run.output, place)
    count = writer.draw(image, boxes, place) if run.drawing else writer.count(boxes)
    return picture.number, writer.rows(picture.image_id, picture.path, boxes), count


def write_boxes(found: Iterable[list[Entry]], run: Run, rows: Journal) -> dict[str, Any]:
    """Writes OUTPUT/predictions.json while pictures are predicted on.

    Args:
        found: what `Journal.add` takes.
        run: what to do.
        rows: its journal.

    Returns:
        The pictures' part of what `detection.prediction.predict` returns.

    Raises:
        UserError: no picture is left.
    """
    for entries in found:
        rows.add(entries)
    if not rows.images:
        raise none_usable(run.skipped, "read")
    rows.finish()
    return run.result(rows.images, boxes=rows.counted)


def end(find: Find | None, run: Run, writer: BoxWriter, threads: int, result: dict[str, Any]) -> dict[str, Any]:
    """Predicts on the run's videos, writes annotations where they are wanted, and completes the result."""
    if run.videos and find:
        find = run.extras.over_tiles(find, find_boxes_in_tiles)
        result["videos"] = predict_videos(run, _frame_work(find, run, writer, threads))
        if not result["images"] and not result["videos"]:
            raise none_usable(run.skipped, "used")
    if run.extras.save_as:
        result["annotations"] = annotate(run, result, writer)
    run.end()
    return result


def _frame_work(find, run, writer, threads):
    def work(frame: Frame, place: Path) -> dict[str, Any]:
        boxes = find(frame.image)
        if run.extras.save_crops:
            name = frame_file(place, frame.number, ".jpg")
            writer.save_crops(Image.fromarray(frame.image), boxes, run.output, name)
        height, width = frame.image.shape[:2]
        return {"width": width, "height": height, "boxes": writer.objects(boxes)}

    def draw(frame: Frame, found: Mapping[str, Any], place: Path) -> np.ndarray:
        return np.asarray(writer.drawn(frame.image, writer.boxes(found["boxes"])))

    def count(found: Mapping[str, Any]) -> int:
        return sum(one["score"] >= writer.threshold for one in found["boxes"])

    return FrameWork(work, draw, count, threads)
