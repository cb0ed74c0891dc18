"""What a network costs, layer by layer: parameters, multiply-adds, and the bytes that its convolutions move.

CIO and MoC are the measures of the HarDNet paper (Chao et al., arXiv 1909.00948, section 3): a layer that does few
multiply-adds for each element that it reads and writes waits for memory, however few its multiply-adds are.
"""

import csv
import json
import math
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial

import paddle
import paddle.nn.functional as F
from paddle import nn

from ..backbones.pruning import LearnedConv
from ..errors import UserError
from ..system.files import atomic_path

#: bytes of an element
PRECISIONS = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
#: FLOP per byte that two cores of a server CPU can do for each byte they get from memory: 520 GFLOP/s in float32 over
#: 48 GB/s, measured with AVX-512
BALANCE = 11.0
_CONVOLUTIONS = (nn.Conv1D, nn.Conv2D, nn.Conv3D, paddle.vision.ops.DeformConv2D)
_TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)
_STATISTICS = ("_mean", "_variance")  # of batch norms; Paddle keeps them among the parameters


@dataclass
class LayerCost:
    """What one convolution or linear layer costs, over all its calls in one forward pass.

    Attributes:
        name (str): the layer's place in the network, as in the state dict.
        kind (str): such as "conv 3x3", "depthwise 3x3", "grouped 1x1", "transposed 2x2" or "linear".
        input_shape, output_shape (tuple): of its first call.
        parameters (int): weights and biases.
        macs (int): multiply-adds; adding a bias is none.
        cio (int): elements that a convolution reads and writes; 0 for a linear layer.
        element_size (int): bytes of an element.
        elements (int): elements that the layer reads and writes, its weights left out.
        calls (int): how often the forward pass uses the layer; each reads the weights again.
    """

    name: str
    kind: str
    input_shape: tuple
    output_shape: tuple
    parameters: int
    element_size: int
    macs: int = 0
    cio: int = 0
    elements: int = 0
    calls: int = 0

    @property
    def moc(self):
        """MACs over CIO: multiply-adds for each element that is read or written. None for a linear layer."""
        return self.macs / self.cio if self.cio else None

    @property
    def activation_bytes(self):
        """Bytes of the elements that the layer reads and writes."""
        return self.elements * self.element_size

    @property
    def weight_bytes(self):
        """Bytes of weights and biases, read once in each call."""
        return self.parameters * self.calls * self.element_size

    @property
    def intensity(self):
        """FLOP (two for each multiply-add) per byte of activations and weights."""
        return 2 * self.macs / (self.activation_bytes + self.weight_bytes)


