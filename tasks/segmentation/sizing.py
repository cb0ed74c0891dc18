"""The segmenter of a configuration with the size of its training pictures, for counting what it costs."""

from ...errors import UserError

_SIZES = ("crop_size", "target_size", "size")


def network_and_input(job, size=None):
    """Builds the segmenter with random weights.

    Args:
        job: from `segmentation.config.load`.
        size (sequence of int | None): height and width in pixels; default None: what the transforms of val_dataset give
            or else those of train_dataset.

    Returns:
        (Layer, (height, width), None): the segmenter, the size, and None: it takes an image alone.

    Raises:
        UserError: no transform says how large the pictures are.
    """
    size = tuple(size) if size else _picture_size(job)
    return job.builder.model, size, None


def _picture_size(job):
    for dataset in ("val_dataset", "train_dataset"):
        for step in reversed(job.dic.get(dataset, {}).get("transforms") or []):
            for key in _SIZES:
                value = step.get(key)
                if isinstance(value, (list, tuple)) and len(value) == 2:
                    return value[1], value[0]  # PaddleSeg has the width first
    raise UserError("no transform says how large the pictures are; give --input-size HEIGHT WIDTH")
