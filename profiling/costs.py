"""Count what a network costs, layer by layer: parameters, multiply-adds, and the bytes that its convolutions move.

CIO and MoC come from the HarDNet paper (Chao et al., arXiv 1909.00948, section 3). A layer with few multiply-adds per
element that it reads and writes waits for memory, however few multiply-adds it has in total.
"""

import math
import re
from collections.abc import Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from ..backbones.pruning import LearnedConv
from ..errors import UserError
from .results import LayerCost, Profile

#: bytes per element
PRECISIONS = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
#: FLOP per byte of memory traffic at which two cores of a server CPU are balanced: 520 GFLOP/s in float32 over 48 GB/s,
#: measured with AVX-512
BALANCE = 11.0
_CONVOLUTIONS = (nn.Conv1D, nn.Conv2D, nn.Conv3D, paddle.vision.ops.DeformConv2D)
_TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)
_STATISTICS = ("_mean", "_variance")  # of batch norms; Paddle lists them as parameters


def profile(
    network: str | nn.Layer,
    input_size: Sequence[int] = (224, 224),
    batch: int = 1,
    precision: str = "fp32",
    balance: float = BALANCE,
    inputs: Any = None,
) -> Profile:
    """Count what a network costs. Runs it once in eval mode on a single image of zeros.

    During this run plain convolutions compute only the size of their output, so large images take little time.

    Args:
        network: a name of `list_models()`, or any network, which is left unchanged.
        input_size: (height, width) in pixels.
        batch: images in a batch. MACs, CIO and activation bytes grow with it; parameters and weight bytes do not.
        precision: "fp32", "bf16", "fp16" or "int8". Sets the bytes per element.
        balance: FLOP per byte of the machine. A layer below it counts as memory-bound.
        inputs: the input for one image, passed to the network. None makes a tensor (1, channels, *input_size), where
            channels is the network's `in_channels`, or 3. A detector of PaddleDetection takes a dict.

    Returns:
        The costs of convolutions and linear layers. Batch norms and activations are left out because engines fuse them
        into the convolution before them. Pools, concatenations and resizing are left out as in the paper.

    Raises:
        UserError: an unknown name, a number out of range, an input that the network refuses, or nothing to count.
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


def count_parameters(layer: nn.Layer) -> int:
    """The number of parameters of `layer`, frozen ones too, without the running statistics of batch norms."""
    named = layer.named_parameters()
    return sum(int(p.size) for name, p in named if name.rpartition(".")[2] not in _STATISTICS)


def check_size(size: Sequence[int]) -> tuple[int, int]:
    """An input size as (height, width). UserError unless it is two integers of 1 or more."""
    sides = tuple(size) if isinstance(size, (list, tuple)) else (size,)
    if len(sides) != 2 or not all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in sides):
        raise UserError(f"input_size is {sides}; give height and width in pixels, such as (224, 224)")
    return sides


def _check(batch, precision, balance):
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise UserError(f"batch is {batch!r}; give the number of images, 1 or more")
    if precision not in PRECISIONS:
        raise UserError(f"precision is {precision!r}; give one of {', '.join(PRECISIONS)}")
    if isinstance(balance, bool) or not isinstance(balance, (int, float)) or not 0 < balance < math.inf:
        raise UserError(f"balance is {balance!r}; give the machine's FLOP per byte, a number above 0")


def _run(network, inputs, element_size):
    """The costs of every layer that a forward pass uses, for one image, in the order in which they first run."""
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
    """Within this context the network is in eval mode, and plain convolutions compute only the size of their output."""
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
    """Zeros in the shape of a convolution's output for (N, C, H, W). Computes one channel of it to learn the shape."""
    height, width = F.conv2d(
        x[:1, :1], layer.weight[:1, :1], stride=layer._stride, padding=layer._padding, dilation=layer._dilation
    ).shape[2:]
    return paddle.zeros([x.shape[0], layer.weight.shape[0], height, width], x.dtype)


def _counter(name, counts, element_size):
    """A forward hook that adds one call of a layer to `counts[name]`."""

    def count(layer, inputs, output):
        if not inputs:
            raise UserError(f"{name} gets its input by keyword, so its size is not seen; pass it by position")
        source = inputs[0]
        # a LearnedConv masks the weight of its convolution and does not call the convolution itself
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
    """The kind of a layer: "conv 3x3", "depthwise 3x3", "grouped 1x1", "transposed 2x2" or "linear"."""
    if isinstance(layer, nn.Linear):
        return "linear"
    groups = layer._groups
    word = "conv" if groups == 1 else "depthwise" if layer.weight.shape[1] == 1 else "grouped"
    word = "transposed" if isinstance(layer, _TRANSPOSED) else word
    return f"{word} {'x'.join(map(str, layer.weight.shape[2:]))}"


def published_top1(model: str) -> tuple[float, str] | tuple[None, None]:
    """ImageNet top-1 in % that the publishers claim for a model's default weights, and the name of the weights.

    (None, None) if they claim none.
    """
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


def profile_all(**options: Any) -> list[dict[str, Any]]:
    """The costs of every classifier with a published ImageNet accuracy.

    Args:
        **options: passed to `profile`.

    Returns:
        One dict per classifier: the totals of `Profile.as_dict`, layers and memory_bound (how many there are), top1
        (published, in %) and weights (the name of the weights with this top-1).
    """
    from ..registry import MODELS

    rows = []
    for name, row in MODELS.items():
        top1, weights = published_top1(name)
        if not row.is_whole and top1 is not None:
            costs = profile(name, **options)
            numbers = {"layers": len(costs.layers), "memory_bound": len(costs.memory_bound)}
            rows.append({**costs.as_dict(), **numbers, "top1": top1, "weights": weights})
    return rows
