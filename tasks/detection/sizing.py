"""The detector of a configuration and the size of its images, for counting what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import paddle
from ppdet.core.workspace import create

from ...errors import UserError
from .job import Job
from .readers import transforms


def network_and_input(
    job: Job, size: Sequence[int] | None = None
) -> tuple[paddle.nn.Layer, tuple[int, int], dict[str, Any]]:
    """Builds the detector with random weights.

    Args:
        job: from `detection.config.load`.
        size: height and width in pixels; None takes the TestReader's.

    Returns:
        (the detector, (height, width), a batch of one image as the detector takes it).

    Raises:
        UserError: the TestReader does not say how large its images are.
    """
    height, width = size or reader_size(job.cfg)
    side = paddle.to_tensor([[height, width]], dtype="float32")
    batch = {
        "image": paddle.zeros([1, 3, height, width]),
        "im_shape": side,
        "scale_factor": paddle.ones([1, 2]),
        "im_id": paddle.zeros([1], "int64"),
    }
    return create(job.cfg.architecture), (height, width), batch


def reader_size(cfg: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) in pixels of the TestReader's images: the fixed size, or the largest, padded as batches are.

    Raises:
        UserError: it does not say.
    """
    reader = cfg.get("TestReader") or {}
    shape = (reader.get("inputs_def") or {}).get("image_shape") or []
    if len(shape) >= 2 and min(shape[-2:]) > 0:
        return tuple(shape[-2:])
    steps = [*(reader.get("sample_transforms") or ()), *(reader.get("batch_transforms") or ())]
    settings = {name: arguments or {} for step in steps for name, arguments in step.items()}
    size = settings.get("Resize", {}).get("target_size")
    if not isinstance(size, (list, tuple)):
        raise UserError("the TestReader does not say how large its images are; give --input-size HEIGHT WIDTH")
    stride = max(1, settings.get("PadBatch", {}).get("pad_to_stride", 1))
    return tuple(-(-side // stride) * stride for side in size)


def size_of_all(cfg: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) in pixels of every image of the TestReader; None where they differ, or it does not say."""
    reader = cfg.get("TestReader") or {}
    shape = (reader.get("inputs_def") or {}).get("image_shape") or []
    keeps = any(
        name == "Resize" and arguments.get("keep_ratio", True) for name, arguments in transforms(cfg, ("TestReader",))
    )
    if keeps and (len(shape) < 2 or min(shape[-2:]) <= 0):
        return None
    try:
        return reader_size(cfg)
    except UserError:
        return None
