"""The layers of CondenseNetV2's condensed form (Yang et al., arXiv 2104.04382).

Each is a grouped 1x1 convolution that stores the numbers of the channels it reads or writes.
"""

from collections.abc import Iterator

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from .layers import conv

#: names of a batch norm's tensors
STATISTICS = ("weight", "bias", "_mean", "_variance")


class NormConv(nn.Layer):
    """Batch norm, activation, convolution without bias."""

    def __init__(self, norm: nn.Layer, activation: nn.Layer, convolution: nn.Layer):
        super().__init__()
        self.norm = norm
        self.activation = activation
        self.conv = convolution

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return self.conv(self.activation(self.norm(x)))


class ChannelNumbers(nn.Layer):
    """Holds channel numbers, `index`, that stay integers when the network changes its floating-point type."""

    def __init__(self, index: paddle.Tensor):
        super().__init__()
        self.register_buffer("index", index)

    def _apply(self, func, device, dtype, blocking, include_sublayers=True):
        # Paddle's Layer.to(dtype=...) would also turn the channel numbers into floating-point ones, in place.
        index = self._buffers.pop("index")
        super()._apply(func, device, dtype, blocking, include_sublayers)
        self._buffers["index"] = func(index, device, None, blocking)


class CondensedConv(ChannelNumbers):
    """Batch norm, activation and grouped 1x1 convolution, with the numbers of the channels that it reads or writes.

    Args:
        in_channels, out_channels: multiples of `groups`.
        groups: of the convolution.
        activation: runs between batch norm and convolution.
        places: length of `index`.
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int, activation: nn.Layer, places: int):
        super().__init__(paddle.arange(places, dtype="int64"))
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.norm = nn.BatchNorm2D(in_channels, epsilon=1e-5)
        self.activation = activation
        self.conv = conv(in_channels, out_channels, 1, groups=groups, fan=out_channels)

    def group_rows(self) -> Iterator[tuple[int, slice, np.ndarray]]:
        """Yields (group, the slice of its output channels, the channel numbers that it stores)."""
        index = self.index.numpy().reshape(self.groups, -1)
        rows = self.out_channels // self.groups
        for group in range(self.groups):
            yield group, slice(group * rows, (group + 1) * rows), index[group]


class CondensedGroupConv(CondensedConv):
    """Condensed LGC (learned group convolution): each group picks its input channels, then the outputs are shuffled."""

    def __init__(self, in_channels: int, out_channels: int, groups: int, activation: nn.Layer):
        super().__init__(in_channels, out_channels, groups, activation, places=in_channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        x = paddle.index_select(x, self.index, axis=1)
        return F.channel_shuffle(self.conv(self.activation(self.norm(x))), self.groups)

    def dense_weight(self) -> np.ndarray:
        """The weight (out_channels, in_channels, 1, 1) that reads all input channels and includes the shuffle."""
        weight = self.conv.weight.numpy()[:, :, 0, 0]
        dense = np.zeros((self.out_channels, self.in_channels), weight.dtype)
        for group, rows, channels in self.group_rows():
            np.add.at(dense[group :: self.groups], (slice(None), channels), weight[rows])
        return dense[..., None, None]

    def channel_norm(self) -> nn.BatchNorm2D | None:
        """The batch norm over input channels instead of places; None when two places of one channel differ, and for
        other norms."""
        if not hasattr(self.norm, "_mean"):
            return None
        index = self.index.numpy()
        norm = nn.BatchNorm2D(index.size, epsilon=self.norm._epsilon)
        norm.to(dtype=str(self.norm.weight.numpy().dtype))
        for name in STATISTICS:
            places = getattr(self.norm, name).numpy()
            channels = getattr(norm, name).numpy().copy()
            channels[index] = places
            if not np.array_equal(channels[index], places):
                return None
            getattr(norm, name).set_value(channels)
        return norm


class CondensedReactivation(CondensedConv):
    """Condensed SFR (sparse feature reactivation): each group adds its outputs to output channels of its own."""

    def __init__(self, in_channels: int, out_channels: int, groups: int, activation: nn.Layer):
        super().__init__(in_channels, out_channels, groups, activation, places=out_channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        x = F.channel_shuffle(self.activation(self.norm(x)), self.in_channels // self.groups)
        x = self.conv(x)
        sums = paddle.zeros_like(x)
        sums.stop_gradient = x.stop_gradient  # Paddle 2.6 takes both gradients of index_add or none
        return paddle.index_add(sums, self.index, 1, x)

    def dense_weight(self) -> np.ndarray:
        """The weight (out_channels, in_channels, 1, 1) of the one convolution that replaces this layer."""
        weight = self.conv.weight.numpy()[:, :, 0, 0]
        dense = np.zeros((self.out_channels, self.in_channels), weight.dtype)
        for group, rows, channels in self.group_rows():
            np.add.at(dense[:, group :: self.groups], channels, weight[rows])
        return dense[..., None, None]


def set_weight(convolution: nn.Conv2D, weight: np.ndarray) -> nn.Conv2D:
    """Gives the convolution this weight and its floating-point type, in place; returns the convolution."""
    convolution.to(dtype=str(weight.dtype))
    convolution.weight.set_value(weight)
    return convolution
