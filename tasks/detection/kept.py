"""A trained detector as one file on an engine, kept beside the exported networks, for `densebone predict --engine`.

The file is made once for these weights, this configuration and these versions, and must find what Paddle finds.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from ppdet.core.workspace import create

from ... import __version__
from ...deploy.cards import model_card, write_card
from ...engines.cache import broken, delete_oldest, export_lock, read_record, sealed
from ...engines.opening import missing
from ...errors import UserError
from ...pictures import resizing
from ...runtime import Model
from ...runtime.sessions import ENGINES
from ...system.files import atomic_path, check_writable, sha256_of
from ...system.folders import new_folder
from ...system.home import home
from .exporting import Different, input_of, nearest
from .inference import prepare_batch, split_batch
from .job import Job
from .weights import find_trained, load_trained
from .whole import write_onnx

#: what a file is made with
_PACKAGES = ("paddlepaddle", "paddledet", "paddle2onnx", "onnx")
#: share of the boxes that may have no like: rounding decides whether an overlap is above the limit
_LONELY = 0.02


def open_kept(
    job: Job,
    weights: str | Path | None,
    options: Mapping[str, Any],
    pictures: Sequence[Path],
    streams: int,
    categories: Sequence[tuple[Any, str]],
) -> Model | None:
    """The detector as one file on an engine; None where it cannot be one, or where Paddle is to run it.

    Args:
        job: from `detection.config.load`.
        weights: as in `detection.weights.load_trained`.
        options: of `engines.open_network`.
        pictures: on the first that can be read, the file must find what the detector finds when it is made.
        streams: how many threads will call the model at once.
        categories: (id, name) of every class.
    """
    name = options["engine"]
    engines = [engine for engine in ENGINES if name in ("auto", engine) and engine not in missing()]
    on_gpu = paddle.device.get_device().startswith("gpu")
    if not engines or options.get("precision", "fp32") != "fp32" or (on_gpu and name == "auto"):
        return None
    folder = home() / "engines"
    try:
        check_writable(folder)
    except UserError:
        return None
    resizing.prefer_opencv()  # as the TestReader resizes
    target = folder / f"{_key(job, find_trained(job, weights), categories)}-whole"
    with export_lock(target):
        if read_record(target.with_suffix(".json")).get("not whole"):
            return None
        reason = broken(target) if target.is_dir() else ""
        if reason is not None and not _write(job, weights, target, pictures, categories):
            return None
        os.utime(target)
    delete_oldest(folder)
    return Model(target, engines[0], options.get("threads"), threshold=0, check=False, streams=streams)


def _write(job, weights, target, pictures, categories):
    """Writes and checks the file; returns whether the detector can be one. Remembers when it cannot."""
    print("note: the detector is written as one file for the engine, once; this takes some seconds", file=sys.stderr)
    model = create(job.cfg.architecture)
    path = load_trained(job, weights, model).path
    model.eval()
    try:
        with new_folder(target) as folder, sealed(folder):
            _write_folder(job, model, path, folder, categories)
            _check(model, Model(folder, threshold=0), pictures)
    except Exception as error:  # a graph that cannot be traced or converted may raise anything
        reason = " ".join(str(error).split())[:200]
        with atomic_path(target.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps({"not whole": reason or type(error).__name__}))
        job.cfg["model"] = model  # reused, because PicoDet's neck becomes another network the second time in a process
        return False
    return True


def _write_folder(job, model, path, folder, categories):
    size, steps = input_of(job.cfg, model)
    if steps is None:
        raise UserError("the TestReader has transforms that no card can hold")
    write_onnx(copy.deepcopy(model), folder / "model.onnx", size)
    numbers, names = zip(*categories)
    shape = [-1, 3, *(size or (-1, -1))]
    architecture = job.cfg.architecture
    card = model_card(job.name, architecture, model, path, {"steps": steps}, shape, names, task="detection")
    write_card({**card, "category_ids": list(numbers)}, folder)


def _check(model, kept, pictures):
    """Raises Different when the file does not find what the detector finds on the first picture that can be read."""
    reader = create("TestReader")
    batch, picture = next((b, p) for p in pictures if (b := prepare_batch(reader, [p], [0])[0]) is not None)
    with paddle.no_grad():
        ((_, expected),) = split_batch(model(dict(batch)), batch)
    found = kept(picture)
    rows = np.column_stack([found.labels, found.scores, found.boxes])
    full = len(rows) >= len(expected)
    for some, others in ((expected, rows), (rows, expected)):
        lonely = sum(_is_lonely(some[place : place + 1], others, some[:, 1].min(), full) for place in range(len(some)))
        if lonely > max(1, _LONELY * len(some)):
            raise Different(f"{lonely} of {len(some)} boxes have no like")


def _is_lonely(row, others, lowest, full):
    if full and row[0, 1] <= lowest + 1e-3:
        return False
    try:
        nearest(row, others)
    except RuntimeError:
        return True
    return False


def _key(job, weights, categories):
    """What tells one file from another: weights, configuration, classes, versions and our own code."""
    settings = re.sub(r" at 0x[0-9a-f]+", "", json.dumps(dict(job.cfg), sort_keys=True, default=repr))
    facts = [sha256_of(weights), settings, categories, __version__, _code(), *map(_version, _PACKAGES)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


@cache
def _code():
    here = Path(__file__).parent
    files = [*here.glob("whole*.py"), here / "kept.py", *(here.parents[1] / "engines").glob("*.py")]
    return [sha256_of(file) for file in sorted(files)]


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout
        return ""
