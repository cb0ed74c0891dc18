"""Layers that the families share, and functions that recompute, merge and exchange layers.

A layer that changes the number of channels has `out_channels`, and one that changes the resolution has `stride`.
`base.Network` reads a network's channels and strides from these.
"""

from collections.abc import Callable

import numpy as np
import paddle
from paddle import nn

from . import windows


def conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    padding: int | str | list[int] | None = None,
    groups: int = 1,
    bias: bool = False,
    fan: int | None = None,
) -> nn.Conv2D:
    """A 2-D convolution with He initialisation.

    Args:
        in_channels, out_channels, kernel_size, stride, groups: as in `nn.Conv2D`.
        padding: as in `nn.Conv2D`; None pads by kernel_size // 2.
        bias: whether it has a bias.
        fan: the fan for the initialisation; None is the fan-in. Paddle's own default divides by all input channels
            even for a grouped convolution. The initial weights of a depthwise layer are then too small by the square
            root of its width.
    """
    layer = nn.Conv2D(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2 if padding is None else padding,
        groups=groups,
        weight_attr=paddle.ParamAttr(initializer=nn.initializer.KaimingNormal(fan_in=fan)),
        bias_attr=None if bias else False,
    )
    layer.out_channels, layer.stride = out_channels, stride
    return layer


class ConvNorm(nn.Layer):
    """Convolution, batch norm and an optional activation.

    Args:
        in_channels, out_channels: channels.
        kernel_size: side of the square kernel.
        stride: of the convolution.
        padding: as in `nn.Conv2D`; None pads by kernel_size // 2.
        groups: of the convolution; `in_channels` makes it depthwise.
        activation: applied last.
        conv_name: attribute that holds the convolution, because the state-dict keys are the official ones.
        norm: False leaves the batch norm out and gives the convolution a bias.
        epsilon: of the batch norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int | str | list[int] | None = None,
        groups: int = 1,
        activation: nn.Layer | None = None,
        conv_name: str = "conv",
        norm: bool = True,
        epsilon: float = 1e-5,
    ):
        super().__init__()
        self.out_channels = out_channels
        self.stride = stride
        self._conv_name = conv_name
        convolution = conv(in_channels, out_channels, kernel_size, stride, padding, groups, bias=not norm)
        self.add_sublayer(conv_name, convolution)
        self.norm = nn.BatchNorm2D(out_channels, epsilon=epsilon) if norm else None
        self.activation = activation

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        x = getattr(self, self._conv_name)(x)
        x = x if self.norm is None else self.norm(x)
        return x if self.activation is None else self.activation(x)

    def merge(self) -> None:
        """Folds the batch norm's stored statistics into the convolution, in place. The convolution gets a bias."""
        if self.norm is None:
            return
        convolution, norm = getattr(self, self._conv_name), self.norm
        # in float64: float32's rounding errors would add up over a hundred layers
        weight, scale, shift, mean, variance = (
            tensor.numpy().astype("float64")
            for tensor in (convolution.weight, norm.weight, norm.bias, norm._mean, norm._variance)
        )
        factor = scale / np.sqrt(variance + norm._epsilon)
        convolution.bias = convolution.create_parameter([self.out_channels], is_bias=True)
        convolution.bias.stop_gradient = convolution.weight.stop_gradient
        convolution.weight.set_value((weight * factor[:, None, None, None]).astype("float32"))
        convolution.bias.set_value((shift - mean * factor).astype("float32"))
        self.norm = None


def merge_norms(layer: nn.Layer) -> None:
    """Folds the batch norm of every `ConvNorm` below `layer` into its convolution, in place.

    The outputs in eval mode stay the same. The layers are then as if built with `norm=False`.
    """
    for child in layer.sublayers(include_self=True):
        if isinstance(child, ConvNorm):
            child.merge()
        elif getattr(child, "norm", None) is True:  # a network that was built with norm=True
            child.norm = False


def replace_norms(layer: nn.Layer, make: Callable[[int], nn.Layer]) -> None:
    """Replaces every batch norm below `layer` by `make(channels)`, in place."""
    for name, child in layer.named_children():
        if isinstance(child, nn.layer.norm._BatchNormBase):
            setattr(layer, name, make(child.weight.shape[0]))
        else:
            replace_norms(child, make)


def group_norm(channels: int, groups: int = 32) -> nn.GroupNorm:
    """Group normalisation (Wu and He, arXiv 1803.08494) with the largest number of groups up to `groups` that fits."""
    return nn.GroupNorm(next(n for n in range(min(groups, channels), 0, -1) if channels % n == 0), channels)


def recompute(layer: nn.Layer, x: paddle.Tensor) -> paddle.Tensor:
    """layer(x) with gradient checkpointing: keeps only `x`, and the backward pass runs the layer once more.

    Batch-norm statistics change once per step, as without it: the first of the two passes does not change them.
    """
    learns = any(not parameter.stop_gradient for parameter in layer.parameters())
    if not layer.training or not paddle.is_grad_enabled() or (x.stop_gradient and not learns):
        return layer(x)
    if (
        x.stop_gradient
    ):  # frozen layers come before: Paddle's recompute would give this layer's parameters no gradient either
        x = x.detach()
        x.stop_gradient = False
    from paddle.distributed.fleet.utils import recompute as paddle_recompute  # slow to import, rarely needed

    norms = [child for child in layer.sublayers() if isinstance(child, nn.layer.norm._BatchNormBase)]
    momenta = [norm._momentum for norm in norms]

    def run(x):
        first_pass = not paddle.is_grad_enabled()
        for norm, momentum in zip(norms, momenta):
            norm._momentum = 1.0 if first_pass else momentum
        try:
            return layer(x)
        finally:
            for norm, momentum in zip(norms, momenta):
                norm._momentum = momentum

    return paddle_recompute(run, x, preserve_rng_state=False)


def resize_to(x: paddle.Tensor, like: paddle.Tensor, align_corners: bool) -> paddle.Tensor:
    """Resizes (N, C, h, w) bilinearly to the height and width of `like`. Works in a static graph of unknown sizes."""
    size = like.shape[2:] if paddle.in_dynamic_mode() else paddle.shape(like)[2:]
    return windows.resize(x, size, align_corners)
