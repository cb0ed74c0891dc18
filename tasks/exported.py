"""Predicting with an exported detector or segmentation model: from its folder alone, without a toolkit."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import cityscapes
from ..errors import UserError
from ..pictures import resizing
from ..pictures.drawing import class_colours
from ..runtime import Boxes, Model
from ..runtime.model import read_card
from ..runtime.sessions import ENGINES, PRECISIONS
from ..system.processors import available_cpus
from ..system.timings import stage
from .detection import finding as detection
from .detection.results import BoxWriter
from .detection.results import describe as describe_boxes
from .extras import Extras
from .prediction import MANY, Run, Work, begin
from .segmentation import finding as segmentation
from .segmentation.results import LabelWriter
from .segmentation.results import describe as describe_labels

#: decides what `densebone predict --model` does with a folder
TASKS = ("detection", "segmentation")


def predict(
    folder: str | Path,
    paths: Iterable[str],
    output: str | Path,
    engine: Mapping[str, Any] | None = None,
    threshold: float = 0.5,
    opacity: float = 0.5,
    drawing: str | None = "jpg",
    extras: Extras | None = None,
    hands: Work | None = None,
) -> dict[str, Any]:
    """As the task's own `predict`, with a model that `densebone export` wrote and nothing but its card.

    Args:
        folder: holds the model and model_card.json.
        paths, output, drawing, extras, hands: see `detection.prediction.predict`.
        engine: engine, precision and threads; "auto" and None take the fastest file that is there.
        threshold: of the boxes that are drawn; predictions.json has all.
        opacity: of the colours of a segmentation model.

    Returns:
        images, skipped, file, output, and boxes (drawn) of a detector or labels (folder) of a segmentation model.

    Raises:
        UserError: no card, or one of another model; files that are not those of the card; no file for the engine; no
            usable picture; threshold or opacity out of range.
    """
    for name, value in (("threshold", threshold), ("opacity", opacity)):
        if not 0 <= value <= 1:
            raise UserError(f"{name} is {value}; it must be from 0 to 1")
    run = begin(paths, output, drawing, extras, str(read_card(Path(folder)).get("task")), hands)
    count = 2 * available_cpus() if run.videos else len(run.pictures)
    if hands:
        model, find, threads = Model(folder, session=False), None, 0
    else:
        find, model, threads = open_exported(Path(folder), engine, count)
    run.know(model=[str(folder), model.card], settings=[threshold, opacity], engine=engine)
    if model.task == "detection":
        ids, writer = range(1, len(run.pictures) + 1), _box_writer(model, threshold)
        return detection.find_all(find and boxes_of(find), run, ids, writer, threads)
    return segmentation.find_all(find and labels_of(find), run, _labels(model, opacity), threads)


def open_work(
    folder: str | Path,
    output: str | Path,
    engine: Mapping[str, Any] | None = None,
    threshold: float = 0.5,
    opacity: float = 0.5,
    drawing: str | None = "jpg",
    extras: Extras | None = None,
    sample: Path | None = None,
) -> Work:
    """What `predict` does with each picture, for a worker; arguments as there, `sample` is not needed."""
    find, model, threads = open_exported(Path(folder), engine, MANY)
    run = Run([], [], Path(output), drawing, extras or Extras())
    if model.task == "detection":
        return detection.work_of(boxes_of(find), run, _box_writer(model, threshold), threads)
    return segmentation.work_of(labels_of(find), run, _labels(model, opacity), threads)


def _box_writer(model, threshold):
    classes = model.classes or []
    return BoxWriter(classes, model.card.get("category_ids") or list(range(1, len(classes) + 1)), threshold)


def _labels(model, opacity):
    classes = model.classes or []
    return segmentation.Labels(LabelWriter(classes, _table(classes), opacity))


def boxes_of(find: Callable[[np.ndarray], Boxes]) -> Callable[[np.ndarray], np.ndarray]:
    """A function that returns `Boxes`, as one that returns boxes (M, 6): class, score, left, top, right, bottom."""

    def found(image: np.ndarray) -> np.ndarray:
        boxes = find(image)
        return np.column_stack([boxes.labels, boxes.scores, boxes.boxes])

    return found


def labels_of(find: Callable[[np.ndarray], Any]) -> Callable[..., np.ndarray]:
    """A function that returns `Pixels` or labels, as one that returns labels, uint8 (H, W), wherever a tile lies."""

    def found(image: np.ndarray, *_place: Any) -> np.ndarray:
        pixels = find(image)
        return np.asarray(getattr(pixels, "labels", pixels)).astype(np.uint8)

    return found


def describe(result: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of a result of `predict`."""
    return (describe_boxes if "boxes" in result else describe_labels)(result)


