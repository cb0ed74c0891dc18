"""Training pictures as the segmentation model sees them: augmented, with the classes of their labels over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ...pictures.drawing import draw_labels
from ..browsing import fit_into_cell, prepared_samples, size_in_cell
from .batches import SeededDataset
from .data import check_data, class_names, open_dataset, palette
from .job import Job


def samples(job: Job, count: int, seed: int, cell: int) -> Iterator[tuple[Image.Image, str]]:
    """Yields (picture, title) of train_dataset after all of its transforms, with the labels drawn.

    Args:
        job: from `segmentation.config.load`.
        count: of pictures, at least 1. A data set with fewer comes again, augmented anew.
        seed: of the choice of pictures and of their augmentation.
        cell: each picture is scaled to this longer side, in pixels, before labels are drawn on it.

    The title is the file's name and the size in which the network sees the picture.

    Raises:
        UserError: data that cannot be trained on; a picture that cannot be prepared.
    """
    check_data(job, "train")
    dataset = SeededDataset(open_dataset(job, "train"), seed)
    names, colours = class_names(job), palette(job)
    for number, data in prepared_samples(dataset, count, seed):
        image = _pixels(data["img"], dataset.dataset.transforms.transforms)
        height, width = image.shape[:2]
        labels = Image.fromarray(np.asarray(data["label"]).reshape(height, width).astype(np.uint8))
        labels = np.asarray(labels.resize(size_in_cell(image, cell), Image.Resampling.NEAREST))
        drawn = draw_labels(fit_into_cell(image, cell), labels, names, colours, ignore_index=job.ignore_index)
        yield drawn, f"{_name(dataset, number)} {width}x{height}"


def _pixels(image, transforms):
    """The network's input, (1 or 3, H, W), -> uint8 (H, W, 3): undoes PaddleSeg's normalisation."""
    image = np.asarray(image, np.float32).transpose(1, 2, 0)
    for transform in transforms:
        if type(transform).__name__ == "Normalize":
            image = (image * transform.std + transform.mean) * 255
    return np.repeat(np.clip(np.rint(image), 0, 255).astype(np.uint8), 3 // image.shape[2], axis=2)


def _name(dataset, number):
    listed = getattr(dataset.dataset, "file_list", None)
    return Path(listed[number][0]).name if listed else f"picture {number}"
