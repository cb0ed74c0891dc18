"""Counts what a network costs on its ONNX graph: parameters, multiply-adds and CIO, for any network alike.

The figures mean what `profiling.costs` says: convolutions and linear layers; CIO is of convolutions alone. So the
counts of our own networks are equal, as long as no batch norm was folded into a convolution before the file was
written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError

#: operator -> the numbers of its inputs that are the map and the weight
_CONVOLUTIONS = {
    "Conv": (0, 1),
    "FusedConv": (0, 1),
    "ConvInteger": (0, 1),
    "DeformConv": (0, 1),
    "QLinearConv": (0, 3),
}
_TRANSPOSED = {"ConvTranspose": (0, 1)}
_LINEAR = {"MatMul": (0, 1), "Gemm": (0, 1), "FusedMatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3)}
_LAYERS = {**_CONVOLUTIONS, **_TRANSPOSED, **_LINEAR}
#: operators whose output is as constant as their first input
_PASSING = ("Identity", "Cast", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "DequantizeLinear", "Flatten")
#: operator -> the first of its inputs that holds no parameters: statistics, scales, sides, limits
_NO_PARAMETERS = {
    "BatchNormalization": 3, "Resize": 1, "Upsample": 1, "Clip": 1, "Pad": 1, "DequantizeLinear": 1,
    "QuantizeLinear": 1,
}  # fmt: skip
_PREFIX = "densebone.shape"


@dataclass(frozen=True)
class Counts:
    """What one picture costs.

    Attributes:
        parameters: elements of weights, biases and the scales and shifts of norms. Single numbers do not count, because
            a graph holds them as it holds constants.
        macs: multiply-adds of convolutions and linear layers.
        cio: elements that the convolutions read and write.
        outputs: the shapes of what the network returns for one picture.
    """

    parameters: int
    macs: int
    cio: int
    outputs: tuple[tuple[int, ...], ...]


def count(path: str | Path, size: Sequence[int], batch: int = 1) -> Counts:
    """Counts what a picture costs in an ONNX file. Runs it once, on zeros.

    Args:
        path: the .onnx file; takes one float32 (N, C, H, W).
        size: (height, width) of the picture in pixels.
        batch: pictures at once that the file must take; the counts are of one picture.

    Raises:
        UserError: the file cannot be read or run, takes other inputs, or holds no convolution and no linear layer.
    """
    import onnx

    try:
        model = onnx.load(str(path))
    except Exception as error:  # of protobuf, of onnx and of the system
        raise UserError(f"{path} cannot be read as ONNX: {_first_line(error)}") from error
    name, shape = input_of(model, path, size, batch)
    constants = dict(_constants(model.graph))
    layers = [node for node in model.graph.node if node.op_type in _LAYERS and _is_layer(node, constants)]
    if not layers:
        raise UserError(f"{path} holds no convolution and no linear layer")
    shapes, outputs = _shapes(model, layers, name, shape, path)
    macs = cio = 0
    for node, (read, weight, written) in zip(layers, shapes):
        macs += _macs(node, read, weight, written, constants)
        if node.op_type not in _LINEAR:
            cio += math.prod(read) + math.prod(written)
    pictures = shape[0]
    return Counts(_parameters(model.graph, constants), macs // pictures, cio // pictures, outputs)


def input_of(
    model: Any, path: str | Path, size: Sequence[int], batch: int = 1
) -> tuple[str, tuple[int, int, int, int]]:
    """The name of a graph's one input, and its shape (N, C, H, W) for counting; N is 1 and C is 3 where the file leaves
    them free. UserError when the file takes something else.
    """
    stored = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in stored]
    sides = [
        [axis.dim_value for axis in one.type.tensor_type.shape.dim]
        for one in inputs
        if one.type.tensor_type.elem_type == 1  # float32
    ]
    if len(inputs) != 1 or len(sides) != 1 or len(sides[0]) != 4:
        raise UserError(f"{path} has {len(inputs)} inputs; a network with one input, float32 (N, C, H, W), is compared")
    pictures, channels, *given = sides[0]
    if pictures not in (0, batch):
        raise UserError(f"{path} is made for {pictures} pictures at once; give --batch {pictures}")
    if channels not in (0, 3):
        raise UserError(f"{path} takes pictures of {channels} channels; networks are compared on 3")
    for side, wanted in zip(given, size):
        if side not in (0, wanted):
            raise UserError(f"{path} is made for {given[0]} x {given[1]} pixels; give --size {given[0]} {given[1]}")
    return inputs[0].name, (pictures or 1, 3, size[0], size[1])


def _constants(graph) -> Iterator[tuple[str, Any]]:
    """Yields (name, the stored tensor behind it) of every constant of the graph, in the order of its nodes."""
    known = {}
    for one in graph.initializer:
        known[one.name] = one
        yield one.name, one
    for node in graph.node:
        if node.op_type == "Constant":
            tensor = next((a.t for a in node.attribute if a.name == "value"), None)
        else:
            tensor = known.get(node.input[0]) if node.op_type in _PASSING and node.input else None
        if tensor is not None:
            known[node.output[0]] = tensor
            yield node.output[0], tensor


def _is_layer(node, constants):
    """Whether a node has a weight: the matrix products of attention have none."""
    return node.op_type not in _LINEAR or any(name in constants for name in node.input[:2])


def _macs(node, read, weight, written, constants):
    """Multiply-adds of a layer, given the shapes of its map, weight and output."""
    if node.op_type in _CONVOLUTIONS:
        return math.prod(written) * math.prod(weight[1:])
    if node.op_type in _TRANSPOSED:
        return math.prod(read) * math.prod(weight[1:])
    transposed = {attribute.name: attribute.i for attribute in node.attribute}
    if node.input[0] in constants:  # weight times map
        return math.prod(written) * read[-2 if transposed.get("transA") else -1]
    return math.prod(written) * (
        weight[-1] if transposed.get("transB") else weight[-2] if len(weight) > 1 else weight[0]
    )


def _parameters(graph, constants):
    """Elements of all stored floating-point tensors that some layer uses, each counted once."""
    counted: dict[int, int] = {}
    for node in graph.node:
        for name in node.input[: _NO_PARAMETERS.get(node.op_type)]:
            tensor = constants.get(name)
            if tensor is None or (node.op_type in _PASSING and node.op_type != "DequantizeLinear"):
                continue
            if tensor.data_type in (1, 10, 11, 16) or node.op_type == "DequantizeLinear":  # float32, 16, 64, bfloat16
                counted[id(tensor)] = math.prod(tensor.dims)
    return sum(size for size in counted.values() if size > 1)


def _shapes(model, layers, name, shape, path):
    """(the shapes of map, weight and output of each layer; the shapes of the outputs for one picture).

    The graph runs once, with a Shape operator at each of these places.
    """
    import onnx
    import onnxruntime

    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    outputs = [one.name for one in model.graph.output]
    places = [node.input[number] for node in layers for number in _LAYERS[node.op_type]]
    places += [node.output[0] for node in layers] + outputs
    probes = {place: f"{_PREFIX}.{number}" for number, place in enumerate(dict.fromkeys(places))}
    for place, probe in probes.items():
        probed.graph.node.append(onnx.helper.make_node("Shape", [place], [probe]))
    del probed.graph.output[:]
    probed.graph.output.extend(
        onnx.helper.make_tensor_value_info(probe, onnx.TensorProto.INT64, [None]) for probe in probes.values()
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(probed.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = session.run(list(probes.values()), {name: np.zeros(shape, np.float32)})
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise UserError(f"{path} cannot run on a picture of {shape[2]} x {shape[3]}: {_first_line(error)}") from error
    seen = {place: tuple(map(int, sides)) for place, sides in zip(probes, found)}
    return [
        (*(seen[node.input[number]] for number in _LAYERS[node.op_type]), seen[node.output[0]]) for node in layers
    ], tuple(seen[one] for one in outputs)


def _first_line(error):
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
