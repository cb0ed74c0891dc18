"""Training pictures as a classifier sees them: augmented, with the names of their classes."""

from pathlib import Path

import numpy as np
from PIL import Image

from .data import TrainSamples, check_pictures, class_names, open_set


def samples(job, count, seed, cell):
    """Pictures of train_dataset after all of its transforms.

    A set with fewer pictures comes again, transformed anew.

    Args:
        job: from `classification.config.load`.
        count (int): of pictures, at least 1.
        seed (int): of the choice of pictures and of their transforms.
        cell (int): side in pixels of the square that each is scaled into.

    Yields:
        (PIL.Image, title): the title is the class, the file's name and the size in which the network sees it.

    Raises:
        UserError: data that cannot be trained on; a picture that cannot be read.
    """
    pictures = open_set(job, "train")
    check_pictures(pictures)
    dataset, names = TrainSamples(job, pictures, seed), class_names(job, pictures)
    orders = np.random.default_rng(seed)
    for epoch in range(-(-count // len(dataset))):
        for number in orders.permutation(len(dataset))[: count - epoch * len(dataset)]:
            data = dataset[epoch, int(number)]
            if isinstance(data, Exception):
                raise data
            image = _pixels(data["img"], dataset.preprocessing)
            height, width = image.shape[:2]
            scale = cell / max(height, width)
            size = [max(1, round(side * scale)) for side in (width, height)]
            title = f"{names[int(data['label'])]} {Path(dataset.files(int(number))).name} {width}x{height}"
            yield Image.fromarray(image).resize(size, Image.Resampling.LANCZOS), title


def _pixels(values, preprocessing):
    """What the network gets, (3, H, W), -> uint8 (H, W, 3), red-green-blue: `images.normalize` undone."""
    values = values.transpose(1, 2, 0) * np.float32(preprocessing.std) + np.float32(preprocessing.mean)
    image = np.clip(np.rint(255 * values), 0, 255).astype(np.uint8)
    return image[..., ::-1] if preprocessing.channels == "bgr" else image
