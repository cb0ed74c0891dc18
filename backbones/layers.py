"""Layers that the families share. Every layer that a network runs in sequence carries `out_channels` and `stride`
where it changes them, so that a network's channels and strides are read off its layers (see `base.py`)."""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn


def conv(in_channels, out_channels, kernel_size, stride=1, padding=None, groups=1, bias=False, fan=None):
    """A 2-D convolution, padded by kernel_size // 2 unless told otherwise, with He initialisation over its real fan-in
    or, if given, over `fan`.

    Paddle's own default divides by all input channels even when the convolution is grouped, which starts a
    depthwise layer with weights that are too small by the square root of its width.
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
    """Convolution without bias, batch norm and, if given, an activation; or, without batch norm, convolution with bias.

    Args:
        in_channels, out_channels (int): channels.
        kernel_size (int): side of the square kernel; default 3.
        stride (int): default 1.
        padding (int | None): default None, kernel_size // 2.
        groups (int): default 1; `in_channels` makes it depthwise.
        activation (Layer | None): applied last. Default None.
        conv_name (str): attribute that holds the convolution, because state-dict keys are the official ones.
        norm (bool): False leaves the batch norm out and gives the convolution a bias. Default True.
        epsilon (float): of the batch norm. Default 1e-5.
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size=3,
        stride=1,
        padding=None,
        groups=1,
        activation=None,
        conv_name="conv",
        norm=True,
        epsilon=1e-5,
    ):
        super().__init__()
        self.out_channels = out_channels
        self.stride = stride
        self._conv_name = conv_name
        convolution = conv(in_channels, out_channels, kernel_size, stride, padding, groups, bias=not norm)
        self.add_sublayer(conv_name, convolution)
        self.norm = nn.BatchNorm2D(out_channels, epsilon=epsilon) if norm else None
        self.activation = activation

    def forward(self, x):
        """(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        x = getattr(self, self._conv_name)(x)
        x = x if self.norm is None else self.norm(x)
        return x if self.activation is None else self.activation(x)

    def merge(self):
        """Folds the batch norm's stored statistics into the convolution, which gets a bias, in place."""
        if self.norm is None:
            return
        convolution, norm = getattr(self, self._conv_name), self.norm
        # in float64: rounding would add up over a hundred layers
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


def merge_norms(layer):
    """Folds the batch norm of every `ConvNorm` below `layer` into its convolution, in place.

    The outputs of eval mode stay the same; the layers are then those that are built with `norm=False`.
    """
    for child in layer.sublayers(include_self=True):
        if isinstance(child, ConvNorm):
            child.merge()
        elif getattr(child, "norm", None) is True:  # a network that says how it was built
            child.norm = False


class FrozenBatchNorm2D(nn.Layer):
    """Batch norm that always uses its stored statistics and never learns, with the keys of `nn.BatchNorm2D`.

    A type of its own, so that a later conversion to synchronised batch norm leaves it frozen.
    """

    def __init__(self, norm):
        super().__init__()
        self._epsilon = norm._epsilon
        self.weight, self.bias = norm.weight, norm.bias
        self.weight.stop_gradient = self.bias.stop_gradient = True
        self._mean, self._variance = norm._mean, norm._variance

    def forward(self, x):
        """(N, C, H, W) -> the same shape."""
        return F.batch_norm(
            x,
            self._mean,
            self._variance,
            self.weight,
            self.bias,
            training=False,
            epsilon=self._epsilon,
            use_global_stats=True,
        )


def freeze_norms(layer):
    """Replaces every batch norm below `layer` by a frozen one, in place."""
    for name, child in layer.named_children():
        if isinstance(child, nn.layer.norm._BatchNormBase):
            setattr(layer, name, FrozenBatchNorm2D(child))
        else:
            freeze_norms(child)


def freeze(layer):
    """Stops the gradient of every parameter below `layer` and freezes its batch norms, in place."""
    freeze_norms(layer)
    for parameter in layer.parameters():
        parameter.stop_gradient = True


def recompute(layer, x):
    """layer(x), keeping only `x` for the backward pass, which runs the layer once more (gradient checkpointing).

    Batch-norm statistics move once per step, as without it: the first of the two passes leaves them alone.
    """
    learns = any(not parameter.stop_gradient for parameter in layer.parameters())
    if not layer.training or not paddle.is_grad_enabled() or (x.stop_gradient and not learns):
        return layer(x)
    if x.stop_gradient:  # all before it is frozen: Paddle's recompute would give its parameters no gradient either
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


def resize_to(x, like, align_corners):
    """(N, C, h, w), bilinearly resized to height and width of `like`, also where a static graph leaves them open."""
    size = like.shape[2:] if paddle.in_dynamic_mode() else paddle.shape(like)[2:]
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)
