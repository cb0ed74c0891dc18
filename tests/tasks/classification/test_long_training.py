"""Training a classifier in minutes: python -m pytest tests/classification/test_long_training.py -m acceptance -s"""

import subprocess
import sys
import time

import numpy as np
import pytest
import tiny_classification as tiny

from densebone.tasks.classification import training
from densebone.training import checkpoints
from densebone.training.history import read_history
from densebone.weights.reader import read_arrays

pytestmark = pytest.mark.acceptance
MODELS = {"hardnet39ds": {"name": "hardnet39ds", "num_classes": tiny.CLASSES}, "condensenetv2_a": tiny.LEARNED}
LAUNCH = (sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir")


@pytest.mark.parametrize("name", MODELS)
def test_twenty_iterations_are_ten_a_kill_and_ten_more(tmp_path, name):
    path = tiny.write(tmp_path, model=MODELS[name], epochs=5, save_interval=2.5, num_workers=1)
    killed = subprocess.run([sys.executable, tiny.__file__, "killed", path, "13"], capture_output=True, timeout=600)
    assert killed.returncode == -9
    folder = tmp_path / "output" / "tiny"
    assert checkpoints.last_whole(folder)[1]["iteration"] == 10
    training.train(tiny.job(path), resume="auto")
    straight = training.train(tiny.job(path, f"save_dir={tmp_path / 'straight'}"), seed=7)
    losses = [[row["loss"] for row in read_history(each / "history.jsonl")] for each in (folder, straight)]
    assert len(losses[0]) == len(losses[1]) == 20
    print(f"{name}: largest difference of 20 losses {np.abs(np.subtract(*losses)).max()}")
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-6)
    weights = [read_arrays(each / "model_final.pdparams") for each in (folder, straight)]
    for key, value in weights[0].items():
        np.testing.assert_allclose(value, weights[1][key], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_two_processes_average_the_gradients_of_the_whole_batch(tmp_path, name):
    model = {**MODELS[name], "options": {**MODELS[name].get("options", {}), "freeze_norm": True}}
    path = tiny.write(tmp_path, model=model, clip_norm=None)
    whole = tiny.gradients(path, None, "batch_size=8")
    command = [*LAUNCH, tmp_path / "log", tiny.__file__, "gradients", path, tmp_path / "two", "batch_size=4"]
    assert subprocess.run(command, capture_output=True, timeout=600).returncode == 0
    for rank in (0, 1):
        two = np.load(tmp_path / f"two_{rank}.npz")
        assert set(two) == set(whole)
        largest = max(np.abs(value - two[key]).max() for key, value in whole.items())
        print(f"{name}, process {rank}: largest difference of gradients and of parameters after the step {largest}")
        assert largest < 1e-5


@pytest.mark.parametrize("name", ["hardnet39ds", "peleenet", "condensenetv2a"])
def test_the_sample_is_learned_within_five_minutes(densebone, tmp_path, name):
    made = densebone("sample-data", "imagenet", tmp_path / "things")
    assert made.returncode == 0, made.stderr
    start = time.perf_counter()
    options = ("--data", tmp_path / "things", "-o", f"save_dir={tmp_path}", "--eval", "--seed", 0)
    trained = densebone("train", "-c", f"smoke_{name}_sample", *options, timeout=3600)
    seconds = time.perf_counter() - start
    assert trained.returncode == 0, trained.stderr
    folder = tmp_path / f"smoke_{name}_sample"
    scores = [row["top1"] for row in read_history(folder / "history.jsonl") if row["kind"] == "eval"]
    print(f"{name}: top-1 {scores[-1]:.3f} of 200 pictures after {seconds:.0f} s; look at {folder / 'curves.png'}")
    assert scores[-1] >= 0.9
