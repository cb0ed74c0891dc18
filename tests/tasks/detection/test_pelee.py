"""Pelee's detector through the commands: the COCO configuration trains, the authors' merged weights are exported."""

import json

import numpy as np
import pelee
import pytest
from PIL import Image

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")


def test_the_coco_configuration_trains(densebone, tmp_path):
    made = densebone("sample-data", "coco", tmp_path / "data", "--train", 4, "--val", 2)
    assert made.returncode == 0, made.stderr
    options = ["epoch=1", "log_iter=1", "worker_num=0", "num_classes=4", "TrainReader.batch_size=2"]
    done = densebone("train", "-c", pelee.COCO, "--data", tmp_path / "data", "-o", *options, "--seed", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    history = (tmp_path / "output" / pelee.COCO / "history.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in history]
    assert len(losses) == 2 and all(0 < loss < 1000 for loss in losses)


def test_merged_weights_of_caffe_export_with_the_boxes_that_they_find(densebone, tmp_path):
    np.savez(tmp_path / "pelee.npz", **pelee.weights())
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (120, 160, 3), "uint8")).save(tmp_path / "noise.png")
    common = ["-c", pelee.VOC, "-w", "pelee.npz"]
    refused = densebone("export", *common, cwd=tmp_path)
    assert (refused.returncode, "build yours with norm=False to load it" in refused.stderr) == (2, True)
    done = densebone("export", *common, "--check", "noise.png", "-o", "PeleeNet.norm=false", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "turned round for RGB images" in done.stderr
    assert "200 boxes" in done.stdout and "largest relative difference" in done.stdout
