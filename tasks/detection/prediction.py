"""Predicting on pictures: boxes drawn on them, and a results file in COCO's format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ppdet.engine import Trainer

from ...errors import UserError
from ...pictures.finding import output_names
from ...pictures.reading import read_picture
from ...system.processors import available_cpus
from ...system.timings import stage
from ..exported import find_boxes
from ..prediction import Skipped, check_drawing, in_threads, pictures_to_predict
from .acceleration import on_engine
from .classes import all_categories
from .data import picture_ids
from .inference import detections
from .job import Job
from .kept import open_kept
from .results import BoxWriter, describe, write_boxes
from .weights import find_trained, load_trained

__all__ = ["describe", "predict"]


def predict(
    job: Job,
    paths: Iterable[str],
    output: str | Path,
    weights: str | Path | None = None,
    engine: Mapping[str, Any] | None = None,
    threshold: float = 0.5,
    drawing: str | None = "jpg",
) -> dict[str, Any]:
    """Predicts on pictures; writes OUTPUT/NAME.jpg for each and OUTPUT/predictions.json with all boxes.

    Args:
        job: from `detection.config.load`.
        paths: files, folders (with their sub-folders) and glob patterns.
        output: folder to write to.
        weights: as in `detection.weights.load_trained`.
        engine: options of `engines.open_network`. The detector runs there as one file where it can be one, each picture
            in one of several threads; else as much of it as possible.
        threshold: boxes with a lower score are not drawn. predictions.json holds all that the detector returns.
        drawing: "jpg" or "png", the kind of the drawn pictures; None draws none.

    Returns:
        images (how many were predicted on), skipped (list of (path, reason)), boxes (how many were drawn, or would be),
        file (predictions.json), output (the folder), drawing.

    Raises:
        UserError: no picture is found or none can be read; output cannot be written to; weights do not fit.
    """
    if not 0 <= threshold <= 1:
        raise UserError(f"threshold is {threshold}; it must be from 0 to 1")
    check_drawing(drawing)
    pictures = pictures_to_predict(paths, output)
    find_trained(job, weights)  # which knows the classes
    categories = all_categories(job)
    numbers, names = zip(*categories)
    ids, writer = picture_ids(job, pictures), BoxWriter(names, numbers, threshold)
    if engine is not None:
        streams = min(engine.get("threads") or available_cpus(), len(pictures))
        if kept := open_kept(job, weights, engine, pictures, streams, categories):
            return find_boxes(kept, pictures, ids, writer, output, drawing, streams)
    trainer = Trainer(job.cfg, mode="test")
    load_trained(job, weights, trainer.model)
    if engine is not None:
        on_engine(trainer.model, job.cfg, engine)
    targets = output_names(pictures, output, f".{drawing or 'png'}")
    skipped: list[Skipped] = []

    def finish(item):
        index, boxes = item
        with stage("decode to draw"):  # without a drawing too: OpenCV fills up what a truncated file lacks
            picture = read_picture(pictures[index])
        count = writer.draw(picture, boxes, targets[index]) if drawing else writer.count(boxes)
        return writer.rows(ids[index], pictures[index], boxes), count

    found = detections(trainer, pictures, skipped)
    drawn = in_threads(finish, found, len(pictures), 2, lambda item: pictures[item[0]], skipped)
    return write_boxes(drawn, skipped, output, drawing)
