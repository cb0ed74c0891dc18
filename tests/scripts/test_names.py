"""Pictures with all kinds of names: every readable one has its result once, every other one is named once.

DENSEBONE_NAMES=1000 takes that many pictures.
"""

import json
import os
import re
import subprocess
import sys

import feature_runs
import numpy as np
import pytest
import tiny_classification
import tiny_segmentation
from PIL import Image

from densebone.features import load_features

COUNT = int(os.environ.get("DENSEBONE_NAMES", 90))
DENSEBONE = [sys.executable, "-m", "densebone.scripts"]
ODD = (
    b"new\nline.jpg", b"tab\t.jpg", b"bell\x07.jpg", b"esc\x1b[31m.jpg", b"\xff\xfe latin.jpg", b"caf\xc3\xa9.jpg",
    b"%20.jpg", b" .jpg", b"-o.jpg", b"#?.jpg", b"quote'\".jpg", b"back\\slash.jpg", b"[a-z]*.jpg", b"\xe2\x80\xae.jpg",
)  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder; the names in it that hold a picture, and those that hold none."""
    folder = tmp_path_factory.mktemp("names") / "pictures"
    (folder / "folder.jpg").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 255, (40, 48, 3), np.uint8)) for _ in range(7)]
    good, number = [], 0

    def write(name):
        nonlocal number
        path = os.path.join(os.fsencode(folder), name)
        with open(path, "wb") as stream:
            images[number % 7].save(stream, "PNG" if name.endswith(b"png") else "JPEG")
        number += 1
        good.append(name)

    for name in ODD:
        write(name)
    for length in (255, 254, 240):
        write(b"l" * (length - 4) + b".jpg")
        write(b"l" * (length - 5) + b"m.png")
    write(b"folder.jpg/inside.jpg")
    while len(good) < COUNT:
        stem = b"x%d" % number
        for name in (stem + b".jpg", stem + b".png", stem + b".jpg.png", stem + b".jpg-2.png"):
            write(name)
        link = stem + b"-link.jpg"
        os.symlink(os.path.join(os.fsencode(folder), stem + b".jpg"), os.path.join(os.fsencode(folder), link))
        good.append(link)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "dead.jpg").symlink_to("nowhere.jpg")
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.png").touch()
    return folder, good, ["pipe.jpg", "device.jpg", "dead.jpg", "text.jpg", "empty.png"]


def run(*command, cwd):
    return subprocess.run(
        [*DENSEBONE, *map(str, command)], cwd=cwd, capture_output=True, text=True, errors="surrogateescape", timeout=900
    )


def check_skipped(done, bad):
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("skipped ")]
    named = [re.match(r"skipped (\S*/)?(\S+): ", line)[2] for line in lines]
    assert sorted(named) == sorted(bad)


def drawn(folder):
    return sorted({path for ending in ("png", "jpg") for path in folder.rglob(f"*.{ending}") if path.is_file()})


def test_features_of_every_name(pictures, tmp_path):
    folder, good, bad = pictures
    weights = feature_runs.write_weights(tmp_path / "w.safetensors")
    options = [
        "--strides",
        8,
        "--size",
        32,
        32,
        "--preprocessing",
        "hardnet39ds.official",
        "--png",
        len(good) + len(bad),
    ]
    done = run("features", "-m", "hardnet39ds", "-w", weights, "-O", "out", *options, "--", folder, cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    names, vectors = load_features(tmp_path / "out")
    assert vectors.complete, (done.stdout, done.stderr)
    assert len(names) == len(vectors) == len(good) == len(set(names))
    skipped = [json.loads(line)["name"] for line in (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()]
    assert sorted(skipped) == sorted(bad)
    assert len(drawn(tmp_path / "out")) == len(good)


@pytest.mark.parametrize(
    "task",
    ["classification", *(pytest.param(task, marks=pytest.mark.acceptance) for task in ("segmentation", "detection"))],
)
def test_predictions_of_every_name(pictures, task, tmp_path):
    folder, good, bad = pictures
    if task == "classification":
        options = ["-c", tiny_classification.write(tmp_path, epochs=1)]
        training = []
    elif task == "segmentation":
        pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
        tiny_segmentation.write_set(tmp_path / "set")
        options = ["-c", tiny_segmentation.write_config(tmp_path / "tiny.yml", tmp_path / "set")]
        training = ["-o", "iters=1"]
    else:
        pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
        from densebone.datasets.generated import write_coco

        write_coco(tmp_path / "data", 8, 2, progress=False)
        options = ["-c", "smoke_ppyoloe_hardnet39ds_192_10e_sample", "--data", "data"]
        options += ["-o", "TestReader.sample_transforms.1.Resize.target_size=[64,64]", "epoch=1"]
        training = []
    trained = run("train", *options, *training, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    done = run("predict", *options, "-O", "out", "--", folder, cwd=tmp_path)
    check_skipped(done, bad)
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text())
    if task == "classification":
        assert len({row["file_name"] for row in rows}) == len(rows) == len(good)
    else:
        results = drawn(tmp_path / "out")
        assert len(results) == len(good) * (2 if task == "segmentation" else 1), done.stdout  # with a legend, labels
        same = results if task == "detection" else drawn(tmp_path / "out" / "labels")
        assert len(same) == len(good) and all(Image.open(path).size == (48, 40) for path in same)
