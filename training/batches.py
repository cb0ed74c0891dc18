"""Batches that depend only on the seed and the iteration, not on the workers or on where a run was resumed."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from itertools import count, islice
from typing import Any

import numpy as np
import paddle


def seeds(*numbers: int) -> list[int]:
    """Two seeds, 0 to 2^32 - 1, computed from integers of at least 0. Other integers give unrelated seeds."""
    return np.random.SeedSequence(numbers).generate_state(2).tolist()


@contextmanager
def generators_at(*numbers: int) -> Iterator[None]:
    """Seeds Python's and NumPy's global generators, which the toolkits' transforms use, within the block."""
    before = random.getstate(), np.random.get_state()
    for seed, generator in zip(seeds(*numbers), (random, np.random)):
        generator.seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


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
