"""Reading ahead keeps the order and the bound; batches hold every array once."""

import threading
import time

import numpy as np
import pytest

from densebone.features.batches import batches
from densebone.system.ahead import ahead


def test_order_and_bound():
    started, lock = [], threading.Lock()

    def work(item):
        with lock:
            started.append(item)
        time.sleep(0.002 * (item % 3))
        return item * item

    taken = 0
    for item, future in ahead(work, range(50), 4, 6):
        assert item == taken and future.result() == item * item
        taken += 1
        assert max(started) - item <= 6
    assert taken == 50


def test_an_error_is_its_items_alone():
    def work(item):
        return 1 / item

    results = [(item, future.exception()) for item, future in ahead(work, [2, 0, 4], 2, 2)]
    assert [(item, type(error)) for item, error in results] == [
        (2, type(None)),
        (0, ZeroDivisionError),
        (4, type(None)),
    ]


def test_leaving_early_starts_no_more():
    started = []
    for item, _ in ahead(started.append, range(1000), 1, 4):
        if item == 3:
            break
    assert len(started) < 20


@pytest.mark.parametrize("size", [1, 3, 8])
def test_batches(size):
    rng = np.random.default_rng(0)
    arrays = [np.full((3, 4, int(rng.integers(4, 7))), number, np.float32) for number in range(40)]
    seen = []
    for keys, batch in batches(enumerate(arrays), size):
        assert 1 <= len(keys) == len(batch) <= size
        for key, array in zip(keys, batch):
            np.testing.assert_array_equal(array, arrays[key])
        seen += keys
    assert sorted(seen) == list(range(40))


def test_equal_shapes_make_full_batches():
    sizes = [len(keys) for keys, _ in batches(((i, np.zeros((3, 4, 4))) for i in range(20)), 8)]
    assert sizes == [8, 8, 4]
