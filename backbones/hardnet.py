"""HarDNet: a low memory traffic network (Chao et al., arXiv 1909.00948).

Follows the authors' networks in every number and in the names of the state dict, so that their weights load. Differs in
form only: one class, a table of variants, and the layers after the last feature map asked for are not built.
"""

from functools import partial
from itertools import pairwise

import paddle
from paddle import nn

from .base import Network, check_choice
from .layers import ConvNorm
from .variants import HARDNETS


def links(layer):
    """The layers that layer `layer` (1, 2, ...; 0 is the block's input) reads, newest first: layer - 2^n for every n
    such that 2^n divides it."""
    return [layer - 2**n for n in range(layer.bit_length()) if layer % 2**n == 0]


def layer_width(layer, growth_rate, multiplier):
    """Output channels of layer `layer` of a block: the growth rate, times the multiplier once per link after the first,
    rounded to an even number as the authors do."""
    width = growth_rate
    for _ in links(layer)[1:]:
        width *= multiplier
    return int(int(width + 1) / 2) * 2


ACTIVATIONS = {"relu6": nn.ReLU6, "relu": nn.ReLU}
PADDINGS = {"both": None, "before": [1, 0, 1, 0], "same": "SAME"}  # top, bottom, left, right


def dense_conv(in_channels, out_channels, kernel_size=3, stride=1, padding=None, activation="relu6"):
    """Convolution, batch norm, activation."""
    return ConvNorm(in_channels, out_channels, kernel_size, stride, padding, activation=ACTIVATIONS[activation]())


def depthwise_conv(channels, stride=1):
    """Depthwise 3x3 convolution and batch norm, without activation."""
    return ConvNorm(channels, channels, 3, stride, groups=channels, conv_name="dwconv")


class PointwiseDepthwise(nn.Layer):
    """1x1 convolution, batch norm, ReLU6, then depthwise 3x3 and batch norm."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.layer1 = dense_conv(in_channels, out_channels, kernel_size=1)
        self.layer2 = depthwise_conv(out_channels)

    def forward(self, x):
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return self.layer2(self.layer1(x))


class HarDBlock(nn.Layer):
    """Harmonic dense block: `layers` convolutions, each reading the layers that `links` names.

    Its output is layers 1, 3, 5, ... and the last one, concatenated in ascending order; the block's input is not
    part of it.
    """

    recomputable = True

    def __init__(self, in_channels, growth_rate, layers, multiplier, depthwise, activation="relu6"):
        super().__init__()
        widths = [in_channels] + [layer_width(i, growth_rate, multiplier) for i in range(1, layers + 1)]
        make = PointwiseDepthwise if depthwise else partial(dense_conv, activation=activation)
        self._links = [links(i) for i in range(1, layers + 1)]
        self._outputs = [i for i in range(1, layers + 1) if i % 2 == 1 or i == layers]
        self.layers = nn.LayerList(
            [make(sum(widths[j] for j in read), width) for read, width in zip(self._links, widths[1:])]
        )
        self.out_channels = sum(widths[i] for i in self._outputs)

    def forward(self, x):
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        done = [x]
        for read, layer in zip(self._links, self.layers):
            done.append(layer(done[read[0]] if len(read) == 1 else paddle.concat([done[i] for i in read], 1)))
        return paddle.concat([done[i] for i in self._outputs], 1)


class HarDNet(Network):
    """HarDNet as a classifier or a backbone.

    Args:
        variant (HarDNetVariant): a row of `variants.HARDNETS`, or one of your own.
        block_activation (str | None): "relu6" or "relu" inside the blocks; default None, the authors'. pytorchcv's 68
            and 85 have "relu". Depthwise variants have "relu6" alone.
        stride_padding (str): of convolutions that halve the image: "both" (default) pads all sides, "before" above and
            to the left alone, as one published set of Paddle weights wants, "same" below and to the right alone where
            the sides are even, as PaddleSeg's weights want. Not for depthwise convolutions.
        stem_stride (int): 2 (default), or 1 for a first convolution that keeps the resolution: all maps are twice as
            large, at four times the cost.
        block_maps (bool): the maps are taken before the 1x1 convolution that ends their stage, but for the last one and
            that at stride 2. So the decoder of FC-HarDNet wants them. Default False.
        activation (str | None): "relu6" or "relu" after every batch norm, in the blocks too unless `block_activation`
            says otherwise; default None, the variant's. The authors' SSD has "relu". Depthwise variants have "relu6".
        ceil_first_pool (bool): the first pool between blocks halves odd sides rounding up, as in the authors' SSD. The
            convolutions that depthwise variants have for pools do so anyway. Default False, or the variant's.
        **options: those of `Network`. There are two maps more than down-samplings between the blocks: five for most,
            0..5 for hardnet70, 0..3 for centernet_hardnet85_base.
    """

    def __init__(
        self,
        variant,
        block_activation=None,
        stride_padding="both",
        stem_stride=2,
        block_maps=False,
        activation=None,
        ceil_first_pool=False,
        **options,
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
        self._stage_ends = []  # positions in `base` where stages end
        self._build_stem(variant)
        width = variant.stem_channels[-1]
        if self.last_stage > 0:
            width = self._build_blocks(variant, width)
        if self.with_head:
            self.base.append(
                nn.Sequential(
                    nn.AdaptiveAvgPool2D(1),
                    nn.Flatten(),
                    nn.Dropout(variant.dropout),
                    nn.Linear(width, self.num_classes),
                )
            )
        self.finish()

    @property
    def model(self):
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
        """What halves the resolution after the stem or a block."""
        if self.variant.depthwise:
            return depthwise_conv(width, stride=2)
        if not self.variant.average_pool:
            return nn.MaxPool2D(kernel_size, 2, padding, ceil_mode=ceil_mode)
        # a window that is rounded up past the edge averages what is inside; one on the padding divides by all nine
        return nn.AvgPool2D(kernel_size, 2, padding, ceil_mode=ceil_mode, exclusive=padding == 0)

    def _build_blocks(self, variant, width):
        """Appends blocks to `base` until the last stage that is wanted; returns the channels of the last layer."""
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

    def as_classifier(self):
        """A new classifier of the same variant, with 1000 classes."""
        return HarDNet(self.variant, in_channels=self.in_channels)

    def after_map(self, index):
        """How many of the last layers of stage `index` run after its map was taken."""
        return 1 if self.block_maps and 0 < index < self.last_stage else 0

    def stage(self, index):
        """The layers of stage `index`, in the order in which they run."""
        start = self._stage_ends[index - 1] if index else 0
        return [self.base[i] for i in range(start, self._stage_ends[index])]

    def head(self, x):
        """(N, C, H, W), the last map -> logits (N, num_classes)."""
        return self.base[-1](x)

    def last_linear(self):
        """The prefix of the keys of the layer that has num_classes outputs."""
        return f"base.{len(self.base) - 1}.3"
