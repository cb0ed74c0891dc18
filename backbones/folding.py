"""Replaces the layers of CondenseNetV2 by equivalent ones that an inference engine runs faster.

Some engines run a few large convolutions faster than many small ones with shuffles between them. For these, folding
turns a grouped convolution back into a dense one. docs/condensenetv2.md has the measurements.
"""

import numpy as np
import paddle
from paddle import nn

from .base import Network
from .condensed_layers import ChannelNumbers, CondensedGroupConv, CondensedReactivation, NormConv, set_weight
from .pruning import LearnedConv

#: engine -> the blocks whose LGC becomes a convolution that reads all channels; docs/condensenetv2.md says why these
DENSE_BLOCKS: dict[str, tuple[int, ...]] = {"onnxruntime": (), "openvino": (0, 1, 2), "paddle": (0, 1, 2, 3, 4)}


@paddle.no_grad()
def fold(network: Network, engine: str) -> None:
    """Replaces the layers of a CondenseNetV2, in place, by those that `engine` runs fastest. For inference only.

    The engine "eager" keeps the condensed layers: no replacement was measured to be faster.
    """
    for number in range(network.last_stage + 1):
        for layer in network.stage(number)[1].children():
            if isinstance(layer.conv_1, LearnedConv):
                layer.conv_1, layer.sfr = _masked(layer.conv_1), _masked(layer.sfr)
            elif engine != "eager":
                layer.sfr = _norm_conv(layer.sfr.norm, layer.sfr.activation, layer.sfr.dense_weight())
                if number in DENSE_BLOCKS[engine] and (norm := layer.conv_1.channel_norm()) is not None:
                    layer.conv_1 = _norm_conv(norm, layer.conv_1.activation, layer.conv_1.dense_weight())
                else:
                    layer.conv_1 = PickingGroupConv(layer.conv_1)
            if engine == "paddle":
                layer.conv_2.conv = _ungrouped(layer.conv_2.conv)


def spell_out(network: Network) -> None:
    """Replaces the condensed layers of a CondenseNetV2, in place, by the same convolutions between selected channels.

    Every format can express these layers, and their convolutions are those that were published. For counting; `fold`
    makes layers that run faster.
    """
    for number in range(network.last_stage + 1):
        for layer in network.stage(number)[1].children():
            if isinstance(layer.conv_1, CondensedGroupConv):
                layer.conv_1, layer.sfr = PickingGroupConv(layer.conv_1), PickingReactivation(layer.sfr)


def _masked(learned):
    """A learned layer as an ordinary one whose weight is masked once and for all."""
    return _norm_conv(learned.norm, learned.activation, (learned.conv.weight * learned._mask).numpy())


def _norm_conv(norm, activation, weight):
    """Batch norm, activation and a convolution with this weight, in eval mode."""
    layer = NormConv(norm, activation, _convolution(weight))
    layer.eval()
    return layer


def _convolution(weight, dilation=1):
    """An ungrouped convolution with this weight, padded by half its kernel."""
    out_channels, in_channels, side, _ = weight.shape
    options = {"padding": dilation * (side // 2), "dilation": dilation, "bias_attr": False}
    return set_weight(nn.Conv2D(in_channels, out_channels, side, **options), weight)


class Pick(ChannelNumbers):
    """Selects the channels with the given numbers, in that order."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, channels, H, W) -> (N, numbers, H, W)."""
        return paddle.index_select(x, self.index, axis=1)


class PickingGroupConv(nn.Sequential):
    """A condensed LGC that shuffles by selecting channels, because paddle2onnx aborts on channel_shuffle."""

    def __init__(self, group_conv: CondensedGroupConv):
        places = paddle.arange(group_conv.out_channels, dtype="int64")
        shuffled = places.reshape([group_conv.groups, -1]).transpose([1, 0]).flatten()
        convolution = NormConv(group_conv.norm, group_conv.activation, group_conv.conv)
        super().__init__(Pick(group_conv.index), convolution, Pick(shuffled))
        self.eval()


class PickingReactivation(nn.Layer):
    """A condensed SFR that selects channels, because no other format has Paddle's index_add."""

    def __init__(self, reactivation: CondensedReactivation):
        super().__init__()
        places = paddle.arange(reactivation.in_channels, dtype="int64")
        shuffled = places.reshape([-1, reactivation.groups]).transpose([1, 0]).flatten()
        self.conv = NormConv(reactivation.norm, reactivation.activation, reactivation.conv)
        self.pick = Pick(shuffled)
        self.sums = nn.LayerList([Pick(paddle.to_tensor(row)) for row in _sources(reactivation)])
        self.eval()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        x = self.conv.conv(self.pick(self.conv.activation(self.conv.norm(x))))
        x = paddle.concat([x, 0 * x[:, :1]], axis=1)  # the last channel, of zeros, is for channels that get nothing
        return sum(pick(x) for pick in self.sums)


def _sources(reactivation):
    """Rows of (out_channels,) numbers: which outputs of the convolution add up to a channel; the last + 1 for none."""
    sources: list[list[int]] = [[] for _ in range(reactivation.out_channels)]
    for place, channel in enumerate(reactivation.index.numpy()):
        sources[channel].append(place)
    depth = max(map(len, sources))
    padded = [own + [reactivation.out_channels] * (depth - len(own)) for own in sources]
    return np.array(padded, "int64").T


def _ungrouped(convolution):
    """A grouped convolution as a dense one, whose weight is 0 between groups."""
    weight, groups = convolution.weight.numpy(), convolution._groups
    out_channels, members, side, _ = weight.shape
    rows = out_channels // groups
    dense = np.zeros((out_channels, members * groups, side, side), weight.dtype)
    for group in range(groups):
        own = slice(group * rows, (group + 1) * rows)
        dense[own, group * members : (group + 1) * members] = weight[own]
    result = _convolution(dense, convolution._dilation[0])
    result.eval()
    return result
