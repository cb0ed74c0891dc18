"""Losses, gradients and weights that are not finite are reported."""

import numpy as np
import paddle
import pytest

from densebone.training import finite


class Detector(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = paddle.nn.Linear(2, 2), paddle.nn.Linear(2, 1)

    def forward(self, x, stop=False):
        x = self.backbone(x)
        return self.head(x.detach() if stop else x).sum()


def test_gradients_that_are_missing_or_not_finite_are_found():
    net = Detector()
    net(paddle.ones([1, 2]), stop=True).backward()
    with pytest.raises(RuntimeError, match="no gradient reaches the backbone"):
        finite.check_gradients(1.0, net)
    net(paddle.ones([1, 2])).backward()
    finite.check_gradients(1.0, net)
    with pytest.raises(FloatingPointError, match="the loss is nan, gradients that are not finite: none"):
        finite.check_gradients(float("nan"), net)
    net(paddle.full([1, 2], float("inf"))).backward()
    with pytest.raises(FloatingPointError, match=r"not finite: backbone.weight, .*head.weight"):
        finite.check_gradients(1.0, net)


def test_weights_that_are_not_finite_are_found():
    net = Detector()
    finite.check_weights(net)
    net.head.bias.set_value(np.array([np.nan], "float32"))
    with pytest.raises(FloatingPointError, match=r"after the step head\.bias is not finite"):
        finite.check_weights(net)
