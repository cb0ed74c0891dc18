"""The benchmark of averaged gradients on a tiny case; no test judges a time."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ["--models", "hardnet39ds", "--batch", "2", "--size", "32"]


@pytest.fixture
def data_parallel(monkeypatch):
    """The benchmark, which is not installed."""
    for folder in (ROOT, ROOT / "benchmarks"):
        monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop("benchmarks.data_parallel", None)
    from benchmarks import data_parallel

    return data_parallel


def test_an_iteration_takes_as_long_as_its_slowest_process(data_parallel, capsys):
    assert data_parallel.slowest([[1.0, 5.0, 2.0], [3.0, 4.0, 2.5]]) == [3.0, 5.0, 2.5]
    assert data_parallel.main(["--iterations", "1"]) == 2
    assert "at least 2 iterations" in capsys.readouterr().err


@pytest.mark.acceptance
def test_all_ways_of_averaging_give_the_same_losses(data_parallel, capfd):
    """A minute; its own processes. Without averaging the losses are others, so it can be told."""
    assert data_parallel.main([*TINY, "--processes", "2", "--iterations", "2", "--rounds", "1"]) == 0
    rows = [row.split(" | ") for row in capfd.readouterr().out.splitlines() if row.startswith("| hardnet39ds")]
    none, ours, flat, parallel = (float(row[-1].removesuffix(" |")) for row in rows)
    assert none > 1e-3 and ours < 1e-5 and flat < 1e-5 and parallel == 0


@pytest.mark.acceptance
def test_what_is_said_when_a_process_is_killed(data_parallel, capfd):
    """A minute. The page says that DataParallel aborts; should a Paddle no longer do so, this fails."""
    assert data_parallel.main([*TINY, "--kill"]) == 0
    ours, flat, parallel = capfd.readouterr().out.splitlines()
    for line in (ours, flat):
        assert re.search(r"status 1 after .* s: densebone.errors.UserError: process 1 of 2 lost the others", line)
    assert "status -6 after" in parallel
