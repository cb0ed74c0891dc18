"""Detectors on an engine: as much of them as can be moved, and the boxes that Paddle finds.

`test_lifecycle` has one that is trained, evaluated on an engine and exported by the commands.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import paddle
import pytest

from densebone.system.packages import missing_package

HELPER = Path(__file__).parents[2] / "helpers" / "accelerate_detectors.py"
# what runs on the engine, of each head
WHOLE = {"PicoDet": "head", "YOLOv3": "yolo_head", "PP-YOLOE": "yolo_head", "FCOS": "fcos_head"}
WHOLE |= dict.fromkeys(("RetinaNet", "GFL", "CenterNet"), "head")
FIRST = {"TOOD": "backbone, neck", "Faster-RCNN": "backbone, neck", "Mask-RCNN": "backbone, neck", "SSD": "backbone"}
needs_openvino = pytest.mark.skipif(
    bool(missing_package("openvino", "paddle2onnx")), reason=missing_package("openvino", "paddle2onnx")
)


def answers(engine, backbone, heads, cache):
    command = [sys.executable, str(HELPER), engine, backbone, *heads]
    environment = {**os.environ, "DENSEBONE_HOME": str(cache)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    return {row["head"]: row for row in map(json.loads, filter(lambda t: t.startswith("{"), done.stdout.splitlines()))}


def check(found, heads):
    assert list(found) == list(heads)
    for head, row in found.items():
        assert "error" not in row, row
        parts = row["told"].rpartition(": ")[2]
        assert parts == (FIRST[head] if head in FIRST else f"backbone, neck, {WHOLE[head]}"), row["told"]
        assert row["boxes"] >= 10
        assert row["difference"] < 1e-3


@pytest.mark.acceptance
@needs_openvino
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "paddle"])
@pytest.mark.parametrize("backbone", ["HarDNet68", "PeleeNet", "CondenseNetV2A"])
def test_every_head(engine, backbone, tmp_path):
    heads = [*WHOLE, *FIRST]
    check(answers(engine, backbone, heads, tmp_path), heads)


def test_nested_outputs_come_back_as_they_were():
    from densebone.tasks.detection.acceleration import pack, unpack

    tensors = [paddle.full([1], i) for i in range(4)]
    nested = {"a": [tensors[0], (tensors[1], tensors[2])], "b": tensors[3]}
    assert [int(t) for t in unpack(nested)] == [0, 1, 2, 3]
    again = pack(nested, iter(tensors))
    assert again["a"][1][1] is tensors[2] and isinstance(again["a"][1], tuple) and again["b"] is tensors[3]
