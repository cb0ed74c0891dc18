"""A whole detector in one file finds what PaddleDetection's own finds: every head, every family with -m acceptance."""

import copy
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
pytest.importorskip("paddle2onnx", reason="pip install densebone[onnx]")

import spread
from spread import build, compare

from densebone.errors import UserError
from densebone.tasks.detection import whole
from densebone.tasks.detection.exporting import nearest

HEADS = ("SSD", "YOLOv3", "PP-YOLOE", "PicoDet", "FCOS", "RetinaNet", "GFL", "TOOD", "CenterNet")
QUICK = {("HarDNet39DS", "PP-YOLOE")}
PAIRS = [
    pytest.param(backbone, head, marks=() if (backbone, head) in QUICK else pytest.mark.acceptance)
    for backbone in ("HarDNet39DS", "PeleeNet", "CondenseNetV2A")
    for head in HEADS
]


@pytest.mark.parametrize(("backbone", "head"), PAIRS)
def test_the_boxes_are_paddledetections(backbone, head, tmp_path):
    if head == "PicoDet":  # whose neck PaddleDetection builds as another network the second time in a process
        command = [sys.executable, spread.__file__, backbone, head, tmp_path]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    else:
        compare(backbone, head, tmp_path)


def test_detectors_that_cannot_be_one_file(tmp_path):
    model, _ = build("HarDNet39DS", "SSD", tmp_path, (300, 300))
    with pytest.raises(UserError, match="SSD's boxes depend on the input's size"):
        whole.write_onnx(copy.deepcopy(model), tmp_path / "model.onnx", None)
    model.post_process.nms.nms_eta = 0.9
    with pytest.raises(UserError, match="a whole file needs MultiClassNMS"):
        whole.write_onnx(model, tmp_path / "model.onnx", (300, 300))


def test_boxes_without_a_like_are_told():
    rows = np.float32([[1, 0.9, 10, 10, 20, 20], [0, 0.5, 0, 0, 5, 5]])
    assert nearest(rows, rows) == 0
    assert nearest(rows, rows * np.float32([1, 1, 1.0001, 1, 1, 1])) == pytest.approx(1e-4, rel=0.1)
    with pytest.raises(RuntimeError, match="differ from the trained one's by"):
        nearest(rows, rows[:1])
    with pytest.raises(RuntimeError, match="finds no box where the trained one finds 2"):
        nearest(rows, rows[:0])
    assert nearest(rows, rows[:1], full=True) == 0  # the one of the lowest score is a matter of rounding
