"""CondenseNetV2 in its published form, in Paddle: a network of densebone with its layers replaced by the authors' ones.

It computes the same as densebone's network does. What differs has no weights: channel shuffles as reshape and
transpose, hard-swish as its formula, and SFR's index as a matrix of zeros and ones that multiplies every pixel.
`published_condensenetv2.py` is the same form in PyTorch.
"""

from copy import deepcopy

import paddle
import paddle.nn.functional as F
from paddle import nn

from densebone.backbones.condensenetv2 import DenseLayer


class Hardswish(nn.Layer):
    """x relu6(x + 3) / 6."""

    def forward(self, x):
        return x * F.relu6(x + 3) / 6


class GroupConv(nn.Layer):
    """The converted LGC: (N, in_channels, H, W) -> (N, out_channels, H, W).

    Args:
        ours (Layer): densebone's layer, whose batch norm, convolution and index it takes.
        activation (Layer): applied after the batch norm.
    """

    def __init__(self, ours, activation):
        super().__init__()
        self.groups, self.norm, self.activation, self.conv = ours.groups, ours.norm, activation, ours.conv
        self.register_buffer("index", ours.index)

    def forward(self, x):
        x = paddle.index_select(x, self.index, axis=1)
        return shuffle(self.conv(self.activation(self.norm(x))), self.groups)


class Reactivation(nn.Layer):
    """The converted SFR: (N, in_channels, H, W) -> (N, out_channels, H, W). Arguments as for `GroupConv`."""

    def __init__(self, ours, activation):
        super().__init__()
        self.norm, self.activation, self.conv = ours.norm, activation, ours.conv
        self.members = ours.in_channels // ours.groups
        self.register_buffer("index", F.one_hot(ours.index, ours.out_channels))

    def forward(self, x):
        x = self.conv(shuffle(self.activation(self.norm(x)), self.members))
        pixels = x.flatten(2).transpose([0, 2, 1])  # (N, H W, C)
        return paddle.matmul(pixels, self.index).transpose([0, 2, 1]).reshape(x.shape)


def shuffle(x, groups):
    """(N, C, H, W): channel i of group g moves to group i, place g."""
    n, c, h, w = x.shape
    return x.reshape([n, groups, c // groups, h, w]).transpose([0, 2, 1, 3, 4]).reshape([n, c, h, w])


def published_form(network):
    """A copy of a condensed CondenseNetV2 in the published form, in eval mode."""
    copy = deepcopy(network)
    for layer in [child for child in copy.sublayers() if isinstance(child, DenseLayer)]:
        activation = layer.conv_2.activation
        activation = Hardswish() if isinstance(activation, nn.Hardswish) else activation
        layer.conv_1 = GroupConv(layer.conv_1, activation)
        layer.conv_2.activation = activation
        layer.sfr = Reactivation(layer.sfr, activation)
    copy.eval()
    return copy
