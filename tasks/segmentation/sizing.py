"""The segmentation model of a configuration and the size of its pictures, for counting what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import UserError
from .job import Job

#: arguments of PaddleSeg's transforms that are a size, [width, height]
SIZES = ("crop_size", "target_size", "size")


def network_and_input(job: Job, size: Sequence[int] | None = None) -> tuple[Any, tuple[int, int], None]:
    """Builds the segmentation model with random weights.

    Args:
        job: from `segmentation.config.load`.
        size: height and width in pixels; None takes what val_dataset's transforms give, else train_dataset's.

    Returns:
        (the model, (height, width), None: the model takes only an image).

    Raises:
        UserError: no transform says how large the pictures are.
    """
    chosen = size or picture_size(job)
    if chosen is None:
        raise UserError("no transform says how large the pictures are; give --input-size HEIGHT WIDTH")
    height, width = chosen
    return job.builder.model, (height, width), None


def picture_size(job: Job, parts: Sequence[str] = ("val_dataset", "train_dataset")) -> tuple[int, int] | None:
    """(height, width) that the transforms of the first of these data sets give, or None where none says."""
    for dataset in parts:
        for step in reversed(job.dic.get(dataset, {}).get("transforms") or []):
            for key in SIZES:
                value = step.get(key)
                if isinstance(value, (list, tuple)) and len(value) == 2:
                    return value[1], value[0]  # PaddleSeg has the width first
    return None
