"""The detector of a configuration with an image of the size that its TestReader makes, for counting what it costs."""

import paddle
from ppdet.core.workspace import create

from ...errors import UserError


def network_and_input(cfg, size=None):
    """Builds the detector with random weights.

    Args:
        cfg: from `detection.config.load`.
        size (sequence of int | None): height and width in pixels; default None, the TestReader's.

    Returns:
        (Layer, (height, width), dict): the detector in PaddleDetection's form, the size, and a batch of one image.

    Raises:
        UserError: the TestReader does not say how large its images are.
    """
    height, width = size or reader_size(cfg)
    side = paddle.to_tensor([[height, width]], dtype="float32")
    batch = {
        "image": paddle.zeros([1, 3, height, width]),
        "im_shape": side,
        "scale_factor": paddle.ones([1, 2]),
        "im_id": paddle.zeros([1], "int64"),
    }
    return create(cfg.architecture), (height, width), batch


def reader_size(cfg):
    """(height, width) of what the TestReader gives: its fixed size, or its largest, padded as its batches are.

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
