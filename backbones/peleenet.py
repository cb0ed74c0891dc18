"""PeleeNet: a mobile network of plain convolutions with two-way dense layers (Wang et al., arXiv 1804.06882).

All numbers and state-dict keys are those of the authors' network, so their weights load. One thing differs: the stem's
pool rounds up, like its convolutions, so images of any size run. The authors' stem accepts only sides whose half is
even, and for these the result is the same.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import paddle
from paddle import nn

from ..errors import UserError
from .base import STAGES, Network
from .layers import ConvNorm
from .variants import PeleeNetVariant


def conv_relu(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, **norm: Any) -> ConvNorm:
    """Convolution, batch norm, ReLU; **norm are the options `norm` and `epsilon` of `ConvNorm`."""
    return ConvNorm(in_channels, out_channels, kernel_size, stride, activation=nn.ReLU(), **norm)


class Stem(nn.Layer):
    """The stem. Its first convolution, `stem1`, is a stage of its own, so `forward` takes the output of `stem1`.

    Args:
        in_channels: channels of the image.
        channels: of the output.
        whole: whether to build the layers after `stem1`.
        unit: builds each convolution with its norm and ReLU.
    """

    stride = 2  # of `forward`

    def __init__(self, in_channels: int, channels: int, whole: bool = True, unit: Callable[..., nn.Layer] = conv_relu):
        super().__init__()
        self.out_channels = channels
        self.stem1 = unit(in_channels, channels, 3, stride=2)
        if whole:
            self.stem2a = unit(channels, channels // 2, 1)
            self.stem2b = unit(channels // 2, channels, 3, stride=2)
            self.stem3 = unit(2 * channels, channels, 1)
            self.pool = nn.MaxPool2D(
                2, 2, ceil_mode=True
            )  # rounding down, an odd side would give one row fewer than stem2b

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, channels, H, W) -> (N, channels, ceil(H / 2), ceil(W / 2))."""
        return self.stem3(paddle.concat([self.pool(x), self.stem2b(self.stem2a(x))], 1))


class DenseLayer(nn.Layer):
    """Appends the outputs of two branches to the input. Each starts with a 1x1 convolution; one 3x3 convolution follows
    in the first branch, two in the second."""

    def __init__(
        self, in_channels: int, growth_rate: int, bottleneck_width: int, unit: Callable[..., nn.Layer] = conv_relu
    ):
        super().__init__()
        half = growth_rate // 2
        middle = int(half * bottleneck_width / 4) * 4
        self.branch1a = unit(in_channels, middle, 1)
        self.branch1b = unit(middle, half, 3)
        self.branch2a = unit(in_channels, middle, 1)
        self.branch2b = unit(middle, half, 3)
        self.branch2c = unit(half, half, 3)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, in_channels, H, W) -> (N, in_channels + growth_rate, H, W)."""
        one = self.branch1b(self.branch1a(x))
        two = self.branch2c(self.branch2b(self.branch2a(x)))
        return paddle.concat([x, one, two], 1)


class DenseBlock(nn.Sequential):
    """`layers` dense layers in sequence."""

    recomputable = True

    def __init__(
        self,
        in_channels: int,
        growth_rate: int,
        layers: int,
        bottleneck_width: int,
        unit: Callable[..., nn.Layer] = conv_relu,
    ):
        super().__init__()
        for i in range(layers):
            layer = DenseLayer(in_channels + i * growth_rate, growth_rate, bottleneck_width, unit)
            self.add_sublayer(f"denselayer{i + 1}", layer)
        self.out_channels = in_channels + layers * growth_rate


class PeleeNet(Network):
    """PeleeNet as a classifier or a backbone.

    Args:
        variant: a row of `variants.PELEENETS`, or one of your own.
        ceil_mode: True rounds odd sides up in the pools between stages, as in Caffe, where the authors trained their
            detector: 304 pixels give 19 at stride 16 and 10 at stride 32. False rounds down as in the classifier: 19
            and 9.
        norm: as in `Network`; False builds the network without norms and with a bias in every convolution, as the
            authors publish their detector. `layers.merge_norms` turns a trained network into this form.
        norm_epsilon: of the batch norms: 1e-5 in the authors' classifier, 1e-3 in their detector.
        **options: those of `Network`.
    """

    model = "peleenet"

    def __init__(
        self,
        variant: PeleeNetVariant,
        ceil_mode: bool = False,
        norm: bool | str | Callable[[int], nn.Layer] = "bn",
        norm_epsilon: float = 1e-5,
        **options: Any,
    ):
        super().__init__(norm="bn" if isinstance(norm, bool) else norm, **options)
        if isinstance(norm_epsilon, bool) or not isinstance(norm_epsilon, (int, float)) or not 0 < norm_epsilon < 1:
            raise UserError(f"norm_epsilon is {norm_epsilon!r}; it must be a number between 0 and 1, such as 0.001")
        self.variant, self.ceil_mode, self.norm_epsilon = variant, ceil_mode, norm_epsilon
        self.norm = norm is not False
        unit = partial(conv_relu, norm=self.norm, epsilon=norm_epsilon)
        width = variant.stem_channels
        self.features = nn.Sequential()
        self.features.add_sublayer("stemblock", Stem(self.in_channels, width, self.last_stage > 0, unit))
        rows = zip(range(1, STAGES), variant.layers, variant.bottleneck_widths)
        for i, layers, bottleneck_width in rows:
            if i > self.last_stage:
                break
            if i > 1:
                self.features.add_sublayer(f"transition{i - 1}_pool", nn.AvgPool2D(2, 2, ceil_mode=ceil_mode))
            block = DenseBlock(width, variant.growth_rate, layers, bottleneck_width, unit)
            width = block.out_channels
            self.features.add_sublayer(f"denseblock{i}", block)
            self.features.add_sublayer(f"transition{i}", unit(width, width, 1))
        if self.with_head:
            self._set_classifier(self.num_classes, width)
        self.finish()

    def as_classifier(self) -> "PeleeNet":
        """A new classifier of the same variant, with 1000 classes."""
        return PeleeNet(self.variant, in_channels=self.in_channels, norm=self.norm and self.norm_kind)

    def stem(self) -> list[nn.Layer]:
        """The stem block."""
        return [self.features.stemblock]

    def stage(self, index: int) -> list[nn.Layer]:
        """The layers of stage `index`, in the order in which they run."""
        if index == 0:
            return [self.features.stemblock.stem1]
        names = [f"denseblock{index}", f"transition{index}"]
        before = "stemblock" if index == 1 else f"transition{index - 1}_pool"
        return [getattr(self.features, name) for name in (before, *names)]

    def last_linear(self) -> str:
        """The prefix of the keys of the classifier's last layer, which has num_classes outputs."""
        return "classifier"

    def _set_classifier(self, num_classes, width=None):
        for name in ("dropout", "classifier"):
            self._sub_layers.pop(name, None)
        if num_classes:
            self.dropout = nn.Dropout(self.variant.dropout if self.drop_rate is None else self.drop_rate)
            self.classifier = nn.Linear(width or self.num_features, num_classes)

    def drop(self, x: paddle.Tensor) -> paddle.Tensor:
        """The dropout before the last layer."""
        return self.dropout(x)

    def get_classifier(self) -> nn.Layer:
        """The last layer, a `nn.Linear`; an identity when there is none."""
        return self.classifier if self.with_head and self.num_classes else nn.Identity()
