"""Training pictures as the detector sees them: after the reader's transforms, with their boxes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from ppdet.core.workspace import create

from ...errors import UserError
from ...pictures.drawing import class_colours, draw_boxes
from ..browsing import fit_into_cell
from .data import check_data, class_names, using
from .job import Job

# Transforms that change what the numbers in gt_bbox mean. Before them they are left, top, right, bottom in pixels.
_RELATIVE, _CENTRED = "NormalizeBox", "BboxXYXY2XYWH"
# It leaves the boxes in pixels of the file, because another transform makes targets of them.
_NOT_FOLLOWED = "FlipWarpAffine"


@dataclass
class Labels:
    """The boxes of a picture, as they were before a transform turned them into targets, or at the end.

    Attributes:
        boxes: (M, 4), as the reader's transforms leave them.
        classes: (M,) whole numbers.
        scores: (M,) the weights that mixing two pictures gives the boxes, or None.
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray | None


def samples(job: Job, count: int, seed: int, cell: int) -> Iterator[tuple[Image.Image, str]]:
    """Yields (picture, title) of TrainDataset after all of TrainReader's transforms, with the boxes drawn.

    Batches are as large as in training where `count` allows it, because some transforms treat a whole batch alike. A
    data set with fewer pictures comes again, augmented anew.

    Args:
        job: from `detection.config.load`.
        count: of pictures, at least 1.
        seed: of the augmentation, and of the order when the reader shuffles.
        cell: each picture is scaled to this longer side, in pixels, before boxes are drawn on it.

    The title is the file's name and the size in which the network sees the picture.

    Raises:
        UserError: data that cannot be trained on; a picture that cannot be prepared; a transform whose boxes cannot be
            followed.
    """
    check_data(job, "train")
    names = class_names(job)
    palette = class_colours(names)
    random.seed(seed)
    np.random.seed(seed)
    with using(job, "train"):
        dataset, reader = create("TrainDataset")(), create("TrainReader")
    _prepare(dataset, reader)
    transforms = _transforms(reader)
    for numbers in _batches(len(dataset), count, reader):
        for number, sample in zip(numbers, _batch(dataset, reader, numbers)):
            image = _pixels(sample["image"], transforms)
            boxes, labels, scores = _boxes(sample["labels"], image, names, transforms)
            height, width = image.shape[:2]
            scale = cell / max(height, width)
            drawn = draw_boxes(fit_into_cell(image, cell), boxes * scale, labels, scores, palette)
            yield drawn, f"{_name(dataset, number)} {width}x{height}"


def _transforms(reader):
    """The transforms of a picture and of a batch, in their order."""
    return [*reader._sample_transforms.transforms_cls, *reader._batch_transforms.transforms_cls]


def _prepare(dataset, reader):
    """Does what the reader does before its first batch. Its own loader would work in another thread."""
    names = [type(transform).__name__ for transform in _transforms(reader)]
    if _NOT_FOLLOWED in names:
        raise UserError(f"TrainReader has {_NOT_FOLLOWED}, whose boxes are not in the picture's pixels; leave it out")
    dataset.check_or_download_dataset()
    dataset.parse_dataset()
    dataset.set_transform(lambda sample: _run(reader._sample_transforms.transforms_cls, sample))
    dataset.set_kwargs(**reader.kwargs)
    if not len(dataset):
        raise UserError("TrainDataset has no picture with a box to train on")


def _batches(size, count, reader):
    """Lists of numbers of pictures, `count` in all, no longer than the reader's batches."""
    numbers = []
    while len(numbers) < count:
        numbers += list(np.random.permutation(size) if reader.shuffle else range(size))
    numbers = [int(number) for number in numbers[:count]]
    return [numbers[i : i + reader.batch_size] for i in range(0, count, reader.batch_size)]


def _batch(dataset, reader, numbers):
    """The samples of a batch after all transforms, their boxes under "labels"."""
    prepared = []
    for number in numbers:
        try:
            prepared.append(dataset[number])
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"TrainDataset: cannot prepare {_name(dataset, number)}: {reason}") from error
    return _run(reader._batch_transforms.transforms_cls, prepared, at_end=True)


def _run(transforms, data, at_end=False):
    """Applies the transforms to a sample or a list of samples; boxes are kept under "labels" when one drops them."""
    for transform in transforms:
        before = [_labels(sample) for sample in _listed(data)]
        data = transform(data)
        after = _listed(data)
        if len(before) == len(after):  # not where pictures are mixed into one, which keeps its boxes
            for sample, labels in zip(after, before):
                if labels is not None and _labels(sample) is None:
                    sample["labels"] = labels
    if at_end:
        for sample in data:
            sample.setdefault("labels", _labels(sample))
    return data


def _listed(data):
    return data if isinstance(data, (list, tuple)) else [data]


def _labels(sample):
    """Copies of a sample's boxes and classes, or None once a transform has dropped one of them."""
    if "gt_bbox" not in sample or "gt_class" not in sample:
        return None
    boxes = np.array(sample["gt_bbox"], float).reshape(-1, 4)
    scores = np.array(sample["gt_score"], float).ravel() if "gt_score" in sample else None
    return Labels(boxes, np.array(sample["gt_class"], int).ravel(), scores)


def _pixels(image, transforms):
    """What the network gets, (3, H, W) or (H, W, 3), -> uint8 (H, W, 3): the reader's normalisation undone."""
    image = np.asarray(image, np.float32)
    names = [type(transform).__name__ for transform in transforms]
    if "Permute" in names:
        image = image.transpose(1, 2, 0)
    scaled = False
    for transform in transforms:
        if type(transform).__name__ == "NormalizeImage":
            scaled = transform.is_scale
            if transform.norm_type == "mean_std":
                image = image * np.array(transform.std, np.float32) + np.array(transform.mean, np.float32)
                scaled |= max(transform.mean) <= 1  # another transform brought the values to 0..1
    return np.clip(np.rint(image * 255 if scaled else image), 0, 255).astype(np.uint8)


def _boxes(labels, image, names, transforms):
    """((M, 4) left, top, right, bottom in pixels of the image, M names, M scores or None), without empty boxes."""
    if labels is None:
        return np.zeros((0, 4)), [], None
    boxes, done = labels.boxes, {type(transform).__name__ for transform in transforms}
    if _CENTRED in done:
        boxes = np.hstack([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2])
    if _RELATIVE in done:
        boxes = boxes * np.tile(image.shape[1::-1], 2)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)  # readers fill up with boxes of zeros
    shown = [names[cls] for cls in labels.classes[kept]]
    mixed = labels.scores is not None and (labels.scores[kept] != 1).any()
    return boxes[kept], shown, labels.scores[kept] if mixed else None


def _name(dataset, number):
    return Path(dataset.roidbs[number % len(dataset.roidbs)]["im_file"]).name
