"""Strides become dilations: maps of higher resolution from the same weights, as DeepLab and PSPNet need them.

Where a layer would halve the resolution it keeps it, and every later kernel reads pixels twice as far apart (Yu and
Koltun, arXiv 1511.07122). So every second pixel of the new map is a pixel of the old one.
"""

from __future__ import annotations

from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn


class DilatedPool(nn.Layer):
    """A pool over 2 x 2 pixels that lie `dilation` apart, at every pixel. Past the edge the pixel itself counts.

    Args:
        largest: take the largest pixel, else the mean.
        dilation: distance in pixels.
    """

    stride = 1

    def __init__(self, largest: bool, dilation: int):
        super().__init__()
        self.largest, self.dilation = largest, dilation

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, C, H, W) -> the same shape."""
        distance = self.dilation
        for pad in ([0, distance, 0, 0], [0, 0, 0, distance]):
            moved = F.pad(x, pad, mode="replicate")
            moved = moved[:, :, :, distance:] if pad[1] else moved[:, :, distance:]
            x = paddle.maximum(x, moved) if self.largest else (x + moved) / 2
        return x


def dilate(network: Any, output_stride: int) -> None:
    """Changes a `base.Network`, in place, so that no map has a larger stride than `output_stride`."""
    stride = dilation = 1
    for index in range(network.last_stage + 1):
        for layer in network.stage(index):
            factor = getattr(layer, "stride", 1)
            if stride * factor <= output_stride:
                stride *= factor
                _dilate_kernels(layer, dilation)
                continue
            if isinstance(layer, (nn.MaxPool2D, nn.AvgPool2D)):
                _replace(network, layer, DilatedPool(isinstance(layer, nn.MaxPool2D), dilation))
            else:
                _keep_resolution(layer)
                _dilate_kernels(layer, dilation)
            dilation *= factor


def _dilate_kernels(layer, dilation):
    if dilation == 1:
        return
    for convolution in layer.sublayers(include_self=True):
        if isinstance(convolution, nn.Conv2D) and max(convolution._kernel_size) > 1:
            convolution._dilation = [dilation, dilation]
            convolution._padding = convolution._updated_padding = [
                dilation * (side // 2) for side in convolution._kernel_size
            ]


def _keep_resolution(layer):
    """Takes the stride out of a layer with one convolution."""
    for part in layer.sublayers(include_self=True):
        if isinstance(part, nn.Conv2D):
            part._stride = [1, 1]
        if getattr(part, "stride", 1) != 1:
            part.stride = 1


def _replace(network, old, new):
    for parent in network.sublayers(include_self=True):
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
