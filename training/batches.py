"""Batches that depend only on the seed and the iteration, not on the workers or on where a run was resumed."""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from copy import copy
from functools import partial
from itertools import count, islice
from typing import Any

import numpy as np
import paddle
from paddle.io.dataloader.collate import default_collate_fn

from ..errors import UserError

_ERROR = "error"


def seeds(*numbers: int) -> list[int]:
    """Two seeds, 0 to 2^32 - 1, computed from integers of at least 0. Other integers give unrelated seeds."""
    return np.random.SeedSequence(numbers).generate_state(2).tolist()


class EpochSampler(paddle.io.BatchSampler):
    """The batches of this process in one epoch. No picture comes twice, in this process or in another one.

    Together, the k-th batches of all processes are the batch that a single process would see with `ranks` times the
    batch size. Pictures that do not fill a batch in every process are left out; every epoch leaves out others.

    Args:
        pictures: number of pictures in the data set.
        batch_size: pictures per process.
        seed: of the order.
        rank: number of this process, from 0.
        ranks: number of processes.
    """

    def __init__(self, pictures: int, batch_size: int, seed: int, rank: int = 0, ranks: int = 1) -> None:
        self.pictures, self.batch_size, self.seed = pictures, batch_size, seed
        self.rank, self.ranks = rank, ranks
        self.epoch = 0

    def __len__(self) -> int:
        return self.pictures // (self.batch_size * self.ranks)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the next loop over the sampler, counted from 0."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.pictures)
        used = order[: len(self) * self.ranks * self.batch_size]
        yield from used.reshape(len(self), self.ranks, self.batch_size)[:, self.rank].tolist()


class Batches:
    """The batches of iterations `start` + 1 to `iters`, across epochs. Earlier batches are skipped, not loaded.

    Each batch is a list of (epoch, number of the picture).

    Args:
        sampler: has a length and `set_epoch`; iterating over it gives the batches of that epoch, lists of numbers.
        start: iterations already done.
        iters: iterations of the whole training.
        accumulate: batches per iteration. Batches that do not fill an iteration are left out of each epoch.
    """

    def __init__(self, sampler: Any, start: int, iters: int, accumulate: int = 1) -> None:
        self.sampler = sampler
        self.per_epoch = len(sampler) // accumulate  # in iterations
        self.start = start
        self.iters = iters
        self.accumulate = accumulate

    def __len__(self) -> int:
        return max(0, self.iters - self.start) * self.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return islice(self._endless(), len(self))

    def _endless(self) -> Iterator[list[tuple[int, int]]]:
        sampler = copy(self.sampler)  # a sampler may count epochs itself, and two loops may run at once
        first, done = divmod(self.start, self.per_epoch)
        for epoch in count(first):
            sampler.set_epoch(epoch)
            for batch in islice(sampler, done * self.accumulate, self.per_epoch * self.accumulate):
                yield [(epoch, index) for index in batch]
            done = 0


def load(
    dataset: paddle.io.Dataset, batches: Iterable[list[tuple[int, int]]], workers: int
) -> Iterator[tuple[list[tuple[int, int]], dict[str, Any]]]:
    """Yields (batch, {name: Tensor with N in front}) for every batch of `batches`.

    Args:
        dataset: maps (epoch, number) to a dict of arrays, one of them `img`. For a bad picture it returns a UserError
            instead of raising it, because Paddle loses exceptions of workers.
        batches: a `Batches`.
        workers: processes that load beside this one; with 0 this process loads.

    Raises:
        UserError: a picture cannot be read or transformed, or one batch has pictures of several sizes.
    """
    for batch, data in zip(batches, _loaded(dataset, batches, workers)):
        if _ERROR in data:
            raise UserError(data[_ERROR])
        yield batch, data


def _loaded(dataset, batches, workers):
    if workers:
        return paddle.io.DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=_stack,
            worker_init_fn=partial(_end_with, os.getpid()),
            return_list=True,
        )
    # no DataLoader here: its thread would draw from the same random generators while the network draws from them
    stacked = (_stack([dataset[key] for key in batch]) for batch in batches)
    return ({k: paddle.to_tensor(v) if isinstance(v, np.ndarray) else v for k, v in data.items()} for data in stacked)


def _end_with(parent, _):
    """Ends this worker when its parent is gone, even by SIGKILL. Paddle's own check waits for a batch first."""

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _stack(samples):
    """Samples of one batch -> dict of arrays with N in front, or a dict with the text of the first error."""
    errors = [str(sample) for sample in samples if isinstance(sample, UserError)]
    shapes = {np.shape(sample["img"]) for sample in samples if not errors}
    if len(shapes) > 1:
        sizes = " and ".join(sorted(f"{shape[-1]} x {shape[-2]}" for shape in shapes))
        errors = [
            f"train_dataset gives pictures of different sizes for one batch ({sizes}); let its transforms end at one "
            f"size (Resize, RandomPaddingCrop of a segmenter, RandomResizedCrop of a classifier), or set batch_size=1"
        ]
    # the loader drops a batch that holds no array
    return {_ERROR: errors[0], "img": np.zeros(1, "float32")} if errors else default_collate_fn(samples)
