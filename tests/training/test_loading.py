"""Batches are read in this process or in workers; what cannot be read ends with a line and never hangs."""

import os
import signal

import numpy as np
import pytest

from densebone.errors import UserError
from densebone.training import loading
from densebone.training.loading import Loader, load


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
    loader = loading.paddle.io.DataLoader
    monkeypatch.setattr(loading.shutil, "disk_usage", disk_usage)
    monkeypatch.setattr(
        loading.paddle.io, "DataLoader",
        lambda *arguments, **options: used.append(options["use_shared_memory"]) or loader(*arguments, **options),
    )  # fmt: skip
    got = [data["img"][:, 0, 0, 0].tolist() for _, data in load(Pictures(), BATCHES, 2)]
    assert got == [[number for _, number in batch] for batch in BATCHES]
    assert used == [False]


class Plain:
    """A toolkit's data set, which raises for picture 5."""

    file_list = tuple((f"{number}.jpg", f"{number}.png") for number in range(8))

    def __len__(self):
        return 8

    def __getitem__(self, number):
        if number == 5:
            raise AttributeError("'NoneType' object\n has no attribute 'astype'")
        return {"img": np.full((1, 2, 2), number), "trans_info": [("resize", (number, 2))], "name": str(number)}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_toolkit_loads_for_evaluation(workers):
    loader = Loader(
        Plain(), batch_sampler=[[0], [1, 2]], num_workers=workers, return_list=True, use_shared_memory=False
    )
    assert len(loader) == 2
    first, second = loader
    assert first["img"].shape == [1, 1, 2, 2] and second["img"][:, 0, 0, 0].tolist() == [1, 2]
    assert second["name"] == ["1", "2"]
    assert [int(value[0]) for value in first["trans_info"][0][1]] == [0, 2]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_an_evaluation_cannot_read_is_an_error(workers):
    loader = Loader(Plain(), batch_sampler=[[4], [5], [6]], num_workers=workers)
    with pytest.raises(UserError, match=r"^val_dataset: 5\.jpg: does not exist; give a picture file$"):
        list(loader)
