"""The pictures of a job: checks before training, names of classes, and samples for training and evaluation."""

from pathlib import Path

import numpy as np
import paddle
from PIL import Image

from ...backbones.base import MIN_SIDE
from ...datasets.imagenet import NAMES
from ...errors import UserError
from ...pictures.preparing import normalize, prepare
from ...pictures.reading import looks_like_a_picture
from ...training.batches import load
from .transforms import AFTER_NORMALIZING, RandomFlip, RandomResizedCrop

#: pictures whose first bytes are looked at before training; of a larger set, as many, evenly spread
LOOKED_AT = 100_000


def open_set(job, part):
    """The PictureSet of a job's train_dataset or val_dataset.

    Args:
        job: from `classification.config.load`.
        part (str): "train" or "val".

    Raises:
        UserError: the configuration has no such data set, or it is not there, empty, or of other classes.
    """
    dataset = job.train_dataset if part == "train" else job.val_dataset
    if dataset is None:
        raise UserError(f"{job.path} has no {part}_dataset; say where its pictures are")
    classes = job.train_dataset.class_folders("train") if part == "val" else None
    try:
        return dataset.open(part, job.num_classes, classes)
    except UserError as error:
        raise UserError(f"{job.path}: {part}_dataset: {error}") from None


def check_pictures(pictures):
    """UserError that names files which are missing or do not begin as pictures do, before hours of training.

    Args:
        pictures (PictureSet).
    """
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


def class_names(job, pictures=None):
    """One name for each class: the configuration's, else the data's, else ImageNet's for 1000 classes, else numbers.

    Args:
        job: from `classification.config.load`.
        pictures (PictureSet | None): None asks the training data, if they are there.

    Raises:
        UserError: class_names that cannot be read or are not num_classes different names.
    """
    names = job.class_names
    if names is None:
        names = job.train_dataset.class_names() if pictures is None else pictures.classes
        if names is None or len(names) != job.num_classes:
            names = NAMES if job.num_classes == len(NAMES) else [f"class {i}" for i in range(job.num_classes)]
        return list(names)
    if isinstance(names, str):
        try:
            names = [line.strip() for line in Path(names).read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{job.path}: class_names {job.class_names} cannot be read ({error})") from error
    if not isinstance(names, list) or len(names) != job.num_classes or len(set(map(str, names))) != len(names):
        raise UserError(
            f"{job.path}: class_names must be {job.num_classes} different names, in a list or in the lines of a file"
        )
    return [str(name) for name in names]


def input_size(preprocessing):
    """(height, width) in pixels that every picture has when it is prepared; None when it depends on the picture."""
    if preprocessing.crop is not None:
        return (preprocessing.crop, preprocessing.crop)
    return tuple(preprocessing.resize)[::-1] if isinstance(preprocessing.resize, (list, tuple)) else None


def network_input(image, preprocessing):
    """What `images.prepare` makes of a picture; UserError when it is smaller than a network takes."""
    values = prepare(image, preprocessing)
    if min(values.shape[1:]) < MIN_SIDE:
        raise UserError(
            f"is prepared to {values.shape[2]} x {values.shape[1]} pixels; both sides must be {MIN_SIDE} or more"
        )
    return values


class TrainSamples(paddle.io.Dataset):
    """Augmented pictures that follow from (seed, epoch, number of the picture), in any process and any order.

    Args:
        job: from `classification.config.load`.
        pictures (PictureSet).
        seed (int): from 0 on.
    """

    def __init__(self, job, pictures, seed):
        super().__init__()
        self.pictures, self.seed = pictures, seed
        self.preprocessing = job.preprocessing
        steps = job.transforms or [RandomResizedCrop(size=self.preprocessing.crop or 224), RandomFlip()]
        self.before = [step for step in steps if not isinstance(step, AFTER_NORMALIZING)]
        self.after = [step for step in steps if isinstance(step, AFTER_NORMALIZING)]

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, key):
        """(epoch, number) -> {"img": float32 (3, H, W), "label": int64}.

        A UserError is returned, not raised, because Paddle loses what is raised in a worker.
        """
        epoch, index = key
        rng = np.random.default_rng([self.seed, epoch, index])
        try:
            image = Image.fromarray(self.pictures.read(index))
        except UserError as error:
            return UserError(f"train_dataset: {error}")
        for step in self.before:
            image = step(image, rng)
        recipe = self.preprocessing
        values = normalize(np.asarray(image), recipe.channels, recipe.mean, recipe.std)
        for step in self.after:
            values = step(values, rng)
        return {"img": values, "label": self.pictures.labels[index]}

    def files(self, index):
        """The name of a picture's file, as text."""
        return self.pictures.name(index)


class EvalSamples(paddle.io.Dataset):
    """Pictures as their weights want them.

    Args:
        pictures (PictureSet).
        preprocessing (weights.catalog.Preprocessing).
    """

    def __init__(self, pictures, preprocessing):
        super().__init__()
        self.pictures, self.preprocessing = pictures, preprocessing
        self.size = input_size(preprocessing)
        if pictures.in_memory and self.size is None and preprocessing.resize is None:
            self.size = pictures.pictures.shape[1:3]

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, key):
        """(0, number) -> {"img": float32 (3, H, W), "label": int64}; a picture that cannot be read has label -1."""
        _, index = key
        try:
            return {"img": self._prepared(index), "label": self.pictures.labels[index]}
        except UserError:
            return {"img": np.zeros((3, *(self.size or (32, 32))), np.float32), "label": np.int64(-1)}

    def parts(self, batch_size, rank=0, ranks=1):
        """The numbers of the pictures of each batch of this process; pictures that come in many sizes are alone."""
        batch_size = batch_size if self.size else 1
        numbers = list(range(rank, len(self), ranks))
        return [numbers[i : i + batch_size] for i in range(0, len(numbers), batch_size)]

    def batches(self, parts, workers=0):
        """Yields (numbers (N,), Tensor (N, 3, H, W), labels (N,)) for each of `parts`."""
        for batch, data in load(self, [[(0, number) for number in part] for part in parts], workers):
            yield np.array([number for _, number in batch]), data["img"], data["label"].numpy()

    def fault(self, index):
        """Why a picture cannot be read, in one line without its name."""
        try:
            self._prepared(index)
        except UserError as error:
            return str(error).removeprefix(f"{self.pictures.name(index)}: ")
        return "it could not be read before, and can now"

    def _prepared(self, index):
        return network_input(self.pictures.read(index), self.preprocessing)
