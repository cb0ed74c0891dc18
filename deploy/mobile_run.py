"""Runs a model in a format for telephones once, in a process of its own: a fault of an engine ends that process alone.

    python -m densebone.deploy.mobile_run mnn '["output"]'

In the current folder it reads model.FORMAT and the picture in expected.npz, and writes found.npz.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import numpy as np


def by_mnn(image: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
    """The outputs of model.mnn for an image (1, C, H, W), in the order of their names."""
    import MNN.expr as expr
    import MNN.nn as nn

    manager = nn.create_runtime_manager(({"backend": "CPU", "precision": "high"},))
    network = nn.load_module_from_file("model.mnn", [], [*outputs], runtime_manager=manager)
    value = expr.placeholder([*image.shape], expr.NCHW)
    value.write(image)
    found = [expr.convert(one, expr.NCHW) if len(one.shape) == 4 else one for one in network([value])]
    return [np.array(one.read()) for one in found]  # a copy: what is read belongs to `found`


def by_ncnn(image: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
    """The same of model.ncnn.param, whose outputs are called out0, out1 and so on."""
    import ncnn

    network = ncnn.Net()
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(network.opt, f"use_{name}", False)  # the file has 32 bits; by itself ncnn rounds to 16
    network.load_param("model.ncnn.param")
    network.load_model("model.ncnn.bin")
    extractor = network.create_extractor()
    extractor.input("in0", ncnn.Mat(image[0]).clone())
    return [np.array(extractor.extract(f"out{place}")[1]) for place in range(len(outputs))]


def by_tflite(image: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
    """The same of model.tflite, whose maps have their channels last; its outputs may come in another order."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter("model.tflite")
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    same = tuple(given["shape"]) == image.shape
    interpreter.set_tensor(given["index"], image if same else np.ascontiguousarray(image.transpose(0, 2, 3, 1)))
    interpreter.invoke()
    found = [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]
    return [one.transpose(0, 3, 1, 2) if one.ndim == 4 else one for one in found]


def _in_order(found, expected):
    """The outputs in the order of the expected ones: for each the nearest of its size."""

    def distance(one, value):
        return float(np.abs(one.reshape(value.shape) - value).max())

    return [
        min((one for one in found if one.size == value.size), key=lambda one: distance(one, value), default=np.empty(0))
        for value in expected
    ]


def main() -> None:
    """See above."""
    kind, names = sys.argv[1], json.loads(sys.argv[2])
    given = np.load("expected.npz")
    found = {"mnn": by_mnn, "ncnn": by_ncnn, "tflite": by_tflite}[kind](given["image"], names)
    if kind == "tflite":
        found = _in_order(found, [given[f"output_{place}"] for place in range(len(names))])
    np.savez("found.npz", **{f"output_{place}": value for place, value in enumerate(found)})


if __name__ == "__main__":
    main()
