"""An ONNX graph whose convolutions have channels in multiples of a register, so that ONNX Runtime keeps them in blocks.

ONNX Runtime computes convolutions on maps that lie in blocks of as many channels as a register has numbers. Maps are
brought into plain order and back around every concatenation of others, and HarDNet's layers have 28, 34 or 46 channels.
Channels of zeros change no result, and to compute them costs nothing, since blocks are filled up anyway.
"""

import numpy as np

#: what treats every channel by itself, and each like the others
CHANNELWISE = ("AveragePool", "Clip", "GlobalAveragePool", "Identity", "LeakyRelu", "MaxPool", "Relu", "Sigmoid")


def pad_channels(model, block=8):
    """Pads an ONNX model in place; what it computes stays the same.

    Padded are convolutions of one group whose weights are constants, and depthwise ones behind them. Where something
    else reads a padded map, the channels that were there before are gathered first.

    Args:
        model (onnx.ModelProto): float32.
        block (int): numbers in a register.

    Returns:
        int: how many convolutions have more channels than before; with 0 the model is as it was.
    """
    graph = model.graph
    if any(each.HasField("g") or each.graphs for node in graph.node for each in node.attribute):
        return 0  # a branch or a loop reads maps that are not among its inputs
    padding = _Padding(graph, block)
    for node in graph.node:
        padding.add(node)
    if padding.count:
        padding.finish()
    return padding.count


class _Padding:
    """The nodes of a graph, one after the other, with padded channels.

    Args:
        graph (onnx.GraphProto): stays as it is until `finish`.
        block (int): see `pad_channels`.

    Attributes:
        count (int): convolutions that were padded so far.
    """

    def __init__(self, graph, block):
        self.graph, self.block, self.count = graph, block, 0
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.outputs = {out.name for out in graph.output}
        self.nodes, self.added = [], []
        # of maps behind convolutions: where their channels have come to lie, and of how many
        self.places = {}

    def add(self, given):
        """Adds a copy of the next node."""
        node = type(given)()
        node.CopyFrom(given)
        places = self._add(node)
        if places is None:
            for number, name in enumerate(node.input):
                node.input[number] = self._plain(name)
        self.nodes.append(node)
        if places is not None:
            name = node.output[0]
            self.places[name] = places
            if name in self.outputs and len(places[0]) != places[1]:  # the graph's output keeps its name
                node.output[0] = f"{name}_padded"
                self.places[node.output[0]] = places
                self._gather(node.output[0], name)
                del self.places[name]

    def _add(self, node):
        """Changes a node; returns the places of its output, or None when it wants its inputs as they were."""
        inputs = [self.places.get(name) for name in node.input]
        if len(node.output) > 1:  # the indices of a pool, say
            return None
        if node.op_type == "Conv":
            return self._convolution(node, inputs[0])
        if node.op_type in CHANNELWISE:
            return inputs[0]
        if node.op_type == "Concat" and None not in inputs and _attribute(node, "axis") == 1:
            starts = np.cumsum([0, *(count for _, count in inputs)])
            return np.concatenate([at + start for (at, _), start in zip(inputs, starts)]), int(starts[-1])
        return None

    def _convolution(self, node, source):
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
        self._set(node, 1, _spread(weight, *places, axis=0))
        if bias:
            self._set(node, 2, _spread(bias[0], *places, axis=0))
        return places

    def _constant(self, name):
        from onnx import numpy_helper

        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None

    def _set(self, node, number, values):
        from onnx import numpy_helper

        name = f"{node.output[0]}_constant{number}"
        self.added.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        node.input[number] = name

    def _plain(self, name):
        """The name of a map with the channels that it had before."""
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

        self.added.append(numpy_helper.from_array(self.places[name][0].astype(np.int64), f"{plain}_places"))
        self.nodes.append(helper.make_node("Gather", [name, f"{plain}_places"], [plain], axis=1))

    def finish(self):
        """Puts the nodes and the constants that they read in the place of the graph's."""
        read = {name for node in self.nodes for name in node.input}
        constants = [tensor for tensor in (*self.graph.initializer, *self.added) if tensor.name in read]
        del self.graph.node[:], self.graph.initializer[:], self.graph.value_info[:]
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend(constants)


def _attribute(node, name, default=None):
    return next((each.i for each in node.attribute if each.name == name), default)


def _spread(values, at, count, axis):
    """Values along an axis, at their places among `count`, between zeros."""
    shape = list(values.shape)
    shape[axis] = count
    spread = np.zeros(shape, values.dtype)
    spread[(slice(None),) * axis + (at,)] = values
    return spread
