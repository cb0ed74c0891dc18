"""Dividing a data set into train, val and test: by seed, stratified by class, pictures of one video kept together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from ..errors import UserError

GROUPINGS = ("auto", "none", "folder", "prefix")
#: pictures from which on a test part is set apart when nobody says how much
WITH_TEST = 200
# A grouping is taken by itself when it leaves enough groups, of a few pictures each, and none holds most pictures.
_LEAST_GROUPS, _LEAST_PICTURES, _LARGEST = 10, 3, 0.2


def default_shares(pictures: int) -> dict[str, float]:
    """The share of each part when nobody says: 70, 20 and 10 % from `WITH_TEST` pictures on, else 80 and 20 %."""
    return {"train": 0.7, "val": 0.2, "test": 0.1} if pictures >= WITH_TEST else {"train": 0.8, "val": 0.2}


def group_names(names: Sequence[str], by: str = "auto") -> tuple[list[str], str]:
    """The group of each picture, such as the video that it is from.

    Args:
        names: of the pictures, with folders.
        by: "folder", "prefix" (the file's name without the number at its end), "none" (every picture alone), or "auto",
            which takes the prefixes, else the folders, where these make many groups of a few pictures.

    Returns:
        (a group for each picture, which grouping it is).
    """
    folders = [str(PurePosixPath(name).parent) for name in names]
    prefixes = [f"{folder}/{_prefix(PurePosixPath(name).stem)}" for folder, name in zip(folders, names)]
    if by == "folder":
        return folders, by
    if by == "prefix":
        return prefixes, by
    if by == "auto":
        for groups, what in ((prefixes, "prefix"), (folders, "folder")):
            counts = np.unique(groups, return_counts=True)[1] if groups else np.zeros(0)
            enough = len(counts) >= _LEAST_GROUPS and len(names) >= _LEAST_PICTURES * len(counts)
            if enough and counts.max() <= _LARGEST * len(names):
                return groups, what
    return list(names), "none"


def _prefix(stem):
    return re.sub(r"[-_. ]*(frame|img|image|f)?[-_. ]*\d+$", "", stem, flags=re.IGNORECASE)


def split(
    groups: Sequence[str], classes: Sequence[Sequence[int]], shares: Mapping[str, float], seed: int = 0
) -> dict[str, list[int]]:
    """Divides pictures so that every part has about its share of the pictures and of each class.

    Groups are dealt out whole, those with the rarest classes first (Sechidis et al., 2011).

    Args:
        groups: the group of each picture.
        classes: the classes on each picture, one entry for each object.
        shares: part -> its share; together 1.
        seed: of the order among equals.

    Returns:
        {part: places of its pictures, sorted}. Every part gets at least one group.

    Raises:
        UserError: fewer groups than parts.
    """
    parts = list(shares)
    names = sorted(set(groups))
    if len(names) < len(parts):
        raise UserError(
            f"{len(groups)} pictures in {len(names)} groups cannot be divided into "
            f"{' and '.join(parts)}; give more pictures"
        )
    number = {name: place for place, name in enumerate(names)}
    size = np.zeros(len(names), np.int64)
    members: list[list[int]] = [[] for _ in names]
    count = 1 + max((c for row in classes for c in row), default=-1)
    holds = np.zeros((len(names), count), np.int64)
    for place, (group, row) in enumerate(zip(groups, classes)):
        size[number[group]] += 1
        members[number[group]].append(place)
        np.add.at(holds[number[group]], list(row), 1)
    chosen = _deal(size, holds, np.array([shares[part] for part in parts]), np.random.default_rng(seed))
    return {
        part: sorted(place for group in np.flatnonzero(chosen == index) for place in members[group])
        for index, part in enumerate(parts)
    }


def _deal(size, holds, shares, rng):
    """The part of each group."""
    chosen = np.full(len(size), -1)
    left = np.outer(holds.sum(0), shares)  # objects of each class that each part still wants
    room = size.sum() * shares  # pictures that it still wants
    order = rng.permutation(len(size))
    totals = holds.sum(0)
    for label in [*(c for c in np.argsort(totals, kind="stable") if totals[c]), None]:
        for group in order:
            if chosen[group] >= 0 or (label is not None and not holds[group, label]):
                continue
            wants = np.round(room, 9) if label is None else np.round(left[label], 9)
            best = np.flatnonzero(wants == wants.max())
            if len(best) > 1:
                best = best[np.round(room[best], 9) == np.round(room[best], 9).max()]
            part = int(best[0] if len(best) == 1 else rng.choice(best))
            chosen[group] = part
            left[:, part] -= holds[group]
            room[part] -= size[group]
    for part in range(len(shares)):  # a part that got nothing takes the smallest group of the largest part
        if not (chosen == part).any():
            giver = np.bincount(chosen, size, len(shares)).argmax()
            taken = np.flatnonzero(chosen == giver)
            chosen[taken[size[taken].argmin()]] = part
    return chosen


def shares_of(val: float | None, test: float | None, pictures: int) -> dict[str, float]:
    """The share of each part where the user says some of them.

    Raises:
        UserError: a share that is no share, or no pictures left to train on.
    """
    shares = default_shares(pictures)
    for name, given in (("val", val), ("test", test)):
        if given is not None and not 0 <= given < 1:
            raise UserError(f"--{name} is {given}; a share from 0 to less than 1 is expected, such as 0.2")
    if val is not None or test is not None:
        shares = {"val": shares["val"] if val is None else val, "test": shares.get("test", 0) if test is None else test}
        shares = {"train": 1 - sum(shares.values()), **{part: share for part, share in shares.items() if share}}
    if shares["train"] <= 0:
        raise UserError("--val and --test leave no pictures to train on; together they must be less than 1")
    return shares
