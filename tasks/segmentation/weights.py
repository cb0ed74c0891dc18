"""Loading trained weights into a whole segmentation model, strictly, and checking what PaddleSeg's loader gets."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...datasets.report import few
from ...errors import UserError
from ...weights.catalog import find, is_url
from ...weights.layouts import one_framework
from ...weights.loader import load_weights
from ...weights.reader import read_arrays, read_pickle
from ..task import Trained
from ..weights import facts_of, find_weights
from .job import Job


def load_trained(job: Job, weights: str | Path | None = None, model: Any = None) -> Trained:
    """A segmentation model with trained weights.

    Weights made for BGR images are turned round, because PaddleSeg's images are RGB.

    Args:
        job: from `segmentation.config.load`.
        weights: as in `tasks.weights.find_weights`.
        model: the model to fill; None takes the job's.

    Raises:
        UserError: there is no such file, it is half written, it is of another model or number of classes, or it was
            trained on pictures that were normalised in another way.
    """
    model = job.builder.model if model is None else model
    path = find_trained(job, weights)
    try:
        report = load_weights(model, path, adapt_input="rgb")
        # A backbone may start training with some random tensors. A model that is used as it is must have all.
        if report.reinitialised or report.added or report.left_out or (report.adapted and not report.turned):
            raise UserError(f"weights do not fit: {report}")
        _check_normalisation(job, report)
    except UserError as error:
        other = _other_classes(model, path, job.num_classes)
        if other is None:
            raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
        key, classes = other
        raise UserError(
            f"{path} was trained with {classes} classes, and this configuration has num_classes {job.num_classes} (key "
            f"{key}); use the configuration that it was trained with"
        ) from None
    print(report, file=sys.stderr)
    return Trained(model, path)


def find_trained(job: Job, weights: str | Path | None = None) -> Path:
    """The weights file to use. The job learns which classes it was trained on, where training kept their names.

    Names that are none of the data's classes are passed over with a note: the labels' numbers count then.
    """
    from .data import own_class_names

    path = find_weights(job, weights)
    job.learn_classes(facts_of(path))
    own = own_class_names(job)
    if job.trained_classes and sorted(job.trained_classes) != sorted(own):
        print(
            f"note: {path} was trained on the classes {few(job.trained_classes)}, and {job.path} names {few(own)}; the "
            f"numbers of the labels count",
            file=sys.stderr,
        )
        job.trained_classes = None
    return path


# Layout of published weights -> the catalog entry that says how their pictures were prepared.
_PUBLISHED = {"FC-HarDNet": "fchardnet70.official", "PaddleSeg HarDNet": "fchardnet70.paddleseg"}


def _check_normalisation(job, report):
    """Raises UserError when val_dataset does not normalise pictures as the published weights need it."""
    if report.layout not in _PUBLISHED:
        return
    wanted = find(_PUBLISHED[report.layout]).preprocessing
    order = -1 if wanted.channels == "bgr" else 1
    steps = [step for step in job.dic["val_dataset"].get("transforms") or () if step["type"] == "Normalize"]
    given = steps[-1] if steps else {}
    for key in ("mean", "std"):
        values = list(getattr(wanted, key))[::order]
        theirs = given.get(key, [0.5])
        theirs = list(theirs) * (3 // len(theirs))
        if not steps or any(abs(a - b) > 1e-6 for a, b in zip(values, theirs)):
            what = f"normalises with {key} {theirs}" if steps else "does not normalise"
            raise UserError(
                f"these weights want pictures with {key} {values}, and val_dataset {what}; set Normalize there"
            )


def _other_classes(model, path, num_classes):
    """(key, classes in the file) when only the number of classes keeps the weights from fitting, else None."""
    try:
        arrays = one_framework(read_arrays(path))[1]
    except UserError:
        return None
    state = model.state_dict()
    if set(arrays) != set(state):
        return None
    shapes = [(key, tuple(arrays[key].shape), tuple(state[key].shape)) for key in state]
    wrong = [(key, theirs, ours) for key, theirs, ours in shapes if theirs != ours]
    if all(theirs[1:] == ours[1:] and ours[0] == num_classes for _, theirs, ours in wrong) and wrong:
        return wrong[0][0], wrong[0][1][0]
    return None


def toolkit_weights(source: Any, kind: str) -> tuple[Path, dict[str, Any]]:
    """Reads weights safely before PaddleSeg's own loader unpickles them.

    Args:
        source: `pretrained` of one of PaddleSeg's networks: a .pdparams file, or its URL, which PaddleSeg downloads.
        kind: the type of the network, for messages.

    Returns:
        (the file, what it holds: name -> array, or (name, array) for a tensor).

    Raises:
        UserError: there is no such file, it cannot be downloaded, or it is no pickle of weights.
    """
    if not isinstance(source, str):
        raise UserError(f"{kind}.pretrained is {source!r}; PaddleSeg's networks take a .pdparams file or its URL")
    path = Path(source)
    if is_url(source):
        try:
            path = Path(importlib.import_module("paddleseg.utils.utils").download_pretrained_model(source))
        except Exception as error:  # PaddleSeg's downloader raises many kinds
            raise UserError(f"{kind}.pretrained {source}: {' '.join(str(error).split())}; give a file") from error
    if not path.is_file():
        raise UserError(f"{kind}.pretrained: {source} does not exist; give a .pdparams file or its URL")
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise UserError(f"{kind}.pretrained: {source} is no dictionary of weights; give a .pdparams file or its URL")
    return path, content


def note_what_is_left(model: Any, content: Mapping[str, Any], source: Any, kind: str) -> None:
    """Prints a note on stderr when PaddleSeg's loader leaves some tensors of a network at their initial values.

    The loader takes tensors of matching name and shape, and skips the others without a word.

    Args:
        model: the network, a `paddle.nn.Layer`.
        content: what the file holds, from `toolkit_weights`.
        source: the file, for the note.
        kind: the type of the network, for the note.
    """
    state = model.state_dict()
    arrays = {key: value[1] if isinstance(value, tuple) else value for key, value in content.items()}  # (name, array)
    left = [k for k in state if k not in arrays or tuple(getattr(arrays[k], "shape", ())) != tuple(state[k].shape)]
    if left:
        shown = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
        print(
            f"note: {kind}: {source} has {len(state) - len(left)} of the {len(state)} tensors, by name and shape; "
            f"these stay as they start: {shown}",
            file=sys.stderr,
        )
