"""The necks of SSD (Liu et al., arXiv 1512.02325) and HarDNet-SSD512: they append smaller maps to a backbone's."""

from collections.abc import Iterable, Sequence

import paddle
from paddle import nn

from ..backbones.base import check_count
from ..backbones.layers import ConvNorm, conv
from ..errors import UserError


class SSDExtraMaps(nn.Layer):
    """Appends smaller and smaller maps to a backbone's maps.

    A 1x1 and a 3x3 convolution compute each extra map from the one before it. Both have batch norm and ReLU, so a
    detector can also be trained from random weights.

    Args:
        channels, strides: of the backbone's maps, in the order of `forward`'s input.
        extra_maps: a row [middle, out, stride, padding] per map: channels after the 1x1 convolution, channels of the
            map, and stride (1 or 2) and padding (0 or 1) of the 3x3 convolution. Stride 2 with padding 1 halves the
            sides, rounding up. Stride 1 without padding subtracts 2 from each side. So 9 -> 5 -> 3 -> 1 is
            [.., 2, 1], [.., 2, 1], [.., 1, 0].
        norm: False builds them as in the paper: no batch norm, convolutions with bias.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        extra_maps: Iterable[Sequence[int]],
        norm: bool = True,
    ):
        super().__init__()
        self.channels, self.strides = list(channels), list(strides)
        self.extra_maps = nn.LayerList()
        self._least_sides: list[int] = []  # side that a map needs, so that the next can be computed from it
        for row in extra_maps:
            if len(row) != 4 or row[2] not in (1, 2) or row[3] not in (0, 1) or min(row[:2]) < 1:
                raise UserError(
                    f"extra_maps has the row {row!r}; each row is [channels of the 1x1 convolution, channels of the "
                    f"map, stride 1 or 2, padding 0 or 1], for example [256, 512, 2, 1]"
                )
            middle, out, stride, padding = row
            self.extra_maps.append(
                nn.Sequential(
                    ConvNorm(self.channels[-1], middle, 1, activation=nn.ReLU(), norm=norm),
                    ConvNorm(middle, out, 3, stride, padding=padding, activation=nn.ReLU(), norm=norm),
                )
            )
            self._least_sides.append(1 if padding else 3)
            self.channels.append(out)
            self.strides.append(self.strides[-1] * stride)

    def forward(self, maps: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        """List of (N, C_i, H_i, W_i) -> the same list, followed by the extra maps.

        Raises:
            UserError: the image is too small.
        """
        return _with_extra_maps(maps, self.extra_maps, self._least_sides, "a 3x3 convolution without padding")


def _with_extra_maps(maps, layers, least_sides, convolution):
    """The maps, followed by one from each layer, which reads the map before it. UserError when a side is too small."""
    maps = list(maps)
    for layer, needed in zip(layers, least_sides):
        height, width = maps[-1].shape[2:]
        # In a static graph the sides may be unknown. Paddle itself accepts an empty map and crashes later.
        if paddle.in_dynamic_mode() and min(height, width) < needed:
            raise UserError(
                f"the image is too small for {len(layers)} extra maps: one of {height} x {width} has no room for "
                f"{convolution}; give larger images or fewer extra_maps"
            )
        maps.append(layer(maps[-1]))
    return maps


class L2Norm(nn.Layer):
    """Scales the channel vector at every position to length 1, then each channel by a learned factor (ParseNet, arXiv
    1506.04579). SSD applies it to its first map, whose values are larger than those of the other maps.

    Args:
        channels: of the map.
        scale: the initial factor of every channel.
    """

    def __init__(self, channels: int, scale: float = 20.0):
        super().__init__()
        self.weight = self.create_parameter([channels], default_initializer=nn.initializer.Constant(scale))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, channels, H, W) -> the same shape. Where all channels are 0, they stay 0."""
        length = paddle.sqrt(paddle.sum(x * x, 1, keepdim=True) + 1e-20)  # the square root of 0 has no gradient
        return x / (length + 1e-10) * self.weight.reshape([1, -1, 1, 1])


#: rows of `HarDNetSSDMaps`. At 512 pixels they follow the 32x32 map of stride 16 with 16x16, 8x8, 4x4, 2x2 and 1x1.
EXTRA_MAPS_512 = (
    (256, 512, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 4, 1, 1),
)


