"""Training pictures as a classifier sees them: augmented, with the names of their classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from ...pictures.preparing import denormalize
from ..browsing import fit_into_cell, prepared_samples
from .data import TrainSamples, check_pictures, class_names, open_set
from .job import Job


def samples(job: Job, count: int, seed: int, cell: int) -> Iterator[tuple[Image.Image, str]]:
    """Yields (picture, title) of train_dataset after all of its transforms.

    Args:
        job: from `classification.config.load`.
        count: of pictures, at least 1. A data set with fewer comes again, augmented anew.
        seed: of the choice of pictures and of their augmentation.
        cell: each picture is scaled to this longer side, in pixels.

    The title is the class, the file's name and the size in which the network sees the picture.

    Raises:
        UserError: data that cannot be trained on; a picture that cannot be read.
    """
    pictures = open_set(job, "train")
    check_pictures(pictures)
    dataset, names = TrainSamples(job, pictures, seed), class_names(job, pictures)
    for number, data in prepared_samples(dataset, count, seed):
        image = denormalize(data["img"], dataset.preprocessing)
        height, width = image.shape[:2]
        title = f"{names[int(data['label'])]} {Path(dataset.files(number)).name} {width}x{height}"
        yield fit_into_cell(image, cell), title
