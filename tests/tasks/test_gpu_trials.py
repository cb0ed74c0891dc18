"""`densebone gpu-check`: its steps on the CPU, and what it refuses, notices and writes."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

from densebone.errors import UserError
from densebone.scripts import gpu_check, main
from densebone.system import gpus
from densebone.system.fatbins import Code
from densebone.tasks import gpu_checks, gpu_trials
from densebone.tasks.gpu_checks import LeftOut, Place, Wrong

PAGE = (Path(__file__).parents[2] / "docs/gpu.md").read_text()
H200 = gpus.Gpu("NVIDIA H200", (9, 0), 139 << 30)
OLD = gpus.Survey("550.1", (H200,), (H200,), "11.8", "8.6.0", Code(((6, 1), (8, 6))))
GOOD = gpus.Survey("550.1", (H200,), (H200,), "12.6", "9.5", Code(((9, 0),)))


@pytest.fixture
def place(tmp_path):
    """A place for a rehearsal."""
    if paddle.is_compiled_with_cuda():
        pytest.skip("a rehearsal, for a CPU build of Paddle")
    return Place("cpu", 0, tmp_path)


@pytest.mark.parametrize("name", ["kernels", "uint8", "loading"])
def test_steps_on_the_cpu(name, place):
    assert re.search("differs by|equal", gpu_trials.STEPS[name].check(place))


def test_networks_are_compared(place, monkeypatch):
    monkeypatch.setattr(gpu_checks, "FAMILIES", ("hardnet39ds",))
    assert "in hardnet39ds" in gpu_checks.networks(place)
    monkeypatch.setattr(gpu_checks, "difference", lambda found, expected: 1e-3)
    with pytest.raises(Wrong, match="differs by 1"):
        gpu_checks.networks(place)
    assert "differs by 1.0e-03" in gpu_checks.tf32(place)


def test_a_difference_is_a_share_of_the_deviation():
    expected = np.array([-2.0, 2.0])
    assert gpu_checks.difference(np.array([-2.0, 2.5]), expected) == 0.25
    assert gpu_checks.difference(np.array([np.nan, 2.0]), expected) == float("inf")


def test_batches_of_workers_that_differ(place, monkeypatch):
    class Restless(gpu_checks._Noise):
        def __getitem__(self, key):
            inside = paddle.io.get_worker_info() is not None
            return {"img": np.full((3, 4, 4), inside, "float32")}

    monkeypatch.setattr(gpu_checks, "_Noise", Restless)
    with pytest.raises(Wrong, match="batch 0 of the workers"):
        gpu_checks.loading(place)


def test_a_classifier_takes_steps(monkeypatch):
    monkeypatch.setattr(gpu_checks, "_STEPS", 2)
    assert np.isfinite(gpu_checks._losses("O0", "float32", 32)).all()


@pytest.mark.parametrize(
    ("losses", "wrong"), [([1.5, 0.1], False), ([1.5, 1.6], True), ([1.8, 0.1], True), ([1.5, np.nan], True)]
)
def test_mixed_precision_must_learn(losses, wrong, place, monkeypatch):
    monkeypatch.setattr(gpu_checks, "_losses", lambda level, dtype, side: [1.5, 0.1] if level == "O0" else losses)
    if wrong:
        with pytest.raises(Wrong, match="the loss of O1 in float16"):
            gpu_checks.precision(place)
    else:
        assert "O2 in float16 1.500 to 0.100" in gpu_checks.precision(place)


def test_the_expected_gradient_is_paddles(tmp_path):
    gpu_checks.in_process("gradients", "cpu", str(tmp_path))  # one process is its own mean
    expected = gpu_checks._gradient(gpu_checks._half(0))
    assert gpu_checks.difference(np.load(tmp_path / "0.npy"), expected) < 1e-5


def test_several_gpus_are_left_out_where_there_is_one(tmp_path, place):
    with pytest.raises(LeftOut, match="needs two GPUs"):
        gpu_checks.gradients(Place("gpu", 1, tmp_path))
    with pytest.raises(LeftOut, match="SyncBatchNorm is for GPUs"):
        gpu_checks.sync_bn(place)


def test_a_command_that_fails_is_wrong():
    with pytest.raises(Wrong, match="ended with 3: the reason"):
        gpu_checks._call(["-c", "print('the reason'); raise SystemExit(3)"])


def test_a_step_that_crashes_or_hangs(place, tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho an illegal memory access\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    row = gpu_trials.try_step("kernels", place)
    assert (row["result"], row["said"]) == ("fails", "ended with -11: an illegal memory access")
    program.write_text("#!/bin/sh\necho waiting\nexec sleep 100\n")
    assert "not done after" in gpu_trials.try_step("kernels", place, limit=0.2)["said"]


@pytest.mark.parametrize(
    ("survey", "message"),
    [
        (
            gpus.Survey(None, (), (), None, None, Code()),
            "needs a GPU that Paddle sees .none; this Paddle is a CPU build",
        ),
        (OLD, "holds code for compute capability 6.1 8.6, and this GPU is a NVIDIA H200.*docs/gpu.md"),
    ],
)
def test_what_is_refused(survey, message, tmp_path):
    with pytest.raises(UserError, match=message):
        gpu_trials.place_for(False, survey, tmp_path)
    assert gpu_trials.place_for(True, survey, tmp_path).device == "cpu"


def test_what_is_tried(tmp_path):
    assert gpu_trials.place_for(False, GOOD, tmp_path) == Place("gpu", 1, tmp_path)
    assert gpu_trials.choose(["uint8", "kernels"]) == ["kernels", "uint8"]
    assert gpu_trials.choose(None) == [*gpu_trials.STEPS]
    with pytest.raises(UserError, match=r"no step 'kernel'.*kernels"):
        gpu_trials.choose(["kernel"])


def test_the_command(place, tmp_path, capsys):
    assert main(["gpu-check", "--dry-run", "--only", "uint8", "sync_bn", "-O", str(tmp_path / "out")]) == 0
    written = json.loads((tmp_path / "out/gpu_check.json").read_text())
    assert written["dry_run"] and written["versions"]["paddle"] == paddle.version.full_version
    assert [(row["step"], row["result"]) for row in written["steps"]] == [("uint8", "works"), ("sync_bn", "left out")]
    shown = capsys.readouterr().out
    assert "works    uint8" in shown and "0 of 2 steps fail" in shown


def test_a_failure_is_in_the_exit_status(place, tmp_path, capsys, monkeypatch):
    row = {"step": "uint8", "title": "", "result": "fails", "said": "differs by 1", "seconds": 1}
    monkeypatch.setattr(gpu_trials, "try_step", lambda name, place: row)
    assert gpu_check.main(["--dry-run", "--only", "uint8", "-O", str(tmp_path)]) == 1
    assert "fails    uint8          differs by 1 (1 s)" in capsys.readouterr().out


def test_the_page_has_every_step_once():
    table = PAGE.partition("## What differs on a GPU")[2].partition("\n## ")[0]
    rows = [row.split("|") for row in table.splitlines() if row.startswith("| ")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row[3])]
    assert sorted(named) == sorted(gpu_trials.STEPS)
    assert all(row[4].strip() for row in rows)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", [*gpu_trials.STEPS])
def test_every_step_on_the_cpu(name, place):
    """Minutes: each task trains."""
    row = gpu_trials.try_step(name, place)
    assert row["result"] == ("left out" if name == "sync_bn" else "works"), row
