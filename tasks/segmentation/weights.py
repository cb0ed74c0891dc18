"""Loading trained weights into a whole segmentation model, strictly, and looking over what PaddleSeg is to load."""

import importlib
import sys
from pathlib import Path

from ...errors import UserError
from ...training import checkpoints
from ...weights.catalog import find, is_published, is_url
from ...weights.layouts import one_framework
from ...weights.loader import load_weights, locate
from ...weights.reader import read_arrays, read_pickle


def load_segmenter(model, job, weights=None):
    """Fills a model with the weights that training left in the job's folder, or with those given.

    Args:
        model (Layer): `job.builder.model`.
        job: from `segmentation.config.load`.
        weights (str | None): a path, of which .pdparams may be left out; the name of published weights or their URL,
            which are downloaded once. None takes best_model, else model_final, else the last whole snapshot of
            save_dir/NAME. Weights of BGR images are turned round, since PaddleSeg's images are RGB.

    Returns:
        Path of the file.

    Raises:
        UserError: there is no such file, it is half written, it is of another model or number of classes, or it was
            trained on pictures that were normalised otherwise.
    """
    if weights is not None and (is_url(weights) or is_published(weights)):
        path = Path(locate(weights))
    else:
        path = checkpoints.find_weights(job.folder, weights, what="segmentation model")
    try:
        report = load_weights(model, path, adapt_input="rgb")
        # What is fine for a backbone, to start training from, is not for a model that is to be used as it is.
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
    return path


# Layouts of published weights: an entry of the catalog that says how their pictures were prepared.
_PUBLISHED = {"FC-HarDNet": "fchardnet70.official", "PaddleSeg HarDNet": "fchardnet70.paddleseg"}


def _check_normalisation(job, report):
    """UserError when val_dataset normalises pictures otherwise than published weights want it."""
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
    """(key, classes in the file) when nothing but the number of classes keeps weights from fitting, else None."""
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


def toolkit_weights(source, kind):
    """Weights that PaddleSeg's own loader is to read, once they are known to be no more than weights.

    Args:
        source: `pretrained` of a network of PaddleSeg's: a .pdparams file, or its URL, which PaddleSeg downloads.
        kind (str): the type of the network, for the messages.

    Returns:
        (Path, dict): the file, and what it holds: name -> array, or (name, array) for a tensor.

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


def note_what_is_left(model, content, source, kind):
    """A note on stderr when PaddleSeg's loader left a part of a network as it started.

    It takes the tensors whose names and shapes are the network's, and passes over the others in silence.
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
