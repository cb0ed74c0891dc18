"""The commands that write files, on small data of their own: each as (arguments, a function that reads the result).

A function makes the data in an empty folder, in which the command is to run.
"""

import contextlib
import json
import subprocess
import sys

import feature_runs
import numpy as np
import pytest
import tiny_classification
import tiny_segmentation
import web
from PIL import Image

from densebone.features import load_features
from densebone.weights.reader import read_arrays

#: the server of `download`, inside `serving`
WEB: web.Web | None = None


@contextlib.contextmanager
def serving():
    """Within this context `download` has a server that takes two seconds for its file."""
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


def extracted(folder):
    """The names and the vectors."""
    names, vectors = load_features(folder / "out")
    assert vectors.complete and not list(folder.glob("out/**/.*-????????*"))
    return {"names": np.array(names), "vectors": np.asarray(vectors)}


def draw(folder, count, side=64):
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (side, side, 3), np.uint8)).save(folder / f"{number}.png")


def classification(folder):
    config = tiny_classification.write(folder, epochs=4, save_interval=0.5)
    return ["train", "-c", str(config), "--seed", "1", "--eval", "-r", "-o", "log_iters=1"], trained


def segmentation(folder):
    pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
    tiny_segmentation.write_set(folder / "set", 4)
    config = tiny_segmentation.write_config(folder / "tiny.yml", folder / "set")
    options = ["-o", "iters=12", "save_interval=4", f"save_dir={folder / 'output'}", "log_iters=1"]
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
    return command, extracted


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


def predict(folder):
    """With an exported classifier, which is made here."""
    command, _ = export(folder)
    done = subprocess.run([sys.executable, "-m", "densebone.scripts", *command], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr
    draw(folder / "pictures", 20)
    return ["predict", "--model", "models/hardnet39ds", "-O", "out", "pictures"], files("out")


COMMANDS = [classification, segmentation, detection, features, export, download, sample, prepare, predict]
