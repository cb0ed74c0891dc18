"""The pictures of a classification job: checks, class names, and samples for training and evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from PIL.Image import Image

from ...backbones.base import MIN_SIDE
from ...datasets.imagenet import NAMES
from ...datasets.labelled import PictureSet
from ...datasets.lists import rows_of
from ...datasets.report import Report
from ...errors import UserError
from ...pictures.preparing import Preprocessing, in_planes, normalize, prepare
from ...pictures.reading import looks_like_a_picture
from ...system.timings import stage
from ...training.loading import load
from ..weights import starting_order
from .job import Job
from .transforms import AFTER_NORMALIZING, RandomFlip, RandomResizedCrop

#: how many pictures are checked by their first bytes before training; of a larger set as many, spread evenly
LOOKED_AT = 100_000


def check_data(job: Job, part: str) -> Report:
    """Checks a data set before training or evaluation: its layout, and that its files begin as pictures do.

    Args:
        job: from `classification.config.load`.
        part: "train" or "val".

    Raises:
        UserError: the data set is missing, empty or of other classes; files that are missing or no pictures.
    """
    check_pictures(open_set(job, part))
    return report_of(job, part)


def report_of(job: Job, part: str) -> Report:
    """What opening a data set has found; the files themselves are not looked at. Raises as `open_set`."""
    open_set(job, part)
    return job.checked[part][1]


def open_set(job: Job, part: str) -> PictureSet:
    """The pictures of a job's train_dataset or val_dataset, opened once.

    Class folders are matched by name to what the network was trained on, where that is known, else to the folders of
    the training data.

    Args:
        job: from `classification.config.load`.
        part: "train" or "val".

    Raises:
        UserError: the configuration has no such data set, or it is missing, empty, or of other classes.
    """
    if part not in job.checked:
        report = Report(f"{part}_dataset")
        pictures = _open(job, part, report)
        counts = np.bincount(pictures.labels, minlength=job.num_classes)
        names = class_names(job, pictures)
        effect = "never learned" if part == "train" else "so the result says nothing of them"
        if pictures.folders is None and counts[0] == 0 < counts[-1]:
            effect += " (labels count from 0)"
        absent = [f"{n}: {names[n]}" if names[n] != f"class {n}" else str(n) for n in np.flatnonzero(counts == 0)]
        report.note(f"labels that never occur, {effect}", absent)
        job.checked[part] = pictures, report
    return job.checked[part][0]


def _open(job, part, report):
    dataset = job.train_dataset if part == "train" else job.val_dataset
    if dataset is None:
        raise UserError(f"{job.path} has no {part}_dataset; say where its pictures are")
    known = job.trained_folders or (None if job.class_names else job.trained_classes)
    if known is None and (part == "val" or job.model.pretrained):
        known = job.train_dataset.class_folders("train", job.num_classes)
        if known is not None and job.model.pretrained:
            known = starting_order(job.model.pretrained, list(known), "folders")
    try:
        return dataset.open(part, job.num_classes, known, report)
    except UserError as error:
        raise UserError(f"{job.path}: {part}_dataset: {error}") from None


def check_pictures(pictures: PictureSet) -> None:
    """Raises UserError with the names of files that are missing or do not begin as pictures do."""
    if pictures.in_memory:
        return
    step = -(-len(pictures) // LOOKED_AT)
    bad = []
    for path in pictures.pictures[::step]:
        try:
            if not looks_like_a_picture(path):
                bad.append(f"{path} is no picture")
        except OSError as error:
            bad.append(f"{path}: {error.strerror or error}")
    if bad:
        raise UserError(
            f"{len(bad)} pictures of {pictures.source} cannot be used: {'; '.join(bad[:3])}"
            f"{' ...' if len(bad) > 3 else ''}; remove or replace them"
        )


def class_names(job: Job, pictures: PictureSet | None = None) -> list[str]:
    """One name for each class.

    It is the configuration's, else what the network was trained on, else the data's, else ImageNet's for 1000 classes,
    else "class N".

    Args:
        job: from `classification.config.load`.
        pictures: the data to ask; None asks the training data, if it is there.

    Raises:
        UserError: class_names that cannot be read or are not num_classes different names.
    """
    names = job.class_names
    if names is None and job.trained_classes:
        return list(job.trained_classes)
    if names is None:
        names = job.train_dataset.class_names(job.num_classes) if pictures is None else pictures.classes
        if names is None or len(names) != job.num_classes:
            names = NAMES if job.num_classes == len(NAMES) else [f"class {i}" for i in range(job.num_classes)]
        return list(names)
    if isinstance(names, str):
        try:
            names = [line for _, line in rows_of(Path(names))]
        except UserError as error:
            raise UserError(f"{job.path}: class_names {error}") from error
    if not isinstance(names, list) or len(names) != job.num_classes or len(set(map(str, names))) != len(names):
        raise UserError(
            f"{job.path}: class_names must be {job.num_classes} different names, in a list or in the lines of a file"
        )
    return [str(name) for name in names]


def network_input(image: np.ndarray | Image, preprocessing: Preprocessing) -> np.ndarray:
    """`pictures.preparing.prepare`; UserError when the result is smaller than a network takes."""
    values = prepare(image, preprocessing)
    if min(values.shape[1:]) < MIN_SIDE:
        raise UserError(
            f"is prepared to {values.shape[2]} x {values.shape[1]} pixels; both sides must be {MIN_SIDE} or more"
        )
    return values


def normalized(images: paddle.Tensor, preprocessing: Preprocessing) -> paddle.Tensor:
    """The second half of `pictures.preparing.normalize`, on the device: (N, 3, H, W), uint8 -> float32.

    What is float32 already is returned as it is.
    """
    if images.dtype != paddle.uint8:
        return images
    mean, std = (paddle.to_tensor(v, "float32").reshape([3, 1, 1]) for v in (preprocessing.mean, preprocessing.std))
    return (images.astype("float32") / 255 - mean) / std


class TrainSamples(paddle.io.Dataset):
    """Augmented pictures. They depend only on (seed, epoch, number of the picture), not on process or order.

    Args:
        job: from `classification.config.load`.
        pictures: the training data.
        seed: 0 or more.
        raw: leave the normalising to `normalized`: a quarter of the bytes travel from the workers to the device. Where
            a step comes after the normalising, this process does both.
    """

    def __init__(self, job: Job, pictures: PictureSet, seed: int, raw: bool = False):
        super().__init__()
        self.pictures, self.seed = pictures, seed
        self.preprocessing = job.preprocessing
        steps = job.transforms or [RandomResizedCrop(size=self.preprocessing.crop or 224), RandomFlip()]
        self.before = [step for step in steps if not isinstance(step, AFTER_NORMALIZING)]
        self.after = [step for step in steps if isinstance(step, AFTER_NORMALIZING)]
        self.raw = raw and not self.after

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any] | UserError:
        """(epoch, number) -> {"img": float32 (3, H, W), or uint8 if `raw`, "label": int64}.

        Returns a UserError instead of raising it, because Paddle loses what a worker raises.
        """
        epoch, index = key
        rng = np.random.default_rng([self.seed, epoch, index])
        try:
            image, left = self._opened(index, rng)
        except UserError as error:
            return UserError(f"train_dataset: {error}")
        with stage("augment"):
            for step in left:
                image = step(image, rng)
        recipe = self.preprocessing
        if self.raw:
            return {"img": in_planes(np.asarray(image), recipe.channels), "label": self.pictures.labels[index]}
        with stage("normalize"):
            values = normalize(np.asarray(image), recipe.channels, recipe.mean, recipe.std)
            for step in self.after:
                values = step(values, rng)
        return {"img": values, "label": self.pictures.labels[index]}

    def _opened(self, index, rng):
        """A picture, and the steps that are still to be taken with it."""
        first = self.before[0] if self.before else None
        with stage("decode"):
            if isinstance(first, RandomResizedCrop) and first.reduced and not self.pictures.in_memory:
                return first.part_of(self.pictures.pictures[index], rng), self.before[1:]
            return self.pictures.read(index), self.before

    def files(self, index: int) -> str:
        """The name of a picture's file, for messages."""
        return self.pictures.name(index)


