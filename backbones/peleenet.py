"""PeleeNet: a mobile network of plain convolutions with two-way dense layers (Wang et al., arXiv 1804.06882).

Follows the authors' network in every number and in the names of the state dict, so that their weights load. Differs in
one thing: the stem's pooling rounds up, as its convolutions do, so that images of any size run; where half the side is
even, which all sides that the authors' stem accepts are, this changes nothing.
"""

from dataclasses import dataclass

import paddle
from paddle import nn

from .base import STAGES, Network
from .layers import ConvNorm


@dataclass(frozen=True)
class PeleeNetVariant:
    """One row of the table below.

    Args:
        stem_channels: width of the stem.
        growth_rate: channels that each dense layer adds, half from each of its two branches (`k` in the paper).
        layers: number of dense layers in each block.
        bottleneck_widths: of each block; a branch's 1x1 convolution has this times growth_rate / 2 channels.
        dropout: before the classifier's linear layer.
    """

    stem_channels: int = 32
    growth_rate: int = 32
    layers: tuple = (3, 4, 8, 6)
    bottleneck_widths: tuple = (1, 2, 4, 4)
    dropout: float = 0.05


# Figures of the paper's table 1 and of the authors' network.
VARIANTS = {"peleenet": PeleeNetVariant()}


def conv_relu(in_channels, out_channels, kernel_size, stride=1):
    """Convolution, batch norm, ReLU."""
    return ConvNorm(in_channels, out_channels, kernel_size, stride, activation=nn.ReLU())


class Stem(nn.Layer):
    """The stem. Its first convolution, `stem1`, is a stage of its own, so `forward` takes that one's output."""

    stride = 2  # of `forward`

    def __init__(self, in_channels, channels, whole=True):
        """`whole` says whether to build what follows `stem1`."""
        super().__init__()
        self.out_channels = channels
        self.stem1 = conv_relu(in_channels, channels, 3, stride=2)
        if whole:
            self.stem2a = conv_relu(channels, channels // 2, 1)
            self.stem2b = conv_relu(channels // 2, channels, 3, stride=2)
            self.stem3 = conv_relu(2 * channels, channels, 1)
            self.pool = nn.MaxPool2D(2, 2, ceil_mode=True)  # else an odd side has one row less than stem2b gives

    def forward(self, x):
        """(N, channels, H, W) -> (N, channels, ceil(H / 2), ceil(W / 2))."""
        return self.stem3(paddle.concat([self.pool(x), self.stem2b(self.stem2a(x))], 1))


class DenseLayer(nn.Layer):
    """Two branches, with one 3x3 convolution and with two, behind a 1x1 convolution each; both are appended to the
    input."""

    def __init__(self, in_channels, growth_rate, bottleneck_width):
        super().__init__()
        half = growth_rate // 2
        middle = int(half * bottleneck_width / 4) * 4
        self.branch1a = conv_relu(in_channels, middle, 1)
        self.branch1b = conv_relu(middle, half, 3)
        self.branch2a = conv_relu(in_channels, middle, 1)
        self.branch2b = conv_relu(middle, half, 3)
        self.branch2c = conv_relu(half, half, 3)

    def forward(self, x):
        """(N, in_channels, H, W) -> (N, in_channels + growth_rate, H, W)."""
        one = self.branch1b(self.branch1a(x))
        two = self.branch2c(self.branch2b(self.branch2a(x)))
        return paddle.concat([x, one, two], 1)


class DenseBlock(nn.Sequential):
    """`layers` dense layers in sequence."""

    recomputable = True

    def __init__(self, in_channels, growth_rate, layers, bottleneck_width):
        super().__init__()
        for i in range(layers):
            layer = DenseLayer(in_channels + i * growth_rate, growth_rate, bottleneck_width)
            self.add_sublayer(f"denselayer{i + 1}", layer)
        self.out_channels = in_channels + layers * growth_rate


class PeleeNet(Network):
    """PeleeNet as a classifier or a backbone.

    Args:
        variant (PeleeNetVariant): a row of `VARIANTS`, or one of your own.
        ceil_mode (bool): the pools between stages round odd sides up, as in Caffe, where the authors trained their
            detector: 304 pixels give 19 and 10 at strides 16 and 32. Default False, down as in the classifier: 9.
        **options: those of `Network`.
    """

    def __init__(self, variant, ceil_mode=False, **options):
        super().__init__(**options)
        self.variant = variant
        width = variant.stem_channels
        self.features = nn.Sequential()
        self.features.add_sublayer("stemblock", Stem(self.in_channels, width, whole=self.last_stage > 0))
        rows = zip(range(1, STAGES), variant.layers, variant.bottleneck_widths)
        for i, layers, bottleneck_width in rows:
            if i > self.last_stage:
                break
            if i > 1:
                self.features.add_sublayer(f"transition{i - 1}_pool", nn.AvgPool2D(2, 2, ceil_mode=ceil_mode))
            block = DenseBlock(width, variant.growth_rate, layers, bottleneck_width)
            width = block.out_channels
            self.features.add_sublayer(f"denseblock{i}", block)
            self.features.add_sublayer(f"transition{i}", conv_relu(width, width, 1))
        if self.with_head:
            self.dropout = nn.Dropout(variant.dropout)
            self.classifier = nn.Linear(width, self.num_classes)
        self.finish()

    def as_classifier(self):
        """A new classifier of the same variant, with 1000 classes."""
        return PeleeNet(self.variant, in_channels=self.in_channels)

    def stage(self, index):
        """The layers of stage `index`, in the order in which they run."""
        if index == 0:
            return [self.features.stemblock.stem1]
        names = [f"denseblock{index}", f"transition{index}"]
        before = "stemblock" if index == 1 else f"transition{index - 1}_pool"
        return [getattr(self.features, name) for name in (before, *names)]

    def last_linear(self):
        """The prefix of the keys of the layer that has num_classes outputs."""
        return "classifier"

    def head(self, x):
        """(N, C, H, W), the last map -> logits (N, num_classes)."""
        return self.classifier(self.dropout(x.mean([2, 3])))
