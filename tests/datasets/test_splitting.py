"""Dividing: shares of pictures and classes, groups that stay together, the same division for the same seed."""

import numpy as np
import pytest

from densebone.datasets import splitting
from densebone.errors import UserError


def test_parts_have_their_share_of_every_class():
    rng = np.random.default_rng(0)
    classes = [rng.choice(5, rng.integers(0, 6), p=[0.6, 0.25, 0.1, 0.04, 0.01]).tolist() for _ in range(1000)]
    shares = {"train": 0.7, "val": 0.2, "test": 0.1}
    parts = splitting.split([str(i) for i in range(1000)], classes, shares, seed=1)
    assert sorted(place for part in parts.values() for place in part) == list(range(1000))
    totals = np.bincount([c for row in classes for c in row], minlength=5)
    for part, places in parts.items():
        counts = np.bincount([c for place in places for c in classes[place]], minlength=5)
        assert abs(len(places) / 1000 - shares[part]) < 0.02
        assert (np.abs(counts - shares[part] * totals) <= np.maximum(3, 0.05 * totals)).all(), (part, counts, totals)
    assert parts == splitting.split([str(i) for i in range(1000)], classes, shares, seed=1)
    assert parts != splitting.split([str(i) for i in range(1000)], classes, shares, seed=2)


def test_groups_stay_together():
    names = [f"video{v}_frame{i:04d}.jpg" for v in range(20) for i in range(30)]
    groups, how = splitting.group_names(names)
    assert how == "prefix" and len(set(groups)) == 20
    parts = splitting.split(groups, [[0]] * len(names), {"train": 0.8, "val": 0.2}, seed=0)
    assert not {groups[i] for i in parts["train"]} & {groups[i] for i in parts["val"]}
    assert 0.15 < len(parts["val"]) / len(names) < 0.25


@pytest.mark.parametrize(
    ("names", "by", "how", "count"),
    [
        ([f"IMG_{i:04d}.jpg" for i in range(50)], "auto", "none", 50),
        ([f"{i:012d}.jpg" for i in range(50)], "auto", "none", 50),
        ([f"day{d}/{i}.jpg" for d in range(12) for i in range(9)], "auto", "prefix", 12),
        ([f"day{d}/{chr(97 + i)}.jpg" for d in range(12) for i in range(9)], "auto", "folder", 12),
        ([f"day{d}/{i}.jpg" for d in range(2) for i in range(9)], "folder", "folder", 2),
        ([f"day{d}/{i}.jpg" for d in range(12) for i in range(9)], "none", "none", 108),
    ],
)
def test_groupings(names, by, how, count):
    groups, found = splitting.group_names(names, by)
    assert (found, len(set(groups))) == (how, count)


def test_small_sets_and_shares():
    parts = splitting.split(["a", "b"], [[0], [0]], {"train": 0.8, "val": 0.2})
    assert sorted(map(len, parts.values())) == [1, 1]
    assert splitting.shares_of(None, None, 1000) == {"train": 0.7, "val": 0.2, "test": 0.1}
    assert splitting.shares_of(None, None, 100) == {"train": 0.8, "val": 0.2}
    assert splitting.shares_of(0.25, 0, 1000) == {"train": 0.75, "val": 0.25}
    with pytest.raises(UserError, match=r"--val is 20\.0; a share from 0"):
        splitting.shares_of(20.0, None, 10)
    with pytest.raises(UserError, match="leave no pictures to train on"):
        splitting.shares_of(0.6, 0.5, 10)
    with pytest.raises(UserError, match="1 pictures in 1 groups"):
        splitting.split(["a"], [[0]], {"train": 0.8, "val": 0.2})
