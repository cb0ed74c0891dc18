"""Networks of any library as ONNX files: one to count on, and for each engine the one that it runs."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..engines.agreement import check_outputs
from ..engines.conversion import fold_onnx
from ..errors import UserError
from . import published
from .building import ANSWER, EXPECTED, RAW, random_pictures
from .counting import Counts, count
from .published import Accuracy
from .subjects import FILE, OURS, Subject

#: allowed difference from what the library computed, in standard deviations of the output; random weights in float32
TOLERANCE = 3e-3
LIMIT = 900  # seconds for one network
_BUILD = """
import sys
sys.path[:] = [folder for folder in sys.path if folder]  # not the current folder, which may hold files of any name
from densebone.comparison.building import main
main(sys.argv[1])
"""


class NotExported(Exception):
    """A network that cannot be compared; the message says why."""


@dataclass(frozen=True)
class Exported:
    """A network as files.

    Attributes:
        subject: what it is.
        counts: what a picture costs.
        accuracy: what is published of it; None when nothing is known here.
        files: {engine: the .onnx file that it runs}.
        checked: whether ONNX Runtime computes what the network's library does. False for a file, and for random weights
            that give no finite numbers.
    """

    subject: Subject
    counts: Counts
    accuracy: Accuracy | None
    files: dict[str, Path]
    checked: bool


def export(
    subject: Subject, folder: Path, size: tuple[int, int], batch: int, engines: Sequence[str], verbose: bool = False
) -> Exported:
    """Writes a network as ONNX into an empty folder, counts it and compares it with what its library computes.

    Args:
        subject: the network.
        folder: exists, and receives the files.
        size: (height, width) of the pictures in pixels.
        batch: pictures at once.
        engines: for which files are written.
        verbose: shows what the libraries print.

    Raises:
        UserError: the library has no such network, or it does not take these options; the file does not fit.
        NotExported: the network cannot be built or converted, or its file computes something else.
    """
    if subject.source == FILE:
        shutil.copyfile(subject.network, folder / RAW)
        answer: dict[str, Any] = {}
    else:
        answer = _build(subject, folder, [batch, 3, *size], engines, verbose)
    try:
        counts = count(folder / RAW, size, batch)
    except UserError as error:
        message = str(error).removeprefix(f"{folder / RAW} ")
        if subject.source == FILE:
            raise UserError(f"{subject.network} {message}") from error
        raise NotExported(f"its ONNX file {message}") from error
    folded = folder / "folded.onnx"
    try:
        fold_onnx(folder / RAW, folded)
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise NotExported(f"ONNX Runtime cannot read it: {_short(error)}") from error
    files = {engine: folder / f"{engine}.onnx" for engine in engines}
    files = {engine: path if path.is_file() else folded for engine, path in files.items()}
    checked = subject.source != FILE and all(_agrees(path, folder, [batch, 3, *size]) for path in {*files.values()})
    return Exported(subject, counts, _accuracy(subject, answer), files, checked)


def _build(subject, folder, shape, engines, verbose):
    """Runs `building` in a process of its own; returns its answer."""
    order = {"subject": asdict(subject), "folder": str(folder), "shape": shape, "engines": list(engines)}
    streams = None if verbose else subprocess.PIPE
    command = [sys.executable, "-c", _BUILD, json.dumps(order)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=streams,
            stderr=streams,
            text=True,
            errors="replace",
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired as error:
        raise NotExported(f"building and converting it took more than {LIMIT} s") from error
    if not (folder / ANSWER).is_file():
        lines = [line.strip() for line in (done.stderr or "").splitlines() if line.strip()]
        raise NotExported(
            _short(lines[-1] if lines else f"the process that builds it ended with status {done.returncode}")
        )
    answer = json.loads((folder / ANSWER).read_text())
    if "error" in answer:
        raise UserError(answer["error"])
    return answer


def _agrees(path, folder, shape):
    """Whether ONNX Runtime's outputs were compared; NotExported when they differ, False when they are not finite."""
    import onnxruntime

    stored = np.load(folder / EXPECTED)
    expected = [stored[name] for name in stored.files]
    if not all(np.isfinite(one).all() for one in expected):
        return False
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: random_pictures(shape)})
    try:
        apart = check_outputs(expected, found, math.inf)
    except RuntimeError as error:
        raise NotExported("its ONNX file returns other shapes than the network, or no finite numbers") from error
    if apart > TOLERANCE:
        raise NotExported(f"its ONNX file computes something else, by {apart:.1e} of the output's standard deviation")
    return True


def _accuracy(subject, answer):
    """What is published of a network's accuracy; of one with options, only what is published with these options."""
    if subject.source == OURS:  # a backbone is the classifier without its head
        return None if {*subject.options} - {"features_only"} else published.of_ours(subject.network)
    if "accuracy" in answer and not subject.options:
        given = answer["accuracy"]
        return Accuracy(given["value"], given["metric"], given["source"], tuple(given["size"]))
    return published.of_others(subject.name if subject.options else answer.get("weights", subject.name))


def _short(message):
    return str(message).strip().partition("\n")[0][:300]
