"""The neck of Pelee's detector (Wang et al., arXiv 1804.06882, section 3).

It appends smaller maps to the backbone's and puts a residual block before every predictor. Where the paper gives no
number, the authors' Caffe network does.
"""

from collections.abc import Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from ..backbones.layers import ConvNorm
from .ssd import SSDExtraMaps

#: rows of `SSDExtraMaps`. At 304 pixels they follow the 10x10 map of stride 32 with 5x5, 3x3 and 1x1.
EXTRA_MAPS = ((256, 256, 2, 1), (128, 256, 1, 0), (128, 256, 1, 0))
#: channels of every map that a predictor reads
WIDTH = 256


class ResidualBlock(nn.Layer):
    """Adds two branches, then ReLU: a 1x1 convolution, and 1x1, 3x3 and 1x1 convolutions with half the width inside.

    Args:
        in_channels, out_channels: channels.
        **norm: options `norm` and `epsilon` of `ConvNorm`.
    """

    def __init__(self, in_channels: int, out_channels: int, **norm: Any):
        super().__init__()
        half = out_channels // 2
        self.shortcut = ConvNorm(in_channels, out_channels, 1, **norm)
        self.branch = nn.Sequential(
            ConvNorm(in_channels, half, 1, activation=nn.ReLU(), **norm),
            ConvNorm(half, half, 3, activation=nn.ReLU(), **norm),
            ConvNorm(half, out_channels, 1, **norm),
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return F.relu(self.shortcut(x) + self.branch(x))


class PeleeMaps(nn.Layer):
    """The maps that Pelee's predictors read: a residual block on each of the backbone's maps and the extra maps.

    The output of the first block comes twice, because two predictors with boxes of different sizes read it. The extra
    maps have no batch norm, as in the authors' network.

    Args:
        channels, strides: of the backbone's maps; in the paper these are the maps at strides 16 and 32.
        extra_maps: rows as in `SSDExtraMaps`.
        width: channels of the blocks' outputs.
        norm: False builds the blocks without batch norm and with a bias in every convolution.
        norm_epsilon: of the batch norms.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        extra_maps: Sequence[Sequence[int]] = EXTRA_MAPS,
        width: int = WIDTH,
        norm: bool = True,
        norm_epsilon: float = 1e-3,
    ):
        super().__init__()
        self.norm, self.norm_epsilon = norm, norm_epsilon
        self.extra = SSDExtraMaps(channels, strides, extra_maps, norm=False)
        self.blocks = nn.LayerList(
            [ResidualBlock(count, width, norm=norm, epsilon=norm_epsilon) for count in self.extra.channels]
        )
        #: channels and strides of the maps, in the order in which they are returned
        self.channels = [width] * (len(self.blocks) + 1)
        self.strides = [self.extra.strides[0], *self.extra.strides]

    def forward(self, maps: list[paddle.Tensor]) -> list[paddle.Tensor]:
        """List of (N, C_i, H_i, W_i) -> list of (N, width, H, W): the first map twice, the other maps, the extra maps.

        At 304 pixels, with a backbone that rounds up: 19x19 twice, 10x10, 5x5, 3x3, 1x1.

        Raises:
            UserError: the image is too small.
        """
        maps = [block(x) for block, x in zip(self.blocks, self.extra(maps))]
        return [maps[0], *maps]
