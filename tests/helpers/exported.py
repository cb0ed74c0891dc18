"""Folders as `densebone export` writes them, around networks by hand that are computed at once."""

import json
from pathlib import Path

import numpy as np
import onnx

from densebone.system.files import facts_of

STEPS = [
    {"resize": {"size": [32, 64], "keep_ratio": False, "interpolation": "bilinear"}},
    {"normalize": {"mean": [0, 0, 0], "std": [1, 1, 1], "scale": 255}},
]
ONE = {"resize": 64, "crop": 64, "interpolation": "bilinear", "backend": "pil", "channels": "rgb", "mean": [0, 0, 0],
       "std": [1, 1, 1]}  # fmt: skip


def write_model(folder: Path, nodes, inputs, outputs, card, constants=()):
    """A folder as `densebone export` writes it, around a graph by hand."""
    helper = onnx.helper
    folder.mkdir(parents=True, exist_ok=True)
    given = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    found = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()]
    weights = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    graph = helper.make_graph(nodes, "model", given, found, weights)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    card = {"name": "tiny", "classes": None, "files": {"model.onnx": facts_of(folder / "model.onnx")}, **card}
    (folder / "model_card.json").write_text(json.dumps(card))
    return folder


def detector(folder):
    """Finds two boxes on every picture, in the left half (the brightness of the picture is the first one's score)."""
    helper, kind = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "axis"], ["first"]),
        helper.make_node("Mul", ["first", "tenth"], ["second"]),
        helper.make_node("Concat", ["first", "second"], ["scores"], axis=1),
        helper.make_node("Shape", ["first"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["number"]),
        helper.make_node("Concat", ["number", "rest"], ["whole"], axis=0),
        helper.make_node("Concat", ["scale_xy", "scale_xy"], ["four"], axis=1),
        helper.make_node("Gather", ["scale_factor", "order"], ["scale_xy"], axis=1),
        helper.make_node("Unsqueeze", ["four", "axis"], ["divisor"]),
        helper.make_node("Expand", ["base", "whole"], ["plain"]),
        helper.make_node("Div", ["plain", "divisor"], ["boxes"]),
        helper.make_node("Expand", ["kinds", "short"], ["labels"]),
        helper.make_node("Concat", ["number", "two"], ["short"], axis=0),
        helper.make_node("Expand", ["two", "number"], ["count"]),
    ]
    order = [0, 1, 8, 2, 7, 3, 4, 5, 6, 9, 10, 11, 13, 12, 14]
    constants = [
        ("axis", np.int64([1])), ("tenth", np.float32(0.1)), ("zero", np.int64([0])), ("one", np.int64([1])),
        ("rest", np.int64([2, 4])), ("two", np.int64([2])), ("order", np.int64([1, 0])),
        ("base", np.float32([[[0, 0, 32, 32], [8, 8, 16, 16]]])), ("kinds", np.int64([[1, 0]])),
    ]  # fmt: skip
    outputs = {
        "boxes": (kind.FLOAT, ["n", 2, 4]), "scores": (kind.FLOAT, ["n", 2]), "labels": (kind.INT64, ["n", 2]),
        "count": (kind.INT64, ["n"]),
    }  # fmt: skip
    card = {"task": "detection", "classes": ["cat", "dog"], "preprocessing": {"steps": STEPS}}
    inputs = {"image": ["n", 3, 32, 64], "scale_factor": ["n", 2]}
    return write_model(folder, [nodes[i] for i in order], inputs, outputs, card, constants)


def mean_network(folder, task, classes, preprocessing):
    """Returns the mean of each channel."""
    node = onnx.helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    card = {"task": task, "classes": classes, "preprocessing": preprocessing}
    outputs = {"y": (onnx.TensorProto.FLOAT, ["n", 3])}
    return write_model(folder, [node], {"x": ["n", 3, "h", "w"]}, outputs, card)


def segmenter(folder):
    """The class of a pixel is its brightest channel."""
    kind = onnx.TensorProto
    nodes = [
        onnx.helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0),
        onnx.helper.make_node("Cast", ["best"], ["y"], to=kind.INT32),
    ]
    card = {"task": "segmentation", "classes": ["r", "g", "b"], "preprocessing": {"steps": STEPS}}
    return write_model(folder, nodes, {"x": ["n", 3, 32, 64]}, {"y": (kind.INT32, ["n", 32, 64])}, card)
