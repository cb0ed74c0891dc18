"""Loading weights into a whole detector, strictly."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ppdet.core.workspace import create

from ...weights.loader import load_weights
from ..task import Trained
from ..weights import facts_of, find_weights
from .job import Job


def find_trained(job: Job, weights: str | Path | None = None) -> Path:
    """The weights file to use. The job learns which classes it was trained on, where training kept their names.

    Arguments and errors are those of `load_trained`.
    """
    path = find_weights(job, weights or job.given_weights, job.cfg.get("weights"))
    job.learn_classes(facts_of(path))
    return path


def load_trained(job: Job, weights: str | Path | None = None, model: Any = None) -> Trained:
    """A detector with trained weights.

    Weights made for BGR images are turned round, because PaddleDetection's images are RGB.

    Args:
        job: from `detection.config.load`.
        weights: as in `tasks.weights.find_weights`; None also takes the configuration's own `weights`.
        model: the detector to fill; None builds the configuration's.

    Raises:
        UserError: there is no such file, it is half written, or it is of another network.
    """
    path = find_trained(job, weights)
    model = create(job.cfg.architecture) if model is None else model
    print(load_weights(model, path, adapt_input="rgb"), file=sys.stderr)
    return Trained(model, path)
