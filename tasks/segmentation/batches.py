"""PaddleSeg's training pictures in batches that depend only on the seed and the iteration (see `training.batches`)."""

from __future__ import annotations

from typing import Any

import paddle

from ...errors import UserError
from ...training.batches import generators_at
from ...training.loading import files_of, unprepared

# What PaddleSeg's transforms add for evaluation only.
_EVALUATION_KEYS = ("trans_info", "gt_fields")


def sampler(dataset: paddle.io.Dataset, batch_size: int) -> paddle.io.DistributedBatchSampler:
    """The sampler for `training.batches.Batches`, with PaddleSeg's order of pictures.

    An epoch leaves out the last pictures when they do not fill a batch. Each process gets its own part.
    """
    return paddle.io.DistributedBatchSampler(dataset, batch_size, shuffle=True, drop_last=True)


class SeededDataset(paddle.io.Dataset):
    """A data set whose augmentation depends only on (seed, epoch, number of the picture), not on process or order.

    Args:
        dataset: a data set of PaddleSeg.
        seed: 0 or more.
    """

    def __init__(self, dataset: Any, seed: int):
        super().__init__()
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any] | UserError:
        """(epoch, number) -> dict of the arrays img (3, H, W), label (H, W) and what else training needs.

        Returns a UserError instead of raising it, because Paddle loses what a worker raises.
        """
        epoch, index = key
        try:
            with generators_at(self.seed, epoch, index):
                data = self.dataset[index]
        except Exception as error:
            return unprepared("train_dataset", self.files(index), error)
        return {name: value for name, value in data.items() if name not in _EVALUATION_KEYS}

    def files(self, index: int) -> str:
        """The names of a picture's files, for messages."""
        return files_of(self.dataset, index)
