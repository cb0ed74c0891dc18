"""The classifier of a configuration and the size of its pictures, for counting what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import UserError
from ...registry import create_model
from .job import Job


def network_and_input(job: Job, size: Sequence[int] | None = None) -> tuple[Any, tuple[int, int], None]:
    """Builds the classifier with random weights.

    Args:
        job: from `classification.config.load`.
        size: height and width in pixels; None takes what the preprocessing gives.

    Returns:
        (the classifier, (height, width), None: it takes only an image).

    Raises:
        UserError: the size of prepared pictures depends on the picture.
    """
    chosen = tuple(size) if size else job.preprocessing.input_size
    if chosen is None:
        raise UserError("the preprocessing gives no fixed size; give --input-size HEIGHT WIDTH")
    height, width = chosen
    return create_model(job.model.name, num_classes=job.num_classes, **job.model.options), (height, width), None
