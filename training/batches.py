"""Batches that follow from the seed and the iteration alone, not from workers or from where a run was resumed."""

import os
import threading
import time
from copy import copy
from functools import partial
from itertools import count, islice

import numpy as np
import paddle
from paddle.io.dataloader.collate import default_collate_fn

from ..errors import UserError

_ERROR = "error"


def seeds(*numbers):
    """Two seeds, 0 to 2^32 - 1, that follow from integers from 0 on; other integers give seeds unrelated to them."""
    return np.random.SeedSequence(numbers).generate_state(2).tolist()


class EpochSampler(paddle.io.BatchSampler):
    """The batches of this process in one epoch: every picture at most once, in one process alone.

    The processes' batches of one place are together the batch that one process would have with `ranks` times as many
    pictures. What does not fill a batch in every process is left out, in each epoch other pictures.

    Args:
        pictures (int): in the data set.
        batch_size (int): pictures a process.
        seed (int): of the order.
        rank, ranks (int): which process of how many.
    """

    def __init__(self, pictures, batch_size, seed, rank=0, ranks=1):
        self.pictures, self.batch_size, self.seed = pictures, batch_size, seed
        self.rank, self.ranks = rank, ranks
        self.epoch = 0

    def __len__(self):
        return self.pictures // (self.batch_size * self.ranks)

    def set_epoch(self, epoch):
        """The epoch that the next loop goes over, from 0 on."""
        self.epoch = epoch

    def __iter__(self):
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.pictures)
        used = order[: len(self) * self.ranks * self.batch_size]
        yield from used.reshape(len(self), self.ranks, self.batch_size)[:, self.rank].tolist()


class Batches:
    """The batches of the iterations after `start` up to `iters`, across epochs, without loading those before.

    Each is a list of (epoch, number of the picture).

    Args:
        sampler: gives the batches, lists of numbers, of the epoch that its `set_epoch` was told; and its length.
        start (int): iterations that are done.
        iters (int): iterations of the whole training.
        accumulate (int): batches that one iteration takes; what does not fill an iteration is left out of each epoch.
            Default 1.
    """

    def __init__(self, sampler, start, iters, accumulate=1):
        self.sampler = sampler
        self.per_epoch = len(sampler) // accumulate  # in iterations
        self.start = start
        self.iters = iters
        self.accumulate = accumulate

    def __len__(self):
        return max(0, self.iters - self.start) * self.accumulate

    def __iter__(self):
        return islice(self._endless(), len(self))

    def _endless(self):
        sampler = copy(self.sampler)  # it may count epochs itself, and two loops may be under way
        first, done = divmod(self.start, self.per_epoch)
        for epoch in count(first):
            sampler.set_epoch(epoch)
            for batch in islice(sampler, done * self.accumulate, self.per_epoch * self.accumulate):
                yield [(epoch, index) for index in batch]
            done = 0


def load(dataset, batches, workers):
    """Yields (batch of `Batches`, dict of name to Tensor with N in front) for every batch.

    Args:
        dataset (paddle.io.Dataset): (epoch, number) -> dict of arrays, one of them `img`, or a UserError, which is
            returned, not raised, because Paddle loses what is raised in a worker.
        batches (Batches): which, in which order.
        workers (int): processes that load beside this one; with 0 this process loads.

    Raises:
        UserError: a picture that cannot be read or transformed; pictures of several sizes in one batch.
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
    # not with DataLoader: its thread would draw from the same generators at the same time as the network
    stacked = (_stack([dataset[key] for key in batch]) for batch in batches)
    return ({k: paddle.to_tensor(v) if isinstance(v, np.ndarray) else v for k, v in data.items()} for data in stacked)


def _end_with(parent, _):
    """Ends this worker when its parent is gone, also by SIGKILL: Paddle's own watch waits for a batch first."""

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _stack(samples):
    """What the data set gave for a batch -> dict of arrays with N in front, or of the text of an error."""
    errors = [str(sample) for sample in samples if isinstance(sample, UserError)]
    shapes = {np.shape(sample["img"]) for sample in samples if not errors}
    if len(shapes) > 1:
        sizes = " and ".join(sorted(f"{shape[-1]} x {shape[-2]}" for shape in shapes))
        errors = [
            f"train_dataset gives pictures of different sizes for one batch ({sizes}); let its transforms end at one "
            f"size (Resize, RandomPaddingCrop of a segmenter, RandomResizedCrop of a classifier), or set batch_size=1"
        ]
    # the loader does not pass on a batch without an array
    return {_ERROR: errors[0], "img": np.zeros(1, "float32")} if errors else default_collate_fn(samples)
