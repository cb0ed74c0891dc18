"""How commands end: signals, a second process and vanished pictures give one line, and the work can go on."""

import json
import signal
import subprocess
import sys
import time

import pytest
import tiny_classification as tiny
import writing

from densebone.system.locks import only_one
from densebone.training import checkpoints

DENSEBONE = [sys.executable, "-m", "densebone.scripts"]


def heed_interrupts():
    """What a child calls first: a shell that runs the tests in the background ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ended(done, status, words):
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr and "C++" not in done.stderr
    assert words in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("sign", "status", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_ends_training_in_order(densebone, tmp_path, sign, status, word):
    config = tiny.write(tmp_path, epochs=40, save_interval=0.2)
    command = ["train", "-c", str(config), "--seed", "1"]
    history = tmp_path / "output" / "tiny" / "history.jsonl"
    run = subprocess.Popen(
        [*DENSEBONE, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )
    started = time.monotonic()
    while not (history.is_file() and history.read_text().count("\n") >= 3):
        assert run.poll() is None and time.monotonic() - started < 120
        time.sleep(0.05)
    run.send_signal(sign)
    _, errors = run.communicate(timeout=60)
    ended(subprocess.CompletedProcess(command, run.returncode, "", errors), status, f"densebone: {word}")
    path, about = checkpoints.last_whole(history.parent)
    last = json.loads(history.read_text().splitlines()[-1])
    assert about["iteration"] == last["iteration"], "the last iteration is saved"
    assert path.name in ("interrupted", str(about["iteration"]))
    epochs = about["epoch"] + 2
    done = densebone(*command, "-r", "-o", f"epochs={epochs}")
    assert done.returncode == 0, done.stderr
    assert checkpoints.last_whole(history.parent)[1]["iteration"] == epochs * about["iterations_per_epoch"]
    assert not list(history.parent.glob("interrupted*"))


def test_a_second_training_into_the_same_folder_is_refused(densebone, tmp_path):
    config = tiny.write(tmp_path, epochs=200)
    command = ["train", "-c", str(config), "-r"]
    history = tmp_path / "output" / "tiny" / "history.jsonl"
    first = subprocess.Popen([*DENSEBONE, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        started = time.monotonic()
        while not (history.is_file() and history.read_text().count("\n") >= 1):
            assert first.poll() is None and time.monotonic() - started < 120
            time.sleep(0.05)
        done = densebone(*command)
        ended(done, 2, f"another process trains into {tmp_path / 'output' / 'tiny'}; wait for its end")
    finally:
        first.kill()
        first.wait()
    done = densebone(*command, "-o", "epochs=1")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "prepared",
    [writing.export, writing.sample, pytest.param(writing.predict, marks=pytest.mark.acceptance)],
    ids=lambda f: f.__name__,
)
def test_a_second_process_in_the_same_folder_is_told(prepared, densebone, tmp_path, monkeypatch):
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path / "home"))
    command, result = prepared(tmp_path)
    place = {"export": "models/hardnet39ds", "sample": "set", "predict": "out"}[prepared.__name__]
    with only_one(tmp_path / place, "works in"):
        done = densebone(*command, cwd=tmp_path)
        ended(done, 2, f"{place}; wait for its end, or give another folder")
        assert "another process " in done.stderr and not (tmp_path / place).exists()
    done = densebone(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert result(tmp_path)


@pytest.mark.parametrize(
    ("prepared", "more", "picture"),
    [
        pytest.param(writing.classification, "epochs=300", "data/train/class0/0.png", marks=pytest.mark.acceptance),
        (writing.segmentation, "iters=2000", "set/images/0.jpg"),
        pytest.param(writing.detection, "epoch=300", "data/train2017/*", marks=pytest.mark.acceptance),
    ],
    ids=["classification", "segmentation", "detection"],
)
def test_a_picture_that_vanishes_ends_training_in_one_line_after_a_checkpoint(
    prepared, more, picture, densebone, tmp_path
):
    command, _ = prepared(tmp_path)
    run = subprocess.Popen(
        [*DENSEBONE, *command, more], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in run.stdout:
        if line.startswith("saved "):
            break
    file = min(tmp_path.glob(picture))
    file.rename(tmp_path / "away")
    _, errors = run.communicate(timeout=120)
    ended(subprocess.CompletedProcess(command, run.returncode, "", errors), 2, file.name)
    (folder,) = (tmp_path / "output").iterdir()
    path, about = checkpoints.last_whole(folder)
    assert path.name == "interrupted" or (folder / f"{path.name}.json").is_file()
    (tmp_path / "away").rename(file)
    done = densebone(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "training is complete" in done.stdout or f"iteration {about['iteration']} of" in done.stdout


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("prepared", [writing.features, writing.sample], ids=lambda function: function.__name__)
def test_a_signal_ends_other_commands_in_order(prepared, sign, status, densebone, tmp_path):
    """At any moment after the start: with its own status and one line, or with 0 when the work is done."""
    command, result = prepared(tmp_path)
    place = {"features": "out", "sample": ".set-*"}[prepared.__name__]
    run = subprocess.Popen(
        [*DENSEBONE, *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )
    while not list(tmp_path.glob(place)):
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(sign)
    _, errors = run.communicate(timeout=60)
    word = {143: "terminated", 130: "interrupted"}[status]
    ended(subprocess.CompletedProcess(command, run.returncode, "", errors), status, f"densebone: {word}")
    done = densebone(*command, cwd=tmp_path)
    assert done.returncode == 0 and result(tmp_path)


def test_a_signal_after_the_work_changes_nothing(tmp_path):
    code = "import atexit, os, signal; atexit.register(os.kill, os.getpid(), signal.SIGINT); "
    code += "import sys; sys.argv = ['densebone', 'list']; from densebone.scripts import console; console()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
