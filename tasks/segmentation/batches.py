"""PaddleSeg's training pictures in batches that follow from the seed and the iteration alone (see `loading`)."""

import random
from contextlib import contextmanager

import numpy as np
import paddle

from ...errors import UserError
from ...training.batches import seeds

# What PaddleSeg's transforms leave for evaluation alone.
_EVALUATION_KEYS = ("trans_info", "gt_fields")


def sampler(dataset, batch_size):
    """For `loading.Batches`: each epoch has the order in which PaddleSeg takes its pictures, and leaves out the last
    ones that do not fill a batch of `batch_size`; with several processes each gets its own part."""
    return paddle.io.DistributedBatchSampler(dataset, batch_size, shuffle=True, drop_last=True)


class SeededDataset(paddle.io.Dataset):
    """A data set whose augmentation follows from (seed, epoch, number of the picture), in any process and any order.

    Args:
        dataset: of PaddleSeg.
        seed (int): from 0 on.
    """

    def __init__(self, dataset, seed):
        super().__init__()
        self.dataset = dataset
        self.seed = seed

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, key):
        """(epoch, number) -> dict of the arrays img (3, H, W), label (H, W) and what else training needs.

        A UserError is returned, not raised, because Paddle loses what is raised in a worker.
        """
        epoch, index = key
        try:
            with _generators_at(self.seed, epoch, index):
                data = self.dataset[index]
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            return UserError(f"train_dataset: cannot prepare {self.files(index)}: {reason}")
        return {name: value for name, value in data.items() if name not in _EVALUATION_KEYS}

    def files(self, index):
        """The names of a picture's files, as text."""
        listed = getattr(self.dataset, "file_list", None)
        return " and ".join(map(str, listed[index])) if listed else f"picture {index}"


@contextmanager
def _generators_at(*numbers):
    """Python's and NumPy's global generators, which PaddleSeg's transforms draw from, seeded for a while."""
    before = random.getstate(), np.random.get_state()
    for seed, generator in zip(seeds(*numbers), (random, np.random)):
        generator.seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
