"""Pads the channels of an ONNX graph's convolutions to multiples of a register, because ONNX Runtime then runs faster.

ONNX Runtime stores the feature maps of convolutions in blocks of as many channels as a register holds numbers. Around
every concatenation whose parts do not fill their blocks it converts the maps to plain order and back. HarDNet's layers
have 28, 34 or 46 channels, so this happens at almost every one. Channels of zeros avoid it. They change no result, and
they cost nothing, since ONNX Runtime fills the last block anyway.
"""

from typing import Any

import numpy as np

#: operators that treat every channel by itself and all channels alike
CHANNELWISE = ("AveragePool", "Clip", "GlobalAveragePool", "Identity", "LeakyRelu", "MaxPool", "Relu", "Sigmoid")


def pad_channels(model: Any, block: int = 8) -> int:
    """Pads an ONNX model in place. It still computes the same.

    Pads convolutions of one group whose weights are constants, and the depthwise convolutions behind them. An operator
    that cannot read a padded map gets the original channels, gathered from it.

    Args:
        model: a float32 `onnx.ModelProto`.
        block: numbers in a register.

    Returns:
        The number of convolutions that were padded; with 0 the model is unchanged.
    """
    graph = model.graph
    if any(each.HasField("g") or each.graphs for node in graph.node for each in node.attribute):
        return 0  # a branch or a loop reads maps that are not listed among its inputs
    padded = _PaddedGraph(graph, block)
    for node in graph.node:
        padded.add(node)
    if padded.count:
        padded.write_back()
    return padded.count


class _PaddedGraph:
    """Copies of a graph's nodes, in order, with padded channels.

    Args:
        graph (onnx.GraphProto): unchanged until `write_back`.
        block: see `pad_channels`.

    Attributes:
        count: convolutions padded so far.
        places: padded map -> (where its original channels are, number of channels with padding).
    """

    def __init__(self, graph, block):
        self.graph, self.block, self.count = graph, block, 0
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.outputs = {out.name for out in graph.output}
        self.nodes, self.new_constants = [], []
        self.places = {}

    def add(self, original):
        """Adds a copy of the next node."""
        node = type(original)()
        node.CopyFrom(original)
        places = self._pad(node)
        if places is None:
            for number, name in enumerate(node.input):
                node.input[number] = self._unpadded(name)
        self.nodes.append(node)
        if places is not None:
            name = node.output[0]
            self.places[name] = places
            if name in self.outputs and len(places[0]) != places[1]:  # the graph's output keeps its name and channels
                node.output[0] = f"{name}_padded"
                self.places[node.output[0]] = places
                self._gather(node.output[0], name)
                del self.places[name]

    def _pad(self, node):
        """Changes a node to read padded maps. Returns the places of its output, or None if it needs original inputs."""
        inputs = [self.places.get(name) for name in node.input]
        if len(node.output) > 1:  # such as a pool that also returns indices
            return None
        if node.op_type == "Conv":
            return self._pad_convolution(node, inputs[0])
        if node.op_type in CHANNELWISE:
            return inputs[0]
        if node.op_type == "Concat" and None not in inputs and _attribute(node, "axis") == 1:
            starts = np.cumsum([0, *(count for _, count in inputs)])
            return np.concatenate([at + start for (at, _), start in zip(inputs, starts)]), int(starts[-1])
        return None

    def _pad_convolution(self, node, source):
        weight, *bias = (self._constant(name) for name in node.input[1:])
        if weight is None or any(value is None for value in bias) or weight.dtype != np.float32:
            return None
        channels = len(weight)
        groups = _attribute(node, "group", 1)
        if groups == 1:
            if source is not None:
                weight = _spread(weight, *source, axis=1)
            places = np.arange(channels), -(-channels // self.block) * self.block
            self.count += places[1] != channels
        elif groups == channels and source is not None:
            places = source
            next(each for each in node.attribute if each.name == "group").i = source[1]
        else:
            return None
        self._set_constant(node, 1, _spread(weight, *places, axis=0))
        if bias:
            self._set_constant(node, 2, _spread(bias[0], *places, axis=0))
        return places

    def _constant(self, name):
        from onnx import numpy_helper

        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None

    def _set_constant(self, node, number, values):
        from onnx import numpy_helper

        name = f"{node.output[0]}_constant{number}"
        self.new_constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        node.input[number] = name

    def _unpadded(self, name):
        """The name of a map that has only the original channels of the map `name`."""
        at, count = self.places.get(name, ((), 0))
        if len(at) == count:
            return name
        plain = f"{name}_plain"
        if plain not in self.places:
            self._gather(name, plain)
            self.places[plain] = np.arange(len(at)), len(at)
        return plain

    def _gather(self, name, plain):
        from onnx import helper, numpy_helper

        self.new_constants.append(numpy_helper.from_array(self.places[name][0].astype(np.int64), f"{plain}_places"))
        self.nodes.append(helper.make_node("Gather", [name, f"{plain}_places"], [plain], axis=1))

    def write_back(self):
        """Replaces the graph's nodes, and its constants by those that the new nodes read."""
        read = {name for node in self.nodes for name in node.input}
        constants = [tensor for tensor in (*self.graph.initializer, *self.new_constants) if tensor.name in read]
        del self.graph.node[:], self.graph.initializer[:], self.graph.value_info[:]
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend(constants)


def _attribute(node, name, default=None):
    return next((each.i for each in node.attribute if each.name == name), default)


def _spread(values, at, count, axis):
    """An array with `count` entries along an axis: `values` at the places `at`, zeros elsewhere."""
    shape = list(values.shape)
    shape[axis] = count
    spread = np.zeros(shape, values.dtype)
    spread[(slice(None),) * axis + (at,)] = values
    return spread
