"""HarDNet: a low memory traffic network (Chao et al., arXiv 1909.00948).

All numbers and state-dict keys are those of the authors' networks, so their weights load. Only the code differs: there
is one class and a table of variants, and layers after the last requested feature map are not built.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from .base import Network, check_choice
from .layers import ConvNorm
from .variants import HARDNETS, HarDNetVariant


def links(layer: int) -> list[int]:
    """The layers that layer `layer` of a block reads, newest first: layer - 2^n for every n such that 2^n divides it.

    Layers count from 1; 0 is the block's input.
    """
    return [layer - 2**n for n in range(layer.bit_length()) if layer % 2**n == 0]


def layer_width(layer: int, growth_rate: int, multiplier: float) -> int:
    """Output channels of layer `layer` of a block: the growth rate, times the multiplier once per link after the first.

    Rounded to an even number as in the authors' code.
    """
    width = float(growth_rate)
    for _ in links(layer)[1:]:
        width *= multiplier
    return int(int(width + 1) / 2) * 2


ACTIVATIONS = {"relu6": nn.ReLU6, "relu": nn.ReLU}
# a list is top, bottom, left, right
PADDINGS: dict[str, list[int] | str | None] = {"both": None, "before": [1, 0, 1, 0], "same": "SAME"}


def dense_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    stride: int = 1,
    padding: int | str | list[int] | None = None,
    activation: str = "relu6",
) -> ConvNorm:
    """Convolution, batch norm, activation; the last is "relu6" or "relu"."""
    return ConvNorm(in_channels, out_channels, kernel_size, stride, padding, activation=ACTIVATIONS[activation]())


def depthwise_conv(channels: int, stride: int = 1) -> ConvNorm:
    """Depthwise 3x3 convolution and batch norm, without activation."""
    return ConvNorm(channels, channels, 3, stride, groups=channels, conv_name="dwconv")


class PointwiseDepthwise(nn.Layer):
    """1x1 convolution, batch norm, ReLU6, then depthwise 3x3 and batch norm."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.layer1 = dense_conv(in_channels, out_channels, kernel_size=1)
        self.layer2 = depthwise_conv(out_channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return self.layer2(self.layer1(x))


class HarDBlock(nn.Layer):
    """Harmonic dense block: `layers` convolutions, each reading the layers that `links` lists.

    The output is the concatenation of layers 1, 3, 5, ... and the last one, in ascending order, without the block's
    input.
    """

    recomputable = True

    def __init__(
        self,
        in_channels: int,
        growth_rate: int,
        layers: int,
        multiplier: float,
        depthwise: bool,
        activation: str = "relu6",
    ):
        super().__init__()
        widths = [in_channels] + [layer_width(i, growth_rate, multiplier) for i in range(1, layers + 1)]
        make: Callable[[int, int], nn.Layer]
        make = PointwiseDepthwise if depthwise else partial(dense_conv, activation=activation)
        self._links = [links(i) for i in range(1, layers + 1)]
        self._outputs = [i for i in range(1, layers + 1) if i % 2 == 1 or i == layers]
        self.layers = nn.LayerList(
            [make(sum(widths[j] for j in read), width) for read, width in zip(self._links, widths[1:])]
        )
        self.out_channels = sum(widths[i] for i in self._outputs)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        done = [x]
        for read, layer in zip(self._links, self.layers):
            done.append(layer(done[read[0]] if len(read) == 1 else paddle.concat([done[i] for i in read], 1)))
        return paddle.concat([done[i] for i in self._outputs], 1)


class HarDNet(Network):
    """HarDNet as a classifier or a backbone.

    Args:
        variant: a row of `variants.HARDNETS`, or one of your own.
        block_activation: "relu6" or "relu" inside the blocks; None is `activation`. pytorchcv's 68 and 85 have "relu".
            Depthwise variants only have "relu6".
        stride_padding: padding of convolutions that halve the image. "both" pads all sides. "before" pads only the top
            and left, for one published set of Paddle weights. "same" pads only the bottom and right where the sides
            are even, for PaddleSeg's weights. It does not apply to depthwise convolutions.
        stem_stride: 2, or 1 for a first convolution that keeps the resolution. With 1 all maps are twice as large, at
            four times the cost.
        block_maps: takes the maps before the 1x1 convolution that ends their stage, except the last map and the one at
            stride 2. FC-HarDNet's decoder needs these.
        activation: "relu6" or "relu" after every batch norm, also in the blocks unless `block_activation` differs. None
            is the variant's. The authors' SSD has "relu". Depthwise variants only have "relu6".
        ceil_first_pool: the first pool between blocks rounds odd sides up, as in the authors' SSD and in variants with
            `ceil_first_pool`. Depthwise variants always round up, because convolutions replace their pools.
        **options: those of `Network`. The number of maps is the number of down-samplings between blocks plus two: five
            for most variants, six (0..5) for hardnet70, four (0..3) for centernet_hardnet85_base.
    """

    def __init__(
        self,
        variant: HarDNetVariant,
        block_activation: str | None = None,
        stride_padding: str = "both",
        stem_stride: int = 2,
        block_maps: bool = False,
        activation: str | None = None,
        ceil_first_pool: bool = False,
        **options: Any,
    ):
        super().__init__(stages=sum(variant.downsample_after) + 2, **options)
        activation = variant.activation if activation is None else activation
        block_activation = activation if block_activation is None else block_activation
        for name, value in (("activation", activation), ("block_activation", block_activation)):
            check_choice(name, value, ["relu6"] if variant.depthwise else ACTIVATIONS)
        check_choice("stride_padding", stride_padding, PADDINGS)
        check_choice("stem_stride", stem_stride, (1, 2))
        self.variant = variant
        self.activation, self.ceil_first_pool = activation, ceil_first_pool
        self.block_activation, self.stride_padding = block_activation, stride_padding
        self.stem_stride, self.block_maps = stem_stride, block_maps
        self.base = nn.LayerList()
        self._stage_ends: list[int] = []  # positions in `base` where stages end
        self._build_stem(variant)
        width = variant.stem_channels[-1]
        if self.last_stage > 0:
            width = self._build_blocks(variant, width)
        self._features_end = len(self.base)
        if self.with_head:
            self._set_classifier(self.num_classes, width)
        self.finish()

    @property
    def model(self) -> str:
        """The name of the variant in `variants.HARDNETS`, or an empty text."""
        return next((name for name, variant in HARDNETS.items() if variant == self.variant), "")

    def _conv(self, in_channels, out_channels, kernel_size=3, stride=1):
        padding = PADDINGS[self.stride_padding] if stride > 1 else None
        return dense_conv(in_channels, out_channels, kernel_size, stride, padding, self.activation)

    def _build_stem(self, variant):
        widths = (self.in_channels, *variant.stem_channels)
        strides = (self.stem_stride, 1, 2, 1)
        for i, (width, following) in enumerate(pairwise(widths)):
            if i == 2 and self.last_stage == 0:
                return
            kernel_size = 1 if variant.depthwise and i == 1 else 3
            self.base.append(self._conv(width, following, kernel_size, strides[i]))
            if i == 1:
                self._end_stage()
        if len(variant.stem_channels) == 2 and self.last_stage > 0:
            self.base.append(self._downsample(widths[-1], kernel_size=3, padding=1))

    def _downsample(self, width, kernel_size=2, padding=0, ceil_mode=False):
        """The layer that halves the resolution after the stem or a block."""
        if self.variant.depthwise:
            return depthwise_conv(width, stride=2)
        if not self.variant.average_pool:
            return nn.MaxPool2D(kernel_size, 2, padding, ceil_mode=ceil_mode)
        # A window that reaches past the edge (ceil_mode) averages the pixels inside; one over padding divides by all 9.
        return nn.AvgPool2D(kernel_size, 2, padding, ceil_mode=ceil_mode, exclusive=padding == 0)

    def _build_blocks(self, variant, width):
        """Appends blocks to `base` up to the last requested stage; returns the channels of the last layer."""
        last = len(variant.layers) - 1
        rows = zip(variant.growth_rates, variant.layers, variant.channels, variant.downsample_after)
        for i, (growth_rate, layers, channels, downsample) in enumerate(rows):
            block = HarDBlock(
                width, growth_rate, layers, variant.growth_multiplier, variant.depthwise, self.block_activation
            )
            self.base.append(block)
            if i == last and variant.inner_dropout:
                self.base.append(nn.Dropout(variant.inner_dropout))
            if channels is not None:
                self.base.append(self._conv(block.out_channels, channels, kernel_size=1))
            width = block.out_channels if channels is None else channels
            if downsample or i == last:
                self._end_stage()
            if len(self._stage_ends) > self.last_stage:
                break
            if downsample:
                ceil_mode = (variant.ceil_first_pool or self.ceil_first_pool) and i == 0
                self.base.append(self._downsample(width, ceil_mode=ceil_mode))
        return width

    def _end_stage(self):
        self._stage_ends.append(len(self.base))

    def as_classifier(self) -> "HarDNet":
        """A new classifier of the same variant, with 1000 classes."""
        return HarDNet(self.variant, in_channels=self.in_channels, norm=self.norm_kind)

    def after_map(self, index: int) -> int:
        """How many of the last layers of stage `index` run after its map is taken."""
        return 1 if self.block_maps and 0 < index < self.last_stage else 0

    def stem(self) -> list[nn.Layer]:
        """The layers before the first HarDBlock."""
        blocks = [i for i, layer in enumerate(self.base) if isinstance(layer, HarDBlock)]
        return [self.base[i] for i in range(blocks[0] if blocks else self._features_end)]

    def stage(self, index: int) -> list[nn.Layer]:
        """The layers of stage `index`, in the order in which they run."""
        start = self._stage_ends[index - 1] if index else 0
        return [self.base[i] for i in range(start, self._stage_ends[index])]

    def _set_classifier(self, num_classes, width=None):
        del self.base[self._features_end :]
        if num_classes:
            rate = self.variant.dropout if self.drop_rate is None else self.drop_rate
            linear = nn.Linear(width or self.num_features, num_classes)
            self.base.append(nn.Sequential(nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Dropout(rate), linear))

    def pool(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, num_features, H, W) -> their means (N, num_features)."""
        return F.adaptive_avg_pool2d(x, 1).flatten(1)

    def drop(self, x: paddle.Tensor) -> paddle.Tensor:
        """The dropout before the last layer."""
        return self.base[-1][2](x)

    def get_classifier(self) -> nn.Layer:
        """The last layer, a `nn.Linear`; an identity when there is none."""
        return self.base[-1][3] if self.with_head and self.num_classes else nn.Identity()

    def last_linear(self) -> str:
        """The prefix of the keys of the classifier's last layer, which has num_classes outputs."""
        return f"base.{self._features_end}.3"
