"""Predicting on pictures: the best classes with their scores, by a trained network or by an exported one."""

import json
import sys
from pathlib import Path

import numpy as np
import paddle
from tqdm import tqdm

from ...deploy.cards import read_card
from ...engines.opening import open_exported
from ...engines.program import PARAMETERS, open_program
from ...errors import UserError
from ...pictures.finding import find_images
from ...pictures.reading import read_image
from ...system.files import atomic_path, check_writable
from .data import input_size, network_input
from .evaluation import on_engine
from .weights import load_classifier

BATCH_SIZE = 32
#: what an engine reads of the files that `densebone export` writes, the best first
_FILES = {
    "auto": ("model.xml", "model.onnx", PARAMETERS),
    "openvino": ("model.xml", "model.onnx"),
    "onnxruntime": ("model.onnx",),
    "paddle": (PARAMETERS,),
}


def predict(job, paths, output, weights=None, top=5, engine=None):
    """Predicts on pictures with a trained network and writes OUTPUT/predictions.json.

    Args:
        job: from `classification.config.load`.
        paths (list of str): files, folders (searched through), or glob patterns.
        output (str | Path): folder to write to.
        weights (str | None): as in `classification.weights.load_classifier`.
        top (int): how many classes are named for each picture, the best first.
        engine (dict | None): options of `engines.open_network`, which is then to run the network.

    Returns:
        dict: pictures (list of {file_name, width, height, top: list of {class (number), name, score (0..1)}}), skipped
        (list of (path, reason)), file (predictions.json, which holds the pictures).

    Raises:
        UserError: no picture is found or none can be read; output cannot be written to; weights do not fit; top.
    """
    found = _look(paths, output, top, job.num_classes)
    trained = load_classifier(job, weights)
    model = trained.model if engine is None else on_engine(trained, engine)

    def forward(images):
        with paddle.no_grad():
            return model(paddle.to_tensor(images)).numpy()

    return _predict(forward, found, output, trained.preprocessing, trained.classes, top)


def predict_exported(folder, paths, output, top=5, engine=None):
    """As `predict`, with a model that `densebone export` wrote and nothing but its card.

    Args:
        folder (str | Path): holds the model and model_card.json.
        paths, output, top: see `predict`.
        engine (dict | None): engine, precision and threads as in `engines.open_exported`, where "auto" takes the first
            of OpenVINO's, ONNX and Paddle's files that is there; None runs Paddle's, without oneDNN.

    Raises:
        UserError: as `predict`; the folder holds no exported classifier, or none for the engine.
    """
    card = read_card(folder)
    if card["classes"] is None:
        raise UserError(f"{folder} holds {card['name']}, which is no classifier; its card names no classes")
    program = _program(Path(folder), engine)
    found = _look(paths, output, top, len(card["classes"]))
    batch_size = None if card["input_shape"][0] == -1 else card["input_shape"][0]
    if batch_size not in (None, 1):
        raise UserError(f"{folder} takes batches of {batch_size} pictures; export it for any number, or for one")
    return _predict(
        lambda images: program(images)[0], found, output, card["preprocessing"], card["classes"], top, batch_size
    )


def _program(folder, options):
    """An exported model as a function: images -> list of outputs."""
    if options is None:
        if not (folder / PARAMETERS).is_file():
            raise UserError(
                f"{folder} holds no exported model ({PARAMETERS} is missing); export it again, or run what it holds "
                f"with --engine auto"
            )
        return open_program(folder)
    name = options["engine"]
    if name not in _FILES:
        raise UserError(f"engine is {name!r}, which runs no exported model; give one of {', '.join(_FILES)}")
    files = [folder / file for file in _FILES[name]]
    there = [file for file in files if file.exists()]
    if not there:
        raise UserError(f"{folder} holds none of {', '.join(_FILES[name])}, which the engine {name!r} reads")
    file = folder if there[0].name == PARAMETERS else there[0]
    engine = open_exported(file, None if name == "auto" else name, options["precision"], options["threads"])
    print(f"engine: {engine.description}", file=sys.stderr)
    return engine.run


def _look(paths, output, top, classes):
    """The pictures, once what can be wrong with the arguments was looked at."""
    if type(top) is not int or top < 1:
        raise UserError(f"top is {top!r}; give how many classes are to be named, from 1 to {classes}")
    found = find_images(paths)
    check_writable(output)
    return found


def _predict(forward, paths, output, preprocessing, classes, top, batch_size=None):
    pictures, skipped = [], []
    batch_size = batch_size or (BATCH_SIZE if input_size(preprocessing) else 1)
    for batch in _batches(tqdm(paths, desc="predicting", unit="picture"), batch_size, preprocessing, skipped):
        logits = forward(np.stack([image for _, _, image in batch]))
        if logits.shape[1:] != (len(classes),) or not np.isfinite(logits).all():
            raise UserError(
                f"the network returns {list(logits.shape)} values, not all finite, or not one for each of the "
                f"{len(classes)} classes; these weights cannot be used"
            )
        for (path, size, _), row in zip(batch, best(logits, classes, top)):
            pictures.append({"file_name": str(path), "width": size[1], "height": size[0], "top": row})
    if not pictures:
        raise UserError(f"none of the {len(skipped)} pictures can be read ({skipped[0][0]}: {skipped[0][1]})")
    file = Path(output) / "predictions.json"
    with atomic_path(file) as temporary:
        rows = ",\n".join(json.dumps(picture, ensure_ascii=False) for picture in pictures)
        temporary.write_text(f"[\n{rows}\n]\n", encoding="utf-8")
    return {"pictures": pictures, "skipped": skipped, "file": str(file)}


def _batches(paths, batch_size, preprocessing, skipped):
    """Yields lists of (path, (height, width), input); what cannot be read goes to `skipped` as (path, reason)."""
    batch = []
    for path in paths:
        try:
            image = read_image(path, min_side=1)
            batch.append((path, image.shape[:2], network_input(image, preprocessing)))
        except UserError as error:
            skipped.append((path, str(error).removeprefix(f"{path}: ")))
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def best(logits, classes, top):
    """The classes with the largest logits, and the softmax of these.

    Args:
        logits (array): (N, number of classes).
        classes (list of str): their names.
        top (int): how many, at most all.

    Returns:
        list of N lists of {class (number), name, score (0..1)}, the best first; of equal ones the lower number.
    """
    logits = logits.astype(np.float64)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    scores = powers / powers.sum(1, keepdims=True)
    order = np.argsort(-logits, axis=1, kind="stable")[:, :top]
    return [
        [{"class": int(number), "name": classes[number], "score": float(row[number])} for number in numbers]
        for numbers, row in zip(order, scores)
    ]
