"""Predicting on pictures: the best classes with their scores, by a trained network or by an exported one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from PIL import Image

from ...deploy.cards import check_files, read_card
from ...engines import open_exported
from ...engines.formats import PARAMETERS, exported_model, format_of, program_file
from ...engines.program import open_program
from ...errors import UserError
from ...pictures.drawing import draw_lines
from ...pictures.finding import find_inputs
from ...pictures.reading import read_picture
from ...pictures.video import Frame
from ...system.files import check_writable
from ...system.memory import keep_freed
from ...system.processors import available_cpus
from ...system.timings import stage
from ..evaluation import on_engine
from ..extras import Extras
from ..journal import stamp_of
from ..prediction import Rows, Run, Work, check_pictures, in_threads, none_usable
from ..videos import FrameWork, describe_videos, predict_videos
from .data import network_input
from .job import Job
from .weights import find_trained, load_trained

BATCH_SIZE = 32


def predict(
    job: Job,
    paths: Iterable[str],
    output: str | Path,
    weights: str | Path | None = None,
    engine: Mapping[str, Any] | None = None,
    top: int = 5,
    drawing: str | None = "jpg",
    extras: Extras | None = None,
    hands: Work | None = None,
) -> dict[str, Any]:
    """Predicts on pictures and videos with a trained network and writes OUTPUT/predictions.json.

    Of a video it writes NAME.jsonl, with file_name, frame, time (s), width, height and top of each frame, and NAME.mp4,
    with the classes written on the frames.

    Args:
        job: from `classification.config.load`.
        paths: files, folders (with their sub-folders) and glob patterns.
        output: folder to write to.
        weights: as in `classification.weights.load_trained`.
        engine: options of `engines.open_network`; the network then runs on that engine.
        top: how many classes are named for each picture, the best first.
        drawing: None draws no videos. Pictures are not drawn.
        extras, hands: as in `detection.prediction.predict`.

    Returns:
        pictures (sequence of {file_name, width, height, top: list of {class (number), name, score (0..1)}}, read from
        the file), images (their number), skipped (list of (path, reason)), file (predictions.json), videos (see
        `videos.predict_videos`).

    Raises:
        UserError: no picture is found or none can be read; output cannot be written to; weights do not fit; top.
    """
    run, path = _begin(paths, output, top, job.num_classes, drawing, extras, hands), find_trained(job, weights)
    run.know(model=[str(path), stamp_of(path)], settings=job, engine=engine, top=top)
    return _predict(None if hands else _trained(job, weights, engine, top), run)


def open_work(
    job: Job,
    output: str | Path,
    weights: str | Path | None = None,
    engine: Mapping[str, Any] | None = None,
    top: int = 5,
    drawing: str | None = None,
    extras: Extras | None = None,
    sample: Path | None = None,
) -> Work:
    """What `predict` does with pictures, for a worker; arguments as there. It writes no files."""
    find_trained(job, weights)
    return _work_of(_trained(job, weights, engine, top))


def _trained(job, weights, engine, top):
    trained = load_trained(job, weights)
    model = trained.model
    if engine is not None:
        recipe = trained.preprocessing
        model = on_engine(model, engine, recipe.input_size, single=True, preprocessing=recipe)

    def forward(images):
        with paddle.no_grad():
            return model(paddle.to_tensor(images)).numpy()

    return _Classifier(forward, trained.preprocessing, trained.classes, top)


@dataclass
class _Classifier:
    """A network with what is to be known of it: float32 (N, 3, H, W) -> logits (N, classes)."""

    forward: Callable[[np.ndarray], np.ndarray]
    preprocessing: Any
    classes: Sequence[str]
    top: int
    batch_size: int | None = None

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[dict[str, Any]]]:
        """The best classes of some prepared pictures."""
        with stage("network"):
            logits = self.forward(np.stack(images))
        if logits.shape[1:] != (len(self.classes),) or not np.isfinite(logits).all():
            raise UserError(
                f"the network returns {list(logits.shape)} values, not all finite, or not one for each of the "
                f"{len(self.classes)} classes; these weights cannot be used"
            )
        return best(logits, self.classes, self.top)


def predict_exported(
    folder: str | Path,
    paths: Iterable[str],
    output: str | Path,
    engine: Mapping[str, Any] | None = None,
    top: int = 5,
    drawing: str | None = "jpg",
    extras: Extras | None = None,
    hands: Work | None = None,
) -> dict[str, Any]:
    """As `predict`, with a model that `densebone export` wrote and nothing but its card.

    Args:
        folder: holds the model and model_card.json.
        paths, output, top, drawing, extras, hands: see `predict`.
        engine: engine, precision and threads as in `engines.open_exported`. "auto" takes the first of OpenVINO's, ONNX
            and Paddle's files that is there. None runs Paddle's file without oneDNN.

    Raises:
        UserError: as `predict`; the folder holds no exported classifier, or none for the engine.
    """
    card = read_card(folder)
    if card["classes"] is None:
        raise UserError(f"{folder} holds {card['name']}, which is no classifier; its card names no classes")
    found = None if hands else _exported(folder, engine, card, top)
    run = _begin(paths, output, top, len(card["classes"]), drawing, extras, hands)
    run.know(model=[str(folder), card], engine=engine, top=top)
    return _predict(found, run)


def open_exported_work(
    folder: str | Path,
    output: str | Path,
    engine: Mapping[str, Any] | None = None,
    top: int = 5,
    drawing: str | None = None,
    extras: Extras | None = None,
    sample: Path | None = None,
) -> Work:
    """As `open_work`, with a model that `densebone export` wrote."""
    return _work_of(_exported(folder, engine, read_card(folder), top))


def _exported(folder, engine, card, top):
    program = _program(Path(folder), engine, card)
    batch_size = None if card["input_shape"][0] == -1 else card["input_shape"][0]
    if batch_size not in (None, 1):
        raise UserError(f"{folder} takes batches of {batch_size} pictures; export it for any number, or for one")
    return _Classifier(lambda images: program(images)[0], card["preprocessing"], card["classes"], top, batch_size)


def describe(result: Mapping[str, Any]) -> Iterator[str]:
    """The lines that the command prints of a result of `predict`."""
    for picture in result["pictures"]:
        yield picture["file_name"]
        for row in picture["top"]:
            yield f"  {100 * row['score']:6.2f} %  {row['name']}"
    if result["images"]:
        yield f"{result['images']} pictures, in {result['file']}"
    yield from describe_videos(result["videos"])


def _program(
    folder: Path, options: Mapping[str, Any] | None, card: Mapping[str, Any]
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """An exported model as a function: images -> list of outputs. Its files must be those that the card lists."""
    if options is None:
        if not (folder / PARAMETERS).is_file():
            raise UserError(
                f"{folder} holds no exported model ({PARAMETERS} is missing); export it again, or run what it holds "
                f"with --engine auto"
            )
        check_files(folder, card, [program_file(folder).name, PARAMETERS])
        return open_program(folder)
    name = options["engine"]
    model = exported_model(folder, name)
    files = list(format_of(model).files)
    if options["precision"] == "int8":
        model, files = model.with_name(_small(model.name)), [_small(file) for file in files]
        if not model.is_file():
            raise UserError(f"{folder} holds no {model.name}; export with --format onnx --int8 FOLDER")
    check_files(folder, card, files)
    engine = open_exported(model, None if name == "auto" else name, options["precision"], options["threads"])
    print(f"engine: {engine.description}", file=sys.stderr)
    return engine.run


def _small(file):
    """The name of the 8-bit file beside a float32 one."""
    return file.replace("model", "model_int8", 1)


def _begin(paths, output, top, classes, drawing, extras, hands=None):
    """The run, after a check of the arguments."""
    if type(top) is not int or top < 1:
        raise UserError(f"top is {top!r}; give how many classes are to be named, from 1 to {classes}")
    extras = extras or Extras()
    extras.check("classification")
    run = Run(*find_inputs(paths), Path(output), drawing, extras, hands=hands)
    check_pictures(run)
    check_writable(output)
    keep_freed()
    return run


def _predict(find, run):
    """`find` is a `_Classifier`, or None where the run has hands."""
    result = run.result(pictures=[])
    if run.pictures:
        with run.journal() as rows:
            for entries in run.entries(rows, find and _work_of(find), run.pictures):
                rows.add(entries)
            if not rows.images:
                raise none_usable(run.skipped, "read")
            rows.finish()
            result = run.result(rows.images, pictures=Rows(rows.file, rows.images))
    if run.videos and find:
        result["videos"] = predict_videos(run, _frame_work(find, find.preprocessing))
        if not result["images"] and not result["videos"]:
            raise none_usable(run.skipped, "read")
    run.end()
    return result


def _work_of(find):
    def work(pictures, total, skipped, done):
        for batch in _batches(find, pictures, total, skipped, done):
            tops = find([image for _, _, image in batch])
            yield [_entry(picture, size, top) for (picture, size, _), top in zip(batch, tops)]

    return work


def _entry(picture, size, top):
    found = {"file_name": str(picture.path), "width": size[1], "height": size[0], "top": top}
    return picture.number, [found], 0


def _frame_work(find, preprocessing):
    turn = threading.Lock()

    def work(frame: Frame, place: Path) -> dict[str, Any]:
        with stage("prepare"):
            image = network_input(Image.fromarray(frame.image), preprocessing)
        height, width = frame.image.shape[:2]
        with turn:
            return {"width": width, "height": height, "top": find([image])[0]}

    def draw(frame: Frame, found: Mapping[str, Any], place: Path) -> np.ndarray:
        lines = [f"{row['name']} {row['score']:.2f}" for row in found["top"]]
        return np.asarray(draw_lines(frame.image, lines))

    return FrameWork(work, draw, lambda found: 0, 2)


def _batches(find, pictures, total, skipped, done):
    """Yields lists of (picture, (height, width), input). Unreadable pictures go to `skipped`."""
    batch = []
    batch_size = find.batch_size or (BATCH_SIZE if find.preprocessing.input_size else 1)

    def prepared(picture):
        with stage("decode"):
            image = read_picture(picture.path, min_side=1)
        with stage("prepare"):
            return picture, image.size[::-1], network_input(image, find.preprocessing)

    threads = min(4, available_cpus())
    for one in in_threads(prepared, pictures, total, threads, lambda picture: picture.path, skipped, done):
        batch.append(one)
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def best(logits: np.ndarray, classes: Sequence[str], top: int) -> list[list[dict[str, Any]]]:
    """The classes with the largest logits and their softmax scores.

    Args:
        logits: (N, number of classes).
        classes: their names.
        top: how many, at most all.

    Returns:
        N lists of {class (number), name, score (0..1)}, the best first. Of equal ones the lower number comes first.
    """
    logits = logits.astype(np.float64)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    scores = powers / powers.sum(1, keepdims=True)
    order = np.argsort(-logits, axis=1, kind="stable")[:, :top]
    return [
        [{"class": int(number), "name": classes[number], "score": float(row[number])} for number in numbers]
        for numbers, row in zip(order, scores)
    ]
