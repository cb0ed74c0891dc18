"""Predicting with an exported detector or segmentation model: from its folder alone, without a toolkit."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import cityscapes
from ..errors import UserError
from ..pictures import resizing
from ..pictures.drawing import class_colours
from ..pictures.finding import check_free, output_names
from ..pictures.reading import read_picture
from ..runtime import Boxes, Model
from ..runtime.sessions import ENGINES, PRECISIONS
from ..system.processors import available_cpus
from ..system.timings import stage
from .detection.results import BoxWriter, write_boxes
from .detection.results import describe as describe_boxes
from .prediction import Skipped, check_drawing, in_threads, none_usable, pictures_to_predict, prediction_file
from .segmentation.results import LabelWriter, save_labels
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
) -> dict[str, Any]:
    """As the task's own `predict`, with a model that `densebone export` wrote and nothing but its card.

    Args:
        folder: holds the model and model_card.json.
        paths, output, drawing: see `detection.prediction.predict`.
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
    check_drawing(drawing)
    pictures = pictures_to_predict(paths, output)
    find, model, threads = open_exported(Path(folder), engine, len(pictures))
    classes = model.classes or []
    if model.task == "detection":
        numbers = model.card.get("category_ids") or list(range(1, len(classes) + 1))
        boxes = BoxWriter(classes, numbers, threshold)
        return find_boxes(find, pictures, range(1, len(pictures) + 1), boxes, output, drawing, threads)
    labels = LabelWriter(classes, _table(classes), opacity)
    return _find_labels(find, pictures, labels, output, drawing, threads)


def find_boxes(
    find: Callable[[np.ndarray], Boxes],
    pictures: Sequence[Path],
    image_ids: Sequence[int],
    writer: BoxWriter,
    output: str | Path,
    drawing: str | None,
    threads: int,
) -> dict[str, Any]:
    """Finds, draws and writes the boxes of pictures, each in one of several threads.

    Args:
        find: uint8 (H, W, 3) in RGB -> boxes; called by all the threads.
        pictures, image_ids: the files, and their ids for predictions.json.
        writer: of rows and drawings.
        output, drawing: see `detection.prediction.predict`.
        threads: how many.

    Returns:
        images, skipped, boxes, file and output, as `detection.prediction.predict`.
    """
    places = output_names(pictures, output, f".{drawing or 'png'}")
    skipped: list[Skipped] = []

    def work(number):
        with stage("decode"):
            picture = read_picture(pictures[number])
        found = find(np.asarray(picture))
        boxes = np.column_stack([found.labels, found.scores, found.boxes])
        drawn = writer.draw(picture, boxes, places[number]) if drawing else writer.count(boxes)
        return writer.rows(image_ids[number], pictures[number], boxes), drawn

    found = in_threads(work, range(len(pictures)), len(pictures), threads, pictures.__getitem__, skipped)
    return write_boxes(found, skipped, output, drawing)


def _find_labels(find, pictures, writer, output, drawing, threads):
    """The same for a segmentation model."""
    output = Path(output)
    places = output_names(pictures, output, f".{drawing or 'png'}")
    labels_of = [output / "labels" / place.relative_to(output).with_suffix(".png") for place in places]
    check_free(labels_of, pictures)
    skipped: list[Skipped] = []

    def work(number):
        with stage("decode"):
            picture = read_picture(pictures[number])
        found = find(np.asarray(picture))
        labels = np.asarray(getattr(found, "labels", found)).astype(np.uint8)
        if drawing:
            writer.draw(picture, labels, places[number])
        save_labels(labels, writer.colours, labels_of[number])
        return writer.row(pictures[number], labels)

    file = output / "predictions.json"
    with prediction_file(file) as rows:
        for row in in_threads(work, range(len(pictures)), len(pictures), threads, pictures.__getitem__, skipped):
            rows.add(row)
        if not rows.rows:
            raise none_usable(skipped, "used")
    return {
        "images": rows.rows, "skipped": skipped, "file": str(file), "output": str(output),
        "labels": str(output / "labels"), "submission": None,
    }  # fmt: skip


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
