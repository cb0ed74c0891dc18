"""Training pictures as the segmentation model sees them: augmented, with the classes of their labels over them."""

from pathlib import Path

import numpy as np
from PIL import Image

from ...pictures.drawing import draw_labels
from .batches import SeededDataset
from .data import check_dataset, class_names, palette


def samples(job, count, seed, cell):
    """Pictures of train_dataset after all of its transforms, with their labels drawn.

    A set with fewer pictures comes again, transformed anew.

    Args:
        job: from `segmentation.config.load`.
        count (int): of pictures, at least 1.
        seed (int): of the choice of pictures and of their transforms.
        cell (int): side in pixels of the square that each is scaled into before it is drawn on.

    Yields:
        (PIL.Image, title): the title is the file's name and the size in which the network sees it.

    Raises:
        UserError: data that cannot be trained on; a picture that cannot be prepared.
    """
    check_dataset(job, "train")
    dataset = SeededDataset(job.builder.train_dataset, seed)
    names, colours = class_names(job), palette(job)
    orders = np.random.default_rng(seed)
    for epoch in range(-(-count // len(dataset))):
        for number in orders.permutation(len(dataset))[: count - epoch * len(dataset)]:
            data = dataset[epoch, int(number)]
            if isinstance(data, Exception):
                raise data
            image = _pixels(data["img"], dataset.dataset.transforms.transforms)
            height, width = image.shape[:2]
            labels = np.asarray(data["label"]).reshape(height, width)
            scale = cell / max(height, width)
            size = [max(1, round(side * scale)) for side in (width, height)]
            picture = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
            labels = np.asarray(Image.fromarray(labels.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
            drawn = draw_labels(picture, labels, names, colours, ignore_index=job.ignore_index)
            yield drawn, f"{_name(dataset, int(number))} {width}x{height}"


def _pixels(image, transforms):
    """What the network gets, (1 or 3, H, W), -> uint8 (H, W, 3): PaddleSeg's normalisation undone."""
    image = np.asarray(image, np.float32).transpose(1, 2, 0)
    for transform in transforms:
        if type(transform).__name__ == "Normalize":
            image = (image * transform.std + transform.mean) * 255
    return np.repeat(np.clip(np.rint(image), 0, 255).astype(np.uint8), 3 // image.shape[2], axis=2)


def _name(dataset, number):
    listed = getattr(dataset.dataset, "file_list", None)
    return Path(listed[number][0]).name if listed else f"picture {number}"
