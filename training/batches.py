"""Batches that depend only on the seed and the iteration, not on the workers or on where a run was resumed."""

import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from itertools import count, islice
from multiprocessing import RawArray
from typing import Any

import numpy as np
import paddle
from paddle.io.dataloader.collate import default_collate_fn

from ..errors import UserError
from ..system.signals import children_may_end, leave_to_parent

_ERROR = "error"
#: where workers leave their batches for this process, and the free bytes from which they do: a small one fills up
_SHARED, _LEAST_SHARED = "/dev/shm", 1 << 30


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


def load(
    dataset: Any,
    batches: Iterable[list[tuple[int, int]]],
    workers: int,
    collate: Callable[[list[Any]], dict[str, Any]] | None = None,
) -> Iterator[tuple[list[tuple[int, int]], dict[str, Any]]]:
    """Yields (batch, {name: Tensor with N in front}) for every batch of `batches`.

    Args:
        dataset: maps (epoch, number) to a dict of arrays, one of them `img`. For a bad picture it returns a UserError
            instead of raising it, because Paddle loses exceptions of workers. `files(number)` names a picture.
        batches: a `Batches`.
        workers: processes that load beside this one; with 0 this process loads.
        collate: makes the dict of arrays of a list of samples; None stacks the arrays of each name. A UserError that it
            raises ends the loading.

    Raises:
        UserError: a picture cannot be read or transformed, one batch has pictures of several sizes, or a worker died.
    """
    stack = partial(_stack, collate=collate or stacked)
    for batch, data in zip(batches, _loaded(dataset, batches, workers, stack)):
        if _ERROR in data:
            raise UserError(data[_ERROR])
        yield batch, data


def _loaded(dataset, batches, workers, stack):
    if not workers:
        # no DataLoader here: its thread would draw from the same random generators while the network draws from them
        return (_tensors(stack([dataset[key] for key in batch])) for batch in batches)
    watched = _Watched(dataset, workers)
    loader = paddle.io.DataLoader(
        watched,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=stack,
        worker_init_fn=partial(_start_worker, os.getpid()),
        return_list=True,
        use_shared_memory=_has_shared_memory(),
    )
    return _until_a_worker_dies(loader, watched)


def _until_a_worker_dies(loader, watched):
    """The loader's batches. UserError in place of what Paddle raises when the system ends a worker."""
    iterator = iter(loader)
    # Paddle's handler would raise in the midst of a training step; its reader thread notices within 5 seconds
    children_may_end()
    try:
        yield from iterator
    except (RuntimeError, SystemError) as error:
        if not any(word in str(error) for word in ("worker", "DataLoader", "Blocking queue")):
            raise
        pictures = watched.pictures()
        raise UserError(
            f"a process that reads pictures was ended by the system{f' at {pictures}' if pictures else ''}; mostly it "
            f"had not enough memory, or {_SHARED} was full: use fewer or no workers (worker_num or num_workers), or a "
            f"smaller batch"
        ) from error


class _Watched(paddle.io.Dataset):
    """A data set that knows which picture each worker has in hand."""

    def __init__(self, dataset, workers):
        super().__init__()
        self.dataset = dataset
        self.numbers = RawArray("q", [-1] * workers)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, key):
        worker = paddle.io.get_worker_info()
        if worker is None:
            return self.dataset[key]
        self.numbers[worker.id] = key[1]
        sample = self.dataset[key]
        self.numbers[worker.id] = -1
        return sample

    def pictures(self):
        """The names of the pictures in hand."""
        return ", ".join(self.dataset.files(number) for number in self.numbers if number >= 0)


def _has_shared_memory():
    """Whether workers can leave batches in shared memory. Where it is small they send them through pipes."""
    try:
        return shutil.disk_usage(_SHARED).free >= _LEAST_SHARED
    except OSError:
        return False


def _start_worker(parent, _):
    """Leaves signals to the parent, and ends this worker when the parent is gone, even by SIGKILL.

    Paddle's own check waits for a batch first.
    """
    leave_to_parent()

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _stack(samples, collate):
    """The samples of one batch as a dict of arrays, or a dict with the text of the first error."""
    errors = [str(sample) for sample in samples if isinstance(sample, UserError)]
    if not errors:
        try:
            return collate(samples)
        except UserError as error:
            errors = [str(error)]
    return {_ERROR: errors[0], "img": np.zeros(1, "float32")}  # the loader drops a batch that holds no array


def stacked(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """The arrays of each name with N in front. UserError where the pictures differ in size."""
    shapes = {np.shape(sample["img"]) for sample in samples}
    if len(shapes) > 1:
        sizes = " and ".join(sorted(f"{shape[-1]} x {shape[-2]}" for shape in shapes))
        raise UserError(
            f"train_dataset gives pictures of different sizes for one batch ({sizes}); let its transforms end at one "
            f"size (Resize, RandomPaddingCrop of a segmenter, RandomResizedCrop of a classifier), or set batch_size=1"
        )
    return default_collate_fn(samples)


def _tensors(value):
    """Arrays in dicts and lists as tensors; all else as it is."""
    if isinstance(value, np.ndarray):
        return paddle.to_tensor(value)
    if isinstance(value, dict):
        return {key: _tensors(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_tensors(part) for part in value]
    return value
