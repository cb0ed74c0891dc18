"""Predicting on pictures and videos: boxes drawn on them, and a results file in COCO's format."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from PIL import Image
from ppdet.core.workspace import create
from ppdet.engine import Trainer

from ...errors import UserError
from ...pictures.finding import is_live
from ...pictures.video import first_frame
from ...system.processors import available_cpus
from ...system.timings import stage
from ..exported import boxes_of
from ..extras import Extras
from ..journal import stamp_of
from ..prediction import MANY, Picture, Run, Work, begin, in_threads
from .acceleration import on_engine
from .classes import all_categories
from .data import picture_ids
from .finding import end, find_all, finish, places_of, work_of, write_boxes
from .inference import detections, prepare_batch, split_batch
from .job import Job
from .kept import open_kept
from .results import BoxWriter, describe
from .weights import find_trained, load_trained

__all__ = ["describe", "open_work", "predict"]


def predict(
    job: Job,
    paths: Iterable[str],
    output: str | Path,
    weights: str | Path | None = None,
    engine: Mapping[str, Any] | None = None,
    threshold: float = 0.5,
    drawing: str | None = "jpg",
    extras: Extras | None = None,
    hands: Work | None = None,
) -> dict[str, Any]:
    """Predicts on pictures and videos, and writes, below `output`:

    - NAME.jpg for each picture, and predictions.json with all boxes;
    - NAME.mp4 for each video, and NAME.jsonl with a row for each frame: file_name, frame, time (s), width, height and
      boxes: list of {category_id, category, bbox [left, top, width, height], score}.

    A run that was killed left FILE.part; the same call goes on where it was.

    Args:
        job: from `detection.config.load`.
        paths: files, folders (with their sub-folders), glob patterns, and cameras such as "camera:0".
        output: folder to write to.
        weights: as in `detection.weights.load_trained`.
        engine: options of `engines.open_network`. The detector runs there as one file where it can be one, each picture
            in one of several threads; else as much of it as possible.
        threshold: boxes with a lower score are not drawn. predictions.json holds all that the detector returns.
        drawing: "jpg" or "png", the kind of the drawn pictures; None draws none, and no videos.
        extras: tiles, crops, annotations and the like.
        hands: predicts on the pictures elsewhere, as `open_work` makes it; None does it here.

    Returns:
        images (how many were predicted on), skipped (list of (path, reason)), boxes (how many were drawn, or would be),
        file (predictions.json; None without pictures), output (the folder), drawing, videos (see
        `videos.predict_videos`), annotations (their folder, where they are written).

    Raises:
        UserError: no picture is found or none can be read; output cannot be written to; weights do not fit.
    """
    if not 0 <= threshold <= 1:
        raise UserError(f"threshold is {threshold}; it must be from 0 to 1")
    run = begin(paths, output, drawing, extras, "detection", hands)
    path = find_trained(job, weights)  # which knows the classes
    categories = all_categories(job)
    ids, writer = picture_ids(job, run.pictures), _writer(categories, threshold)
    settings = {"engine": engine, "threshold": threshold, "ids": ids, **job.cfg}
    run.know(model=[str(path), stamp_of(path)], classes=categories, settings=settings)
    if hands:
        return find_all(None, run, ids, writer, 0)
    if engine is not None and (found := _open_kept(job, weights, engine, run, categories)):
        return find_all(boxes_of(found[0]), run, ids, writer, found[1])
    trainer = _open_trainer(job, weights, engine)
    find = _one_by_one(trainer)
    if run.extras.tile or not run.pictures:
        return find_all(find, run, ids, writer, 2)
    return end(find, run, writer, 2, _in_batches(trainer, run, ids, writer))


def open_work(
    job: Job,
    output: str | Path,
    weights: str | Path | None = None,
    engine: Mapping[str, Any] | None = None,
    threshold: float = 0.5,
    drawing: str | None = "jpg",
    extras: Extras | None = None,
    sample: Path | None = None,
) -> Work:
    """What `predict` does with each picture, for a worker; arguments as there.

    Args:
        sample: a picture that can be read, on which an engine's file is checked when it is made.
    """
    run = Run([sample] if sample else [], [], Path(output), drawing, extras or Extras())
    find_trained(job, weights)
    categories = all_categories(job)
    writer = _writer(categories, threshold)
    if engine is not None and sample and (found := _open_kept(job, weights, engine, run, categories, MANY)):
        return work_of(boxes_of(found[0]), run, writer, found[1])
    return work_of(_one_by_one(_open_trainer(job, weights, engine)), run, writer, 2)


def _writer(categories, threshold):
    numbers, names = zip(*categories)
    return BoxWriter(names, numbers, threshold)


def _open_trainer(job, weights, engine):
    trainer = Trainer(job.cfg, mode="test")
    load_trained(job, weights, trainer.model)
    if engine is not None:
        on_engine(trainer.model, job.cfg, engine)
    return trainer


def _open_kept(job, weights, engine, run, categories, count=0):
    """(the detector as one file on an engine, how many threads may call it), or None."""
    count = count or (2 * available_cpus() if run.videos else len(run.pictures))
    streams = min(engine.get("threads") or available_cpus(), count)
    with _samples(run) as samples:
        kept = open_kept(job, weights, engine, samples, streams, categories)
    return kept and (kept, streams)


def _in_batches(trainer, run, ids, writer):
    """The pictures of a run, in the batches of the TestReader."""
    places = places_of(run)

    def work(item):
        index, boxes = item
        with stage("decode to draw"):  # without a drawing too: OpenCV fills up what a truncated file lacks
            image = run.read(run.pictures[index])
        return [finish(writer, run, Picture(index, run.pictures[index], places[index], ids[index]), image, boxes)]

    with run.journal() as rows:
        found = ((n, boxes) for n, boxes in detections(trainer, run.pictures, run.skipped, rows) if n not in rows)
        left, path_of = len(run.pictures) - rows.images, lambda item: run.pictures[item[0]]
        return write_boxes(in_threads(work, found, left, 2, path_of, run.skipped, rows.images), run, rows)


def _one_by_one(trainer):
    """The detector as a function of a picture. Threads prepare, and the network takes turns."""
    reader, turn = create("TestReader"), threading.Lock()
    trainer.model.eval()

    def find(image: np.ndarray) -> np.ndarray:
        batch, faults = prepare_batch(reader, [image], [0])
        if batch is None:
            raise UserError(faults[0][1])
        with turn, paddle.no_grad(), stage("network and boxes"):
            ((_, boxes),) = split_batch(trainer.model(batch), batch)
        return boxes

    return find


@contextmanager
def _samples(run):
    """Pictures of the run, or else the first frame of a video as one."""
    if run.pictures or all(map(is_live, run.videos)):
        yield run.pictures
        return
    with tempfile.TemporaryDirectory() as folder:
        for source in run.videos:
            try:
                frame = Image.fromarray(first_frame(source))
            except UserError:
                continue
            frame.save(Path(folder, "frame.png"))
            break
        yield [Path(folder, "frame.png")]
