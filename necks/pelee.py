"""The maps of Pelee's detector (Wang et al., arXiv 1804.06882, section 3): smaller ones behind the backbone's, and a
residual block before every predictor. Figures that the paper leaves open are those of the authors' Caffe network."""

import paddle.nn.functional as F
from paddle import nn

from ..backbones.layers import ConvNorm
from .ssd import SSDExtraMaps

#: rows of `SSDExtraMaps`: 5x5, 3x3 and 1x1 behind the 10x10 of stride 32 at 304 pixels
EXTRA_MAPS = ((256, 256, 2, 1), (128, 256, 1, 0), (128, 256, 1, 0))
#: channels of every map that is predicted from
WIDTH = 256


class ResidualBlock(nn.Layer):
    """A 1x1 convolution, and beside it 1x1, 3x3 and 1x1 ones of half the width, added and then ReLU.

    Args:
        in_channels, out_channels (int): channels.
        **norm: options `norm` and `epsilon` of `ConvNorm`.
    """

    def __init__(self, in_channels, out_channels, **norm):
        super().__init__()
        half = out_channels // 2
        self.shortcut = ConvNorm(in_channels, out_channels, 1, **norm)
        self.branch = nn.Sequential(
            ConvNorm(in_channels, half, 1, activation=nn.ReLU(), **norm),
            ConvNorm(half, half, 3, activation=nn.ReLU(), **norm),
            ConvNorm(half, out_channels, 1, **norm),
        )

    def forward(self, x):
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return F.relu(self.shortcut(x) + self.branch(x))


class PeleeMaps(nn.Layer):
    """What Pelee's detector predicts from: a residual block on each of the backbone's and the extra maps.

    The block on the first map feeds two predictors, which have boxes of different sizes, so its output comes twice.
    The extra maps have no batch norm, as in the authors' network.

    Args:
        channels, strides (list of int): of the backbone's maps, those of strides 16 and 32 in the paper.
        extra_maps (list of [middle, out, stride, padding]): as in `SSDExtraMaps`.
        width (int): channels of the blocks' outputs. Default 256.
        norm (bool): False builds the blocks with batch norm merged into their convolutions. Default True.
        norm_epsilon (float): of the batch norms. Default 1e-3.
    """

    def __init__(self, channels, strides, extra_maps=EXTRA_MAPS, width=WIDTH, norm=True, norm_epsilon=1e-3):
        super().__init__()
        self.norm, self.norm_epsilon = norm, norm_epsilon
        self.extra = SSDExtraMaps(channels, strides, extra_maps, norm=False)
        self.blocks = nn.LayerList(
            [ResidualBlock(count, width, norm=norm, epsilon=norm_epsilon) for count in self.extra.channels]
        )
        #: channels and strides of the maps, in the order in which they are returned
        self.channels = [width] * (len(self.blocks) + 1)
        self.strides = [self.extra.strides[0], *self.extra.strides]

    def forward(self, maps):
        """list of (N, C_i, H_i, W_i) -> list of (N, width, H, W): the first map's twice, the others', the extra ones'.

        304 pixels with the ceil rule: 19x19 twice, 10x10, 5x5, 3x3, 1x1. UserError when the image is too small.
        """
        maps = [block(x) for block, x in zip(self.blocks, self.extra(maps))]
        return [maps[0], *maps]
