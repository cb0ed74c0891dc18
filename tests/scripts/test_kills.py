"""A command that is killed at any moment, and given again, does what an uninterrupted one does.

One command is killed once; tests/tasks/*/test_lifecycle.py kill trainings. DENSEBONE_KILLS=50 kills each of the nine
that often, at random moments, and prints in which phases; DENSEBONE_SEED=n takes other moments.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import writing

KILLS = int(os.environ.get("DENSEBONE_KILLS", 1))
COMMANDS = writing.COMMANDS if "DENSEBONE_KILLS" in os.environ else [writing.features]
SEED = int(os.environ.get("DENSEBONE_SEED", 0))
DENSEBONE = [sys.executable, "-m", "densebone.scripts"]


@pytest.fixture(autouse=True, scope="module")
def server():
    with writing.serving():
        yield


def run(command, folder, after=None):
    """Runs a command in a folder; kills it after some seconds unless it has ended. Returns (seconds, status)."""
    environment = {**os.environ, "DENSEBONE_HOME": str(folder / "home")}
    started = time.monotonic()
    process = subprocess.Popen(
        [*DENSEBONE, *map(str, command)], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=after)
        assert process.returncode == 0, output
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return time.monotonic() - started, process.returncode


def phase(folder, before):
    """What a kill met, told by what the command had left."""
    new = sorted({str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - before)
    new = [name for name in new if not name.endswith((".lock", "lock.json"))]
    if not new:
        return "before it wrote"
    if any(name.endswith(".part") or any(part.startswith(".") for part in Path(name).parts) for name in new):
        return "while it wrote"
    return "between files"


@pytest.mark.parametrize("prepared", COMMANDS, ids=lambda function: function.__name__)
def test_a_killed_command_given_again_does_its_work(prepared, tmp_path):
    rng = random.Random(SEED)
    whole = tmp_path / "whole"
    whole.mkdir()
    command, result = prepared(whole)
    seconds, _ = run(command, whole)
    expected = result(whole)
    assert expected
    met = Counter()
    for number in range(KILLS):
        folder = tmp_path / f"killed{number}"
        folder.mkdir()
        command, _ = prepared(folder)
        before = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        _, status = run(command, folder, after=rng.uniform(0.3 * seconds, seconds))
        met[phase(folder, before) if status else "after its end"] += 1
        run(command, folder)
        got = result(folder)
        assert got.keys() == expected.keys()
        for name, value in expected.items():
            assert np.array_equal(got[name], value), name
        shutil.rmtree(folder)
    print(f"\n{prepared.__name__}: {KILLS} kills; " + ", ".join(f"{n} {what}" for what, n in met.items()))
