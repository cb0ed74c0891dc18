"""A command that is killed at any moment, and given again, does what an uninterrupted one does.

DENSEBONE_KILLS=50 kills each command that often, at random moments, and prints in which phases; DENSEBONE_SEED=n takes
other moments.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import feature_runs
import numpy as np
import pytest
import tiny_classification
import tiny_segmentation
import web
from PIL import Image

from densebone.weights.reader import read_arrays

KILLS = int(os.environ.get("DENSEBONE_KILLS", 2))
SEED = int(os.environ.get("DENSEBONE_SEED", 0))
DENSEBONE = [sys.executable, "-m", "densebone.scripts"]


WEB: web.Web | None = None


@pytest.fixture(autouse=True, scope="module")
def server():
    global WEB
    with web.serve() as WEB:
        yield


def trained(folder):
    """The last weights, the best ones, and the history without what depends on time."""
    (place,) = folder.glob("output/*")
    rows = [json.loads(line) for line in (place / "history.jsonl").read_text().splitlines()]
    weights = {
        f"{name} {key}": value
        for name in ("model_final", "best_model")
        for key, value in read_arrays(place / f"{name}.pdparams").items()
    }
    assert not list(place.rglob(".*")) and not list(place.glob("interrupted*"))
    return weights | {"history": np.array(json.dumps(rows))}


def files(*places):
    """A function: folder -> the content of every file below these places."""

    def read(folder):
        found = [path for place in places for path in sorted((folder / place).rglob("*")) if path.is_file()]
        assert not [path for path in folder.rglob(".*-????????*") if "home" not in path.parts]
        return {str(path.relative_to(folder)): np.frombuffer(path.read_bytes(), np.uint8) for path in found}

    return read


def draw(folder, count, side=64):
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (side, side, 3), np.uint8)).save(folder / f"{number}.png")


def classification(folder):
    config = tiny_classification.write(folder, epochs=4, save_interval=0.5)
    return ["train", "-c", str(config), "--seed", "1", "--eval", "-r"], trained


def segmentation(folder):
    pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
    tiny_segmentation.write_set(folder / "set", 4)
    config = tiny_segmentation.write_config(folder / "tiny.yml", folder / "set")
    options = ["-o", "iters=12", "save_interval=4", f"save_dir={folder / 'output'}"]
    return ["train", "-c", str(config), "--seed", "1", "--eval", "-r", *options], trained


def detection(folder):
    pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
    from densebone.datasets.generated import write_coco

    write_coco(folder / "data", 8, 2, progress=False)
    small = [
        f"{kind}Reader.sample_transforms.{i}.Resize.target_size=[96,96]" for kind, i in (("Train", 2), ("Eval", 1))
    ]
    options = ["epoch=4", "snapshot_epoch=0.5", "log_iter=1", "TrainReader.batch_size=2", *small]
    name = "smoke_ppyoloe_hardnet39ds_192_10e_sample"
    return ["train", "-c", name, "--data", "data", "--seed", "1", "--eval", "-r", "-o", *options], trained


def features(folder):
    draw(folder / "pictures", 60)
    feature_runs.write_weights(folder / "weights.safetensors")
    command = feature_runs.command("pictures", "out", "weights.safetensors", "--shard-size", 5)
    return command, files("out/shards", "out/records")


def export(folder):
    weights = feature_runs.write_weights(folder / "w.safetensors")
    return ["export", "hardnet39ds", "-w", weights.name, "-O", "models"], files("models")


def download(folder):
    file = feature_runs.write_weights(folder / "served.safetensors")
    url = WEB.put("/weights.safetensors", file.read_bytes(), pause=0.01)
    return ["weights", "download", url, "-O", "here"], files("here")


def sample(folder):
    return ["sample-data", "coco", "set", "--train", "40", "--val", "5"], files("set")


def prepare(folder):
    from densebone.datasets.generated import write_cityscapes

    write_cityscapes(folder / "city", 60, 20, 1, size=(64, 128), progress=False)
    for made in (folder / "city").rglob("*labelTrainIds.png"):
        made.unlink()
    return ["prepare", "cityscapes", "city"], files("city")


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


@pytest.mark.parametrize(
    "prepared",
    [classification, segmentation, detection, features, export, download, sample, prepare],
    ids=lambda function: function.__name__,
)
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
    print(f"\n{prepared.__name__}: {KILLS} kills; " + ", ".join(f"{n} {what}" for what, n in met.items()))
