"""Trained weights for a classification job: which file, which form of the network, how its pictures are prepared."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...pictures.preparing import Preprocessing
from ...registry import create_model, find_model
from ...weights.catalog import Entry, is_published, is_url
from ...weights.identify import entry_of
from ...weights.loader import load_weights
from ...weights.reader import read_arrays
from ..task import Trained
from ..weights import facts_of, find_weights
from .data import class_names
from .job import Job


@dataclass
class Classifier(Trained):
    """A classifier with trained weights, in eval mode: (N, 3, H, W) -> logits (N, classes).

    Attributes:
        entry: what the catalog knows of the weights, when they are published ones.
        preprocessing: how their pictures are prepared.
        options: those that the network was built with.
        classes: one name for each output: the configuration's, else those that training kept with the weights, else
            `data.class_names`.
    """

    entry: Entry | None
    preprocessing: Preprocessing
    options: dict[str, Any]
    classes: list[str]


def load_trained(job: Job, weights: str | Path | None = None, model: Any = None) -> Classifier:
    """A classifier with trained weights.

    Its preprocessing is the catalog's for published weights, also when they are given as a file; what training kept
    with our own; else the job's. Keys that the configuration sets itself replace these, and a note on stderr says so.

    Args:
        job: from `classification.config.load`.
        weights: as in `tasks.weights.find_weights`.
        model: the network to fill; None builds the job's, in the form that the weights have.

    Raises:
        UserError: there is no such file, it is half written, or it is of another network or number of classes.
    """
    path = find_trained(job, weights)
    is_named = weights is not None and (is_url(weights) or is_published(str(weights)))
    entry = entry_of(weights if is_named else path, job.model.name)
    about = facts_of(path)
    options = _options(job, path)
    model = create_model(job.model.name, num_classes=job.num_classes, **options) if model is None else model
    report = load_weights(model, path)
    if report.reinitialised:
        raise UserError(
            f"{path} is of another number of classes than model.num_classes, {job.num_classes}; use the configuration "
            f"that it was trained with"
        )
    if report.adapted:
        raise UserError(f"weights do not fit: {report}")
    print(report, file=sys.stderr)
    model.eval()
    preprocessing = _preprocessing(job, entry, about, path)
    return Classifier(model, path, entry, preprocessing, options, class_names(job))


def find_trained(job: Job, weights: str | Path | None = None) -> Path:
    """The weights file to use. The job learns which classes it was trained on, where training kept their names.

    Arguments and errors are those of `load_trained`.
    """
    path = find_weights(job, weights)
    job.learn_classes(facts_of(path))
    return path


def _options(job, path):
    """The job's options of `create_model`, with the form of CondenseNetV2 that the weights have."""
    options = dict(job.model.options)
    if "form" in inspect.signature(find_model(job.model.name)[0].__init__).parameters:
        leaves = {key.rpartition(".")[2] for key in read_arrays(path)}
        for leaf, form in (("_mask", "learned"), ("index", "condensed")):
            if leaf in leaves:
                options["form"] = form
    return options


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