class EvalSamples(paddle.io.Dataset):
    """Pictures prepared as the weights need them.

    Args:
        pictures: the evaluation data.
        preprocessing: how they become inputs.
    """

    def __init__(self, pictures: PictureSet, preprocessing: Preprocessing):
        super().__init__()
        self.pictures, self.preprocessing = pictures, preprocessing
        self.size = preprocessing.input_size
        if isinstance(pictures.pictures, np.ndarray) and self.size is None and preprocessing.resize is None:
            height, width = pictures.pictures.shape[1:3]
            self.size = height, width

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """(0, number) -> {"img": float32 (3, H, W), "label": int64}. An unreadable picture has the label -1."""
        _, index = key
        try:
            return {"img": self._prepared(index), "label": self.pictures.labels[index]}
        except UserError:
            return {"img": np.zeros((3, *(self.size or (32, 32))), np.float32), "label": np.int64(-1)}

    def parts(self, batch_size: int, rank: int = 0, ranks: int = 1) -> list[list[int]]:
        """The numbers of the pictures in each batch of this process. Pictures of different sizes get batches of one."""
        batch_size = batch_size if self.size else 1
        numbers = list(range(rank, len(self), ranks))
        return [numbers[i : i + batch_size] for i in range(0, len(numbers), batch_size)]

    def batches(
        self, parts: Sequence[Sequence[int]], workers: int = 0
    ) -> Iterator[tuple[np.ndarray, paddle.Tensor, np.ndarray]]:
        """Yields (numbers (N,), images (N, 3, H, W), labels (N,)) for each of `parts`."""
        for batch, data in load(self, [[(0, number) for number in part] for part in parts], workers):
            yield np.array([number for _, number in batch]), data["img"], data["label"].numpy()

    def fault(self, index: int) -> str:
        """Why a picture cannot be read, in one line without its name."""
        try:
            self._prepared(index)
        except UserError as error:
            return str(error).removeprefix(f"{self.pictures.name(index)}: ")
        return "it could not be read before, and can now"

    def _prepared(self, index):
        return network_input(self.pictures.read(index), self.preprocessing)
