"""Which pictures a sheet shows, and how large."""

import numpy as np
import pytest

from densebone import UserError
from densebone.tasks.browsing import fit_into_cell, prepared_samples, size_in_cell


class Numbers:
    """A data set of five pictures; the fourth cannot be prepared when asked for."""

    def __init__(self, broken=None):
        self.broken = broken

    def __len__(self):
        return 5

    def __getitem__(self, key):
        epoch, number = key
        return UserError("broken") if number == self.broken else {"epoch": epoch, "number": number}


def test_every_picture_comes_once_before_one_comes_again():
    found = list(prepared_samples(Numbers(), 12, seed=3))
    assert sorted(number for number, _ in found[:5]) == [0, 1, 2, 3, 4]
    assert [data["epoch"] for _, data in found] == [0] * 5 + [1] * 5 + [2] * 2
    assert all(number == data["number"] for number, data in found)
    assert [number for number, _ in prepared_samples(Numbers(), 12, seed=3)] == [number for number, _ in found]


def test_a_picture_that_cannot_be_prepared_raises():
    with pytest.raises(UserError, match="broken"):
        list(prepared_samples(Numbers(broken=3), 5, seed=0))


def test_the_longer_side_fills_the_cell():
    assert size_in_cell(np.zeros((50, 100, 3)), 64) == (64, 32)
    assert size_in_cell(np.zeros((1000, 1, 3)), 64) == (1, 64)
    assert fit_into_cell(np.zeros((50, 100, 3), np.uint8), 64).size == (64, 32)
