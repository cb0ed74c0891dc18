"""Trained weights for a classification job: which file, which form of the network, how its pictures are prepared."""

import inspect
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import paddle

from ...errors import UserError
from ...pictures.preparing import Preprocessing
from ...registry import create_model, find_model
from ...training import checkpoints
from ...weights import catalog
from ...weights.integrity import digests, owners
from ...weights.loader import load_weights, locate
from ...weights.reader import read_arrays
from .data import class_names


@dataclass
class Classifier:
    """A network that holds trained weights.

    Attributes:
        model (paddle.nn.Layer): in eval mode, (N, 3, H, W) -> logits (N, classes).
        path (Path): the file of the weights.
        entry (catalog.Entry | None): what is known of them, when they are published ones.
        preprocessing (Preprocessing): how their pictures are prepared.
        options (dict): those that the network was built with.
        classes (list of str): one name for each output: the configuration's, else those that training kept with the
            weights, else as `data.class_names` finds them.
    """

    model: paddle.nn.Layer
    path: Path
    entry: catalog.Entry | None
    preprocessing: Preprocessing
    options: dict
    classes: list


def load_classifier(job, weights=None):
    """A job's network with trained weights.

    Args:
        job: from `classification.config.load`.
        weights (str | None): a path, of which .pdparams may be left out; the name of published weights or their URL,
            which are downloaded once. None takes best_model, else model_final, else the last whole snapshot of
            save_dir/NAME.

    Returns:
        Classifier. Its preprocessing is that of the catalog for published weights, also when they are given as a file;
        that which training kept, for ours; else the job's. What the configuration sets itself replaces these; a note
        on stderr says so where it differs.

    Raises:
        UserError: there is no such file, it is half written, or it is of another network or number of classes.
    """
    entry = None
    if weights is not None and (catalog.is_url(weights) or catalog.is_published(weights)):
        entry = catalog.of_url(weights) if catalog.is_url(weights) else catalog.find(weights)
        path = Path(locate(weights))
    else:
        path = checkpoints.find_weights(job.folder, weights, what="classifier")
        known = [owner for owner in owners(digests(path)) if owner.model == job.model.name]
        entry = known[0] if known else None
    about = checkpoints.info(path) or {} if path.suffix == ".pdparams" else {}
    options = _options(job, path)
    model = create_model(job.model.name, num_classes=job.num_classes, **options)
    report = load_weights(model, path)
    if report.reinitialised or report.adapted:
        raise UserError(
            f"{path} is of another number of classes than model.num_classes, {job.num_classes}; use the configuration "
            f"that it was trained with" if report.reinitialised else f"weights do not fit: {report}"
        )  # fmt: skip
    print(report, file=sys.stderr)
    model.eval()
    return Classifier(model, path, entry, _preprocessing(job, entry, about, path), options, _classes(job, about))


def _options(job, path):
    """The job's options of `create_model`; CondenseNetV2 gets the form that the weights have."""
    options = dict(job.model.options)
    if "form" in inspect.signature(find_model(job.model.name)[0].__init__).parameters:
        leaves = {key.rpartition(".")[2] for key in read_arrays(path)}
        for leaf, form in (("_mask", "learned"), ("index", "condensed")):
            if leaf in leaves:
                options["form"] = form
    return options


def _classes(job, about):
    kept = about.get("classes")
    is_whole = isinstance(kept, list) and len(kept) == job.num_classes and all(isinstance(name, str) for name in kept)
    return kept if is_whole and job.class_names is None else class_names(job)


def _preprocessing(job, entry, about, path):
    own, source = entry.preprocessing if entry else None, "the catalog has"
    if own is None and isinstance(about.get("preprocessing"), dict):
        known = {field.name for field in fields(Preprocessing)}
        if set(about["preprocessing"]) == known:
            own, source = Preprocessing(**about["preprocessing"]), "they were trained with"
    used = job.preprocessing_for(own)
    if own is not None and used != own:
        print(f"note: {job.path} sets preprocessing: {used}; {source} for {path.name}: {own}", file=sys.stderr)
    return used