def open_exported(
    folder: Path, options: Mapping[str, Any] | None, pictures: int = 1
) -> tuple[Callable[[np.ndarray], Any], Model, int]:
    """An exported model on the engine that the options name.

    Args:
        folder: holds the model and its card.
        options: engine, precision and threads.
        pictures: how many there are.

    Returns:
        (a function: uint8 (H, W, 3) in RGB -> what is found, the model, how many threads may call the function)
    """
    options = dict(options or {})
    name, threads = options.get("engine"), options.get("threads")
    has_others = any((folder / file).is_file() for files in ENGINES.values() for file in files)
    precision = options.get("precision", "fp32")
    if precision not in PRECISIONS or (precision != "fp32" and name == "paddle"):
        raise UserError(
            f"precision is {precision!r}; exported detectors and segmentation models run in {' or '.join(PRECISIONS)}, "
            f"on Paddle in fp32 alone"
        )
    if name == "paddle" or (name in (None, "auto") and not has_others):
        model = Model(folder, session=False)
        return _on_paddle(folder, model), model, available_cpus()
    if name not in (None, "auto", *ENGINES):
        raise UserError(
            f"engine is {name!r}, which runs no exported model; give one of auto, paddle, {', '.join(ENGINES)}"
        )
    streams = min(threads or available_cpus(), pictures)
    resizing.prefer_opencv()
    model = Model(folder, None if name == "auto" else name, threads, threshold=0, streams=streams, precision=precision)
    print(f"engine: {model.description}", file=sys.stderr)
    return model, model, streams


def _on_paddle(folder, model):
    from ..deploy.cards import check_files  # these need Paddle, and the other engines do not
    from ..engines.formats import PARAMETERS, program_file
    from ..engines.program import open_program

    if not (folder / PARAMETERS).is_file():
        raise UserError(f"{folder} holds no exported model ({PARAMETERS} is missing); export it again")
    check_files(folder, model.card, [program_file(folder).name, PARAMETERS])
    program, turn = open_program(folder), threading.Lock()

    def run(inputs):
        with turn, stage("network"):
            return program(inputs)

    def find(image):
        ready, size = model.prepare(image)
        if model.task == "segmentation":
            labels = run(ready.image[None])[0][0]
            labels = labels[: round(ready.shape[0]), : round(ready.shape[1])]
            return resizing.resize(labels[..., None], size, "nearest")[..., 0]
        scale, shape = np.array([ready.scale], np.float32), np.array([ready.shape], np.float32)
        outputs = run({"image": ready.image[None], "scale_factor": scale, "im_shape": shape})
        rows = next(out for out in outputs if out.ndim == 2 and out.shape[-1] == 6)
        rows = rows[rows[:, 0] >= 0]
        rows = rows[np.argsort(-rows[:, 1], kind="stable")]
        labels = rows[:, 0].astype(np.int64)
        return Boxes(rows[:, 2:], rows[:, 1], labels, [model.classes[label] for label in labels])

    return find


def _table(names):
    """The colours of a segmentation model's classes, uint8 (256, 3)."""
    table = np.zeros((256, 3), np.uint8)
    if tuple(names) == cityscapes.CLASS_NAMES:
        table[: len(names)] = cityscapes.PALETTE
    elif len(names) <= 256:
        table[: len(names)] = list(class_colours(names).values())
    return table
