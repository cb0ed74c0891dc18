"""How long networks take, in turns: forwards and backwards, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np

from ..engines import Engine

#: runs at the start of a turn that do not count: another network has evicted the caches
_WARM = 2
_LEAST, _MOST = 3, 60  # timed runs in a turn

#: a network's turns, each a list of the times of single runs in ms
Rounds = list[list[float]]


def take_turns(engines: Sequence[Engine], images: np.ndarray, rounds: int, seconds: float = 0.4) -> list[Rounds]:
    """Times engines in turns. Every other round goes backwards.

    Args:
        engines: what runs.
        images: (N, 3, H, W), the input of every run.
        rounds: turns of each engine.
        seconds: about how long a turn lasts.

    Returns:
        For each engine its rounds.
    """
    counts = [_fitting(engine, images, seconds) for engine in engines]
    times: list[Rounds] = [[] for _ in engines]
    for number in range(rounds):
        order = range(len(engines)) if number % 2 == 0 else reversed(range(len(engines)))
        for index in order:
            for _ in range(_WARM):
                engines[index].run(images)
            times[index].append([_timed(engines[index], images) for _ in range(counts[index])])
    return times


def _fitting(engine, images, seconds):
    """How many runs fit into a turn."""
    engine.run(images)
    taken = min(_timed(engine, images) for _ in range(2))
    return max(_LEAST, min(_MOST, int(1e3 * seconds / taken)))


def _timed(engine, images):
    """One run, ms."""
    begin = time.perf_counter()
    engine.run(images)
    return (time.perf_counter() - begin) * 1e3


def median(rounds: Rounds) -> float:
    """Median of all runs, ms."""
    return statistics.median(one for taken in rounds for one in taken)


def least(rounds: Rounds) -> float:
    """The shortest run, ms."""
    return min(one for taken in rounds for one in taken)


def ratio(rounds: Rounds, others: Rounds) -> float:
    """Time relative to another network: the median, over the rounds, of the ratio of the medians of a round."""
    return statistics.median(statistics.median(a) / statistics.median(b) for a, b in zip(rounds, others))
