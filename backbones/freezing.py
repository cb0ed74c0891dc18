"""Freezing: weights that do not learn, batch norms that keep their statistics, and the way back."""

from collections.abc import Iterable
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from ..errors import UserError


class FrozenBatchNorm2D(nn.Layer):
    """Batch norm that always uses its stored statistics, with the keys of `nn.BatchNorm2D`.

    It is not a subclass of Paddle's batch norm, so a later conversion to synchronised batch norm leaves it frozen.

    Args:
        norm: the batch norm whose place it takes.
        learns: whether scale and shift go on learning.
    """

    def __init__(self, norm: nn.Layer, learns: bool = False):
        super().__init__()
        self._original = (norm,)  # in a tuple, so that it is no sublayer
        self._epsilon = norm._epsilon
        self.weight, self.bias = norm.weight, norm.bias
        if not learns:
            self.weight.stop_gradient = self.bias.stop_gradient = True
        self._mean, self._variance = norm._mean, norm._variance

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
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

    def thawed(self) -> nn.Layer:
        """The batch norm that it took the place of, with the tensors of this one."""
        (norm,) = self._original
        for name in ("weight", "bias", "_mean", "_variance"):
            setattr(norm, name, getattr(self, name))
        norm.training = self.training
        return norm


def freeze_norms(layer: nn.Layer, learns: bool = False) -> None:
    """Replaces every batch norm below `layer` by a frozen one, in place.

    Args:
        layer: any layer.
        learns: whether scale and shift go on learning; the statistics do not.
    """
    for name, child in layer.named_children():
        if isinstance(child, nn.layer.norm._BatchNormBase):
            setattr(layer, name, FrozenBatchNorm2D(child, learns))
        elif isinstance(child, FrozenBatchNorm2D) and not learns:
            child.weight.stop_gradient = child.bias.stop_gradient = True
        else:
            freeze_norms(child, learns)


def freeze_layers(layers: Iterable[nn.Layer]) -> None:
    """Stops the gradient of every parameter of some layers and freezes their batch norms, in place."""
    for layer in layers:
        freeze_norms(layer)
        for parameter in layer.parameters():
            parameter.stop_gradient = True


def freeze(net: nn.Layer, upto: int | None = None) -> None:
    """Freezes the first part of a network, in place: its weights do not learn, its batch norms keep their statistics.

    Args:
        net: a backbone, a classifier, or a network with one in `backbone`. With `upto` None any layer.
        upto: as `freeze_at` of `create_backbone`: 0 the stem, n all up to the end of stage n, -1 nothing. None: all of
            the network, its head too.

    Raises:
        UserError: the network has no such stage.
    """
    if upto is None:
        freeze_layers([net])
        return
    backbone: Any = net if hasattr(net, "frozen_part") else getattr(net, "backbone", None)
    if not hasattr(backbone, "frozen_part"):
        raise UserError(f"{type(net).__name__} has no stages; leave upto out, which freezes all of it")
    freeze_layers(backbone.frozen_part(upto))


def unfreeze(net: nn.Layer) -> None:
    """Lets all parameters below `net` learn again, and its batch norms follow their batches again, in place."""
    for name, child in net.named_children():
        thawed = child.thawed() if isinstance(child, FrozenBatchNorm2D) else child
        if thawed is not child:
            setattr(net, name, thawed)
        unfreeze(thawed)
    for name, parameter in net.named_parameters(include_sublayers=False):
        if name not in ("_mean", "_variance"):
            parameter.stop_gradient = False
