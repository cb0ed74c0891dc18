"""The time that is left, in runs on a clock of their own."""

import random

import pytest

from densebone.training.pace import Pace


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def simulate(iters, save_interval, step, snapshot, evaluation, evaluates=True):
    """Yields (share of the run that is over, what the pace says is left, what is left) at every iteration."""
    clock, estimates = Clock(), []
    pace = Pace(iters, save_interval, evaluates, clock)
    for iteration in range(1, iters + 1):
        clock.now += step(iteration)
        pace.iterated()
        estimates.append((clock.now, pace.left(iteration), pace.is_whole()))
        if iteration % save_interval == 0 or iteration == iters:
            with pace.measured("snapshot"):
                clock.now += snapshot
            if evaluates:
                with pace.measured("evaluation"):
                    clock.now += evaluation(iteration)
    return [((now - 100) / (clock.now - 100), left, clock.now - now, whole) for now, left, whole in estimates]


def at(runs, share):
    return next(row for row in runs if row[0] >= share)


UNEVEN = random.Random(0)
RUNS = {
    "even": (lambda i: 0.5, lambda i: 40.0),
    "uneven steps": (lambda i: UNEVEN.uniform(0.1, 0.9), lambda i: 40.0),
    "a slow first step": (lambda i: 30.0 if i == 1 else 0.5, lambda i: 40.0),
    "a slow first evaluation": (lambda i: 0.5, lambda i: 60.0 if i == 100 else 40.0),
    "evaluations that last longer than training": (lambda i: 0.05, lambda i: 40.0),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_estimate_at_30_percent_is_within_15_percent(name):
    step, evaluation = RUNS[name]
    for share in (0.3, 0.6):
        _, left, truth, whole = at(simulate(1000, 100, step, 3.0, evaluation), share)
        assert whole and left == pytest.approx(truth, rel=0.15)


def test_a_change_of_speed_is_followed():
    runs = simulate(1000, 100, lambda i: 0.2 if i < 500 else 0.8, 0.0, lambda i: 0.0, evaluates=False)
    _, left, truth, _ = runs[699]
    assert left == pytest.approx(truth, rel=0.15)


def test_the_last_iteration_leaves_its_own_snapshot_and_evaluation():
    runs = simulate(250, 100, lambda i: 1.0, 3.0, lambda i: 40.0)
    assert [runs[i - 1][1] for i in (200, 201, 250)] == pytest.approx([runs[i - 1][2] for i in (200, 201, 250)])
    assert runs[-1][2] == 43


def test_it_says_when_no_evaluation_is_measured_yet():
    runs = simulate(300, 100, lambda i: 1.0, 3.0, lambda i: 40.0)
    assert [row[3] for row in runs] == [False] * 100 + [True] * 200
    assert all(row[3] for row in simulate(300, 100, lambda i: 1.0, 3.0, lambda i: 40.0, evaluates=False))