@dataclass(frozen=True)
class Profile:
    """What a network costs in one forward pass in eval mode.

    Attributes:
        name (str): of the model, or of the layer's class.
        input_shape (tuple): (batch, channels, height, width), in pixels.
        precision (str): of activations and weights, a key of `PRECISIONS`.
        balance (float): FLOP per byte of the machine; a layer with a lower intensity is memory-bound on it.
        parameters (int): of all layers, without the statistics of batch norms.
        layers (list of LayerCost): convolutions and linear layers, in the order in which they first run.
    """

    name: str
    input_shape: tuple
    precision: str
    balance: float
    parameters: int
    layers: list

    @cached_property
    def macs(self):
        """Multiply-adds of convolutions and linear layers."""
        return sum(layer.macs for layer in self.layers)

    @cached_property
    def cio(self):
        """Elements that the convolutions read and write."""
        return sum(layer.cio for layer in self.layers)

    @property
    def moc(self):
        """Multiply-adds of the convolutions over CIO; None where there is no convolution."""
        return sum(layer.macs for layer in self.layers if layer.cio) / self.cio if self.cio else None

    @cached_property
    def activation_bytes(self):
        """Bytes that convolutions and linear layers read and write, weights left out."""
        return sum(layer.activation_bytes for layer in self.layers)

    @cached_property
    def weight_bytes(self):
        """Bytes of weights that they read."""
        return sum(layer.weight_bytes for layer in self.layers)

    @property
    def intensity(self):
        """FLOP per byte of activations and weights."""
        moved = self.activation_bytes + self.weight_bytes
        return 2 * self.macs / moved if moved else 0.0

    def is_memory_bound(self, layer):
        """Whether a layer does fewer FLOP for each byte than the machine could."""
        return layer.intensity < self.balance

    @property
    def other_parameters(self):
        """Parameters of layers that are not counted, such as batch norms."""
        return self.parameters - sum(layer.parameters for layer in self.layers)

    def renamed(self, name):
        """The same profile under another name."""
        return replace(self, name=name)

    @property
    def memory_bound(self):
        """The layers that are memory-bound."""
        return [layer for layer in self.layers if self.is_memory_bound(layer)]

    def as_dict(self):
        """Everything, for JSON: totals, and `layers` as a list of rows."""
        totals = {key: getattr(self, key) for key in ("name", "input_shape", "precision", "balance", *_FIGURES)}
        return {**totals, "layers": [self._row(layer) for layer in self.layers]}

    def _row(self, layer):
        row = {key: getattr(layer, key) for key in ("name", "kind", "calls", "input_shape", "output_shape", *_FIGURES)}
        return {**row, "memory_bound": self.is_memory_bound(layer)}

    def save_json(self, path):
        """Writes `as_dict` to a file; UserError where it cannot be written."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=1) + "\n")

    def save_csv(self, path):
        """Writes one line for each layer, shapes as 1x64x56x56; UserError where it cannot be written."""
        rows = [self._row(layer) for layer in self.layers]
        with atomic_path(path) as temporary, open(temporary, "w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            for row in rows:
                shapes = {key: "x".join(map(str, value)) for key, value in row.items() if isinstance(value, tuple)}
                writer.writerow({**row, **shapes})


_FIGURES = ("parameters", "macs", "cio", "moc", "activation_bytes", "weight_bytes", "intensity")


def profile(network, input_size=(224, 224), batch=1, precision="fp32", balance=BALANCE, inputs=None):
    """Counts what a network costs, while it runs once, in eval mode, on a single image of zeros.

    Plain convolutions pass on zeros of the right size and compute nothing else, so that large images take no longer
    than their pools and concatenations do.

    Args:
        network (str | Layer): one of `list_models()`, or any network; it is left as it was.
        input_size (sequence of int): height and width in pixels. Default (224, 224).
        batch (int): images in a batch; all but parameters and weights' bytes grow with it. Default 1.
        precision (str): "fp32" (default), "bf16", "fp16" or "int8": how large an element is.
        balance (float): FLOP per byte of the machine, below which a layer counts as memory-bound. Default `BALANCE`.
        inputs: what the network is called with, for one image; default: a tensor (1, channels, *input_size), where
            channels is its `in_channels`, or 3. A detector of PaddleDetection takes a dict.

    Returns:
        Profile. Counted are convolutions and linear layers; batch norms and activations are part of the convolution
        before them in an engine, and pools, concatenations and resizing are left out, as in the paper.

    Raises:
        UserError: unknown name, a number out of range, an input that the network refuses, or nothing to count.
    """
    height, width = check_size(input_size)
    _check(batch, precision, balance)
    name = network if isinstance(network, str) else type(network).__name__
    if isinstance(network, str):
        from ..registry import create_model

        network = create_model(network)
    channels = getattr(network, "in_channels", 3)
    if inputs is None:
        inputs = paddle.zeros([1, channels, height, width])
    counts = _run(network, inputs, PRECISIONS[precision])
    if not counts:
        raise UserError(f"{name} holds no convolution and no linear layer that its forward pass uses")
    for count in counts:
        for key in ("macs", "cio", "elements"):
            setattr(count, key, batch * getattr(count, key))
        count.input_shape, count.output_shape = (
            (batch * shape[0], *shape[1:]) for shape in (count.input_shape, count.output_shape)
        )
    return Profile(name, (batch, channels, height, width), precision, float(balance), count_parameters(network), counts)


def count_parameters(layer):
    """Elements of all parameters below `layer`, frozen ones too, without the statistics of batch norms."""
    named = layer.named_parameters()
    return sum(int(p.size) for name, p in named if name.rpartition(".")[2] not in _STATISTICS)


def check_size(size):
    """(height, width) of an input size; UserError unless it is two whole numbers of 1 or more."""
    size = tuple(size) if isinstance(size, (list, tuple)) else (size,)
    if len(size) != 2 or not all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in size):
        raise UserError(f"input_size is {size}; give height and width in pixels, such as (224, 224)")
    return size


def _check(batch, precision, balance):
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise UserError(f"batch is {batch!r}; give the number of images, 1 or more")
    if precision not in PRECISIONS:
        raise UserError(f"precision is {precision!r}; give one of {', '.join(PRECISIONS)}")
    if isinstance(balance, bool) or not isinstance(balance, (int, float)) or not 0 < balance < math.inf:
        raise UserError(f"balance is {balance!r}; give the machine's FLOP per byte, a number above 0")


def _run(network, inputs, element_size):
    """The costs of each layer that a forward pass uses, for one image, in the order in which they first run."""
    counts, hooks = {}, []
    for name, layer in network.named_sublayers(include_self=True):
        if isinstance(layer, (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear, LearnedConv)):
            hooks.append(layer.register_forward_post_hook(_counter(name, counts, element_size)))
    try:
        with _for_sizes_alone(network), paddle.no_grad():
            network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return list(counts.values())


@contextmanager
def _for_sizes_alone(network):
    """Puts a network into eval mode, and its plain convolutions into one where they only find out their output's size;
    afterwards it is as before."""
    layers = network.sublayers(include_self=True)
    modes = [layer.training for layer in layers]
    plain = [layer for layer in layers if type(layer) is nn.Conv2D and layer._padding_mode == "zeros"]
    plain = [layer for layer in plain if layer._data_format == "NCHW"]
    try:
        network.eval()
        for layer in plain:
            layer.forward = partial(_zeros_of_output, layer)
        yield
    finally:
        for layer in plain:
            vars(layer).pop("forward", None)
        for layer, training in zip(layers, modes):
            layer.training = training


def _zeros_of_output(layer, x):
    """Zeros of the shape that a convolution gives for (N, C, H, W), which one of its channels finds out."""
    height, width = F.conv2d(
        x[:1, :1], layer.weight[:1, :1], stride=layer._stride, padding=layer._padding, dilation=layer._dilation
    ).shape[2:]
    return paddle.zeros([x.shape[0], layer.weight.shape[0], height, width], x.dtype)


def _counter(name, counts, element_size):
    """A hook that adds one call of a layer to `counts[name]`."""

    def count(layer, inputs, output):
        if not inputs:
            raise UserError(f"{name} gets its input by keyword, so its size is not seen; pass it by position")
        source = inputs[0]
        # the convolution of a learned layer is not called itself: its weight is masked first
        convolution = layer.conv if isinstance(layer, LearnedConv) else layer
        weight, bias = convolution.weight, getattr(convolution, "bias", None)
        if name not in counts:
            parameters = int(weight.size) + (0 if bias is None else int(bias.size))
            shapes = tuple(source.shape), tuple(output.shape)
            counts[name] = LayerCost(name, _kind(convolution), *shapes, parameters, element_size)
        cost = counts[name]
        read, written = math.prod(source.shape), math.prod(output.shape)
        if isinstance(layer, nn.Linear):
            cost.macs += read * weight.shape[1]
        else:
            # weight: (out, in / groups, kernel); transposed: (in, out / groups, kernel)
            each = read if isinstance(layer, _TRANSPOSED) else written
            cost.macs += each * math.prod(weight.shape[1:])
            cost.cio += read + written
        cost.elements += read + written
        cost.calls += 1

    return count


def _kind(layer):
    """What a layer is, in words: "conv 3x3", "depthwise 3x3", "grouped 1x1", "transposed 2x2", "linear"."""
    if isinstance(layer, nn.Linear):
        return "linear"
    groups = layer._groups
    word = "conv" if groups == 1 else "depthwise" if layer.weight.shape[1] == 1 else "grouped"
    word = "transposed" if isinstance(layer, _TRANSPOSED) else word
    return f"{word} {'x'.join(map(str, layer.weight.shape[2:]))}"


def published_top1(model):
    """(ImageNet top-1 in %, the name of the weights) as their publishers claim it for a model's default weights, or
    (None, None) where nothing is claimed."""
    from ..weights.catalog import default_for

    try:
        entry = default_for(model)
    except UserError:
        return None, None
    found = re.search(r"ImageNet top-1( error)? ([\d.]+)", entry.accuracy or "")
    if not found:
        return None, None
    value = float(found[2])
    return (round(100 - value, 2) if found[1] else value), entry.name


def profile_all(**options):
    """The costs of every classifier of the registry.

    Args:
        **options: those of `profile`.

    Returns:
        list of dict: name, the totals of `Profile.as_dict` but for its layers, memory_bound (how many layers are),
        layers (how many there are), top1 (%, published, or None) and weights (whose top-1 that is).
    """
    from ..registry import MODELS

    rows = []
    for name, row in MODELS.items():
        top1, weights = published_top1(name)
        if not row.is_whole and top1 is not None:
            costs = profile(name, **options)
            row = {**costs.as_dict(), "layers": len(costs.layers), "memory_bound": len(costs.memory_bound)}
            rows.append({**row, "top1": top1, "weights": weights})
    return rows
