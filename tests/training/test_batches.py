"""The pictures that each process gets in each iteration. (The tests of the tasks cover reading them.)"""

from itertools import chain

import numpy as np

from densebone.training.batches import Batches, EpochSampler, generators_at, seeds


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
