"""What SSD (Liu et al., arXiv 1512.02325) adds to a backbone: maps smaller than its last one."""

import paddle
from paddle import nn

from ..backbones.layers import ConvNorm
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
