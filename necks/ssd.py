"""What SSD (Liu et al., arXiv 1512.02325) adds to a backbone: maps smaller than its last one; and HarDNet-SSD512."""

import paddle
from paddle import nn

from ..backbones.base import check_count
from ..backbones.layers import ConvNorm, conv
from ..errors import UserError


class SSDExtraMaps(nn.Layer):
    """Appends maps of falling size to a backbone's maps.

    Each extra map is made from the one before it by a 1x1 convolution and a 3x3 one, both with batch norm and ReLU
    unless told otherwise, so that a detector can also be trained from random weights.

    Args:
        channels (list of int), strides (list of int): of the backbone's maps, in the order in which they arrive.
        extra_maps (list of [middle, out, stride, padding]): channels after the 1x1 convolution, channels of the map,
            and stride (1 or 2) and padding (0 or 1) of the 3x3 convolution. Stride 2 with padding 1 halves the sides,
            rounding up; stride 1 without padding takes 2 off each: 9 -> 5 -> 3 -> 1 is [.., 2, 1], [.., 2, 1],
            [.., 1, 0].
        norm (bool): False builds them as the paper has them: no batch norm, convolutions with bias. Default True.
    """

    def __init__(self, channels, strides, extra_maps, norm=True):
        super().__init__()
        self.channels, self.strides = list(channels), list(strides)
        self.extra_maps = nn.LayerList()
        self._least_sides = []  # that a map must have for the next to be made from it
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

    def forward(self, maps):
        """list of (N, C_i, H_i, W_i) -> the same list with the extra maps behind it; UserError for too small ones."""
        maps = list(maps)
        for extra, needed in zip(self.extra_maps, self._least_sides):
            height, width = maps[-1].shape[2:]
            # In a static graph the sides may be unknown. Paddle itself lets an empty map through, and crashes later.
            if paddle.in_dynamic_mode() and min(height, width) < needed:
                raise UserError(
                    f"the image is too small for {len(self.extra_maps)} extra maps: one of {height} x {width} has no "
                    f"room for a 3x3 convolution without padding; give larger images or fewer extra_maps"
                )
            maps.append(extra(maps[-1]))
        return maps


class L2Norm(nn.Layer):
    """Scales the channels at every place to length 1, then each by a factor that is learned (ParseNet, arXiv
    1506.04579). SSD does it to its first map, whose values are larger than those of the others.

    Args:
        channels (int): of the map.
        scale (float): the factor of every channel at the start. Default 20.
    """

    def __init__(self, channels, scale=20.0):
        super().__init__()
        self.weight = self.create_parameter([channels], default_initializer=nn.initializer.Constant(scale))

    def forward(self, x):
        """(N, channels, H, W) -> the same shape; where all channels are 0, they stay so."""
        length = paddle.sqrt(paddle.sum(x * x, 1, keepdim=True) + 1e-20)  # the root of 0 alone has no gradient
        return x / (length + 1e-10) * self.weight.reshape([1, -1, 1, 1])


#: rows of `HarDNetSSDMaps`: 16x16, 8x8, 4x4, 2x2 and 1x1 behind the 32x32 of stride 16 at 512 pixels
EXTRA_MAPS_512 = (
    (256, 512, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 4, 1, 1),
)


class HarDNetSSDMaps(nn.Layer):
    """What HarDNet-SSD512 predicts from: two maps of the backbone and five smaller ones.

    As the authors' code has it (github.com/PingoLH/PytorchSSD @a2a0a26; their paper, arXiv 1909.00948, leaves these
    layers open): the first map goes through `L2Norm`; the last through a bridge of a 3x3 max pool of stride 1, a 3x3
    and a 1x1 convolution, both with batch norm and ReLU; the extra maps have bias and ReLU and no batch norm. Differs
    in how convolutions start: He's initialisation for all, where the authors leave those of extra maps to PyTorch.

    Args:
        channels, strides (list of int): of the backbone's two maps.
        bridge_channels (int): between the bridge's two convolutions; as many as the map has (640) for HarDNet-68, 960
            where the map has 720 for HarDNet-85.
        bridge_dilation (int): of the bridge's 3x3 convolution: 4 for HarDNet-68, 1 for HarDNet-85.
        extra_maps (list of [middle, out, kernel_size, stride, padding]): channels after a 1x1 convolution, and
            channels, side of the kernel, stride and padding of the convolution that makes the map. Default: those of
            512 pixels.
        scale (float): of `L2Norm` at the start. Default 20.
    """

    def __init__(
        self, channels, strides, bridge_channels=640, bridge_dilation=4, extra_maps=EXTRA_MAPS_512, scale=20.0
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
        layer.least_side = kernel_size - 2 * padding  # that a map must have for this one to be made from it
        self.channels.append(out)
        self.strides.append(self.strides[-1] * stride)
        return layer

    def forward(self, maps):
        """[(N, C, H, W), (N, D, h, w)] -> list of seven or as many as there are; UserError for too small ones.

        At 512 pixels: 64x64, 32x32, 16x16, 8x8, 4x4, 2x2, 1x1.
        """
        first, last = maps
        maps = [self.norm(first), self.bridge(last)]
        for extra in self.extra_maps:
            height, width = maps[-1].shape[2:]
            # In a static graph the sides may be unknown. Paddle itself lets an empty map through, and crashes later.
            if paddle.in_dynamic_mode() and min(height, width) < extra.least_side:
                raise UserError(
                    f"the image is too small for {len(self.extra_maps)} extra maps: one of {height} x {width} has no "
                    f"room for the next convolution; give larger images or fewer extra_maps"
                )
            maps.append(extra(maps[-1]))
        return maps
