"""The pictures that each process gets in each iteration. (The tests of the tasks cover reading them.)"""

import os
import signal
from itertools import chain

import numpy as np
import pytest

from densebone.errors import UserError
from densebone.training import batches as module
from densebone.training.batches import Batches, EpochSampler, generators_at, load, seeds


def epoch(sampler, number):
    sampler.set_epoch(number)
    return list(sampler)


def test_processes_have_shares_without_overlap_that_make_the_whole_batch():
    whole = EpochSampler(23, 6, seed=3)
    shares = [EpochSampler(23, 2, seed=3, rank=rank, ranks=3) for rank in range(3)]
    assert [len(sampler) for sampler in (whole, *shares)] == [3] * 4
    for number in range(3):
        batches = epoch(whole, number)
        assert len(set(chain(*batches))) == 18
        parts = [epoch(sampler, number) for sampler in shares]
        assert [list(chain(*together)) for together in zip(*parts)] == batches
    assert epoch(whole, 0) != epoch(whole, 1)
    assert epoch(EpochSampler(23, 6, seed=4), 0) != epoch(whole, 0)
    assert len(EpochSampler(5, 2, 0, ranks=3)) == 0


def test_accumulated_batches_make_the_whole_batch():
    large = list(Batches(EpochSampler(23, 6, seed=3), 0, 7))
    small = list(Batches(EpochSampler(23, 3, seed=3), 0, 7, accumulate=2))
    assert Batches(EpochSampler(23, 3, seed=3), 0, 7, accumulate=2).per_epoch == 3  # one of seven batches is left out
    assert len(small) == len(Batches(EpochSampler(23, 3, seed=3), 0, 7, accumulate=2)) == 14
    assert [a + b for a, b in zip(small[::2], small[1::2])] == large
    assert [key[0] for key in large[2]] == [0] * 6 and [key[0] for key in large[3]] == [1] * 6


def test_they_start_anywhere():
    whole = list(Batches(EpochSampler(11, 2, seed=3), 0, 7, accumulate=2))
    for start in range(9):
        assert list(Batches(EpochSampler(11, 2, seed=3), start, 7, accumulate=2)) == whole[2 * start :]


def test_seeds():
    assert seeds(1, 2) == seeds(1, 2)
    assert len({tuple(seeds(*numbers)) for numbers in [(1, 2), (2, 1), (1,), (1, 2, 3)]}) == 4


class Numbers:
    """A data set whose picture 4 cannot be read."""

    def __getitem__(self, key):
        if key[1] == 4:
            return UserError("train_dataset: picture 4 is gone")
        return {"img": np.full((1, 2, 2), key[1], "float32"), "label": np.int64(key[0])}

    def __len__(self):
        return 6


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_loaded(workers):
    class Two:
        def __iter__(self):
            return iter([[(0, 1), (0, 2)], [(1, 3), (1, 4)]])

        def __len__(self):
            return 2

    loaded = load(Numbers(), Two(), workers)
    batch, data = next(loaded)
    assert batch == [(0, 1), (0, 2)]
    assert data["img"].numpy()[:, 0, 0, 0].tolist() == [1, 2] and data["label"].tolist() == [0, 0]
    with pytest.raises(UserError, match="picture 4 is gone"):
        next(loaded)


class Pictures:
    """Pictures of one value. Reading number 5 ends the process that does, as the system does when memory is short."""

    def __init__(self, ends_at=None):
        self.ends_at = ends_at

    def __len__(self):
        return 12

    def __getitem__(self, key):
        if key[1] == self.ends_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"img": np.full((1, 4, 4), key[1], np.float32)}

    def files(self, number):
        return f"{number}.png"


BATCHES = [[(0, number), (0, number + 1)] for number in range(0, 12, 2)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_the_system_ends_is_named_with_its_picture(workers):
    before = signal.getsignal(signal.SIGCHLD)
    try:
        with pytest.raises(UserError, match=r"^a process that reads pictures was ended by the system at 5.png; mostly"):
            for batch, data in load(Pictures(ends_at=5), BATCHES, workers):
                assert data["img"][:, 0, 0, 0].tolist() == [number for _, number in batch]
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("free", [0, 64 << 20, None])
def test_workers_send_batches_through_pipes_where_shared_memory_is_small(free, monkeypatch):
    """64 MB is what a container has by default; None: there is none at all."""

    def disk_usage(path):
        assert path == "/dev/shm"
        if free is None:
            raise FileNotFoundError(path)
        return type("Usage", (), {"free": free})

    used = []
    loader = module.paddle.io.DataLoader
    monkeypatch.setattr(module.shutil, "disk_usage", disk_usage)
    monkeypatch.setattr(
        module.paddle.io, "DataLoader",
        lambda *arguments, **options: used.append(options["use_shared_memory"]) or loader(*arguments, **options),
    )  # fmt: skip
    got = [data["img"][:, 0, 0, 0].tolist() for _, data in load(Pictures(), BATCHES, 2)]
    assert got == [[number for _, number in batch] for batch in BATCHES]
    assert used == [False]


def test_generators_are_as_before_after_a_block():
    np.random.seed(3)
    expected = np.random.random(2)
    np.random.seed(3)
    first = np.random.random()
    with generators_at(1, 2):
        drawn = np.random.random()
    with generators_at(1, 2):
        assert np.random.random() == drawn
    assert [first, np.random.random()] == expected.tolist()