class HarDNetSSDMaps(nn.Layer):
    """The maps that HarDNet-SSD512's predictors read: two maps of the backbone and five smaller ones.

    The paper (arXiv 1909.00948) does not describe these layers, so they follow the authors' code
    (github.com/PingoLH/PytorchSSD @a2a0a26). The first map goes through `L2Norm`. The last map goes through a bridge: a
    3x3 max pool of stride 1, a 3x3 and a 1x1 convolution, both with batch norm and ReLU. The extra maps have bias and
    ReLU and no batch norm. One thing differs: all convolutions start with He's initialisation, where the authors use
    PyTorch's default for the extra maps.

    Args:
        channels, strides: of the backbone's two maps.
        bridge_channels: between the bridge's two convolutions: 640 for HarDNet-68, whose map has 640 channels, and 960
            for HarDNet-85, whose map has 720.
        bridge_dilation: of the bridge's 3x3 convolution: 4 for HarDNet-68, 1 for HarDNet-85.
        extra_maps: a row [middle, out, kernel_size, stride, padding] per map: channels after a 1x1 convolution, then
            channels, kernel size, stride and padding of the convolution that computes the map. The default is for
            images of 512 pixels.
        scale: the initial factor of `L2Norm`.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        bridge_channels: int = 640,
        bridge_dilation: int = 4,
        extra_maps: Iterable[Sequence[int]] = EXTRA_MAPS_512,
        scale: float = 20.0,
    ):
        super().__init__()
        if len(channels) != 2:
            raise UserError(
                f"HarDNetSSDMaps starts from two maps, and the backbone returns {len(channels)}; set its return_idx to "
                f"two numbers, [1, 2] for strides 8 and 16"
            )
        for name, value in (("bridge_channels", bridge_channels), ("bridge_dilation", bridge_dilation)):
            check_count(name, value)
        self.norm = L2Norm(channels[0], scale)
        self.bridge = nn.Sequential(
            nn.MaxPool2D(kernel_size=3, stride=1, padding=1),
            nn.Conv2D(
                channels[1],
                bridge_channels,
                3,
                padding=bridge_dilation,
                dilation=bridge_dilation,
                weight_attr=paddle.ParamAttr(initializer=nn.initializer.KaimingNormal()),
                bias_attr=False,
            ),
            nn.BatchNorm2D(bridge_channels),
            nn.ReLU(),
            ConvNorm(bridge_channels, channels[1], 1, activation=nn.ReLU()),
        )
        #: channels and strides of the maps, in the order in which they are returned
        self.channels, self.strides = list(channels), list(strides)
        self._least_sides: list[int] = []  # side that a map needs, so that the next can be computed from it
        self.extra_maps = nn.LayerList([self._extra_map(row) for row in extra_maps])

    def _extra_map(self, row):
        whole = all(type(number) is int for number in row)
        if len(row) != 5 or not whole or min(row[:3]) < 1 or row[3] not in (1, 2) or not 0 <= row[4] < row[2]:
            raise UserError(
                f"extra_maps has the row {row!r}; each row is [channels of the 1x1 convolution, channels of the map, "
                f"side of its kernel, stride 1 or 2, padding below that side], for example [256, 512, 3, 2, 1]"
            )
        middle, out, kernel_size, stride, padding = row
        layer = nn.Sequential(
            conv(self.channels[-1], middle, 1, bias=True),
            nn.ReLU(),
            conv(middle, out, kernel_size, stride, padding, bias=True),
            nn.ReLU(),
        )
        self._least_sides.append(kernel_size - 2 * padding)
        self.channels.append(out)
        self.strides.append(self.strides[-1] * stride)
        return layer

    def forward(self, maps: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        """[(N, C, H, W), (N, D, h, w)] -> list of seven maps, or two more than there are rows of extra_maps.

        At 512 pixels: 64x64, 32x32, 16x16, 8x8, 4x4, 2x2, 1x1.

        Raises:
            UserError: the image is too small.
        """
        first, last = maps
        maps = [self.norm(first), self.bridge(last)]
        return _with_extra_maps(maps, self.extra_maps, self._least_sides, "the next convolution")
