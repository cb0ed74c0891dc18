"""PaddleDetection's training pictures in batches that depend only on seed and epoch (see `training.batches`)."""

from __future__ import annotations

import logging
from typing import Any

import paddle
from ppdet.core.workspace import create

from ...errors import UserError
from ...training.batches import generators_at
from ...training.loading import files_of, unprepared

Key = tuple[int, int]


class Samples(paddle.io.Dataset):
    """TrainDataset with TrainReader's transforms. What they draw depends on (seed, epoch, number), not on the process.

    Args:
        seed: 0 or more.

    Attributes:
        sampler: the batches of an epoch in PaddleDetection's order, for `training.batches.Batches`.
    """

    def __init__(self, seed: int):
        super().__init__()
        logging.getLogger("ppdet.data.reader").setLevel(logging.ERROR)  # it prints a stack before it raises
        reader = create("TrainReader")
        self.dataset = create("TrainDataset")()
        self.dataset.check_or_download_dataset()
        self.dataset.parse_dataset()
        self.dataset.set_transform(reader._sample_transforms)
        self.dataset.set_kwargs(**reader.kwargs)
        self.sampler = paddle.io.DistributedBatchSampler(
            self.dataset, reader.batch_size, shuffle=reader.shuffle, drop_last=reader.drop_last
        )
        self.together, self.seed = reader._batch_transforms, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> tuple[Key, dict[str, Any]] | UserError:
        """(epoch, number) -> (the same, the prepared sample).

        Returns a UserError instead of raising it, because Paddle loses what a worker raises.
        """
        epoch, index = key
        self.dataset.set_epoch(epoch)  # which mixup and mosaic end at
        try:
            with generators_at(self.seed, epoch, index):
                return key, self.dataset[index]
        except Exception as error:
            return unprepared("TrainDataset", self.files(index), error)

    def collate(self, samples: list[tuple[Key, dict[str, Any]]]) -> dict[str, Any]:
        """A batch as the detector takes it, by TrainReader's batch transforms; UserError where one fails."""
        keys = [key for key, _ in samples]
        try:
            with generators_at(self.seed, *keys[0], 1):
                return self.together([sample for _, sample in samples])
        except Exception as error:
            files = ", ".join(self.files(index) for _, index in keys)
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"TrainReader.batch_transforms fails on {files}: {reason}") from error

    def files(self, index: int) -> str:
        """The name of a picture's file, for messages."""
        return files_of(self.dataset, index)
