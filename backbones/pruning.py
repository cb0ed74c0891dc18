"""Convolutions that learn which of their weights to keep (CondenseNet, Huang et al., arXiv 1711.09224; CondenseNetV2,
Yang et al., arXiv 2104.04382).

A learned convolution is a dense 1x1 convolution whose weight is multiplied by a mask of zeros and ones. In the first
half of training, at equally spaced moments, each group loses another 1/factor of its lines: those with the smallest
weights, until 1/factor is left. A line of a group is an input channel that it reads (LGC) or an output channel that it
writes (SFR). The state dict has all that pruning depends on: `_mask`, `_stage` (number of prunings so far) and `_count`
(lines that each group has lost).
"""

from collections.abc import Collection
from numbers import Real
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from ..errors import UserError
from .layers import conv


def pruning_stage(progress: float, factor: int) -> int:
    """How often a convolution with condensation factor `factor` has been pruned at `progress` (0 to 1) of training.

    0 at the start, factor - 1 from the middle on.
    """
    for stage in range(factor - 1):
        if progress * 2 < (stage + 1) / (factor - 1):
            return stage
    return factor - 1


class LearnedConv(nn.Layer):
    """Batch norm, activation and 1x1 convolution with a mask. The condensation factor is the number of groups.

    A subclass says which lines of the weight belong to which group: `_lines` turns the weight into (members of a group,
    groups, lines). Pruning removes whole lines of a group.

    Args:
        in_channels, out_channels: multiples of `groups`.
        groups: number of groups, at least 2. In the end 1/groups of the weights is left.
        activation: runs between batch norm and convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int, activation: nn.Layer):
        super().__init__()
        self.groups = groups
        self.register_buffer("_count", paddle.zeros([1]))
        self.register_buffer("_stage", paddle.zeros([1]))
        self.register_buffer("_mask", paddle.ones([out_channels, in_channels, 1, 1]))
        self.norm = nn.BatchNorm2D(in_channels, epsilon=1e-5)
        self.activation = activation
        self.conv = conv(in_channels, out_channels, 1, fan=out_channels)  # He over the fan-out, as the authors do

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return F.conv2d(self.activation(self.norm(x)), self.conv.weight * self._mask)

    def _lines(self, weight: Any) -> Any:
        """(out_channels, in_channels, 1, 1) -> (members, groups, lines), for an array or a tensor."""
        raise NotImplementedError

    def _fill_mask(self, alive: np.ndarray) -> np.ndarray:
        """(groups, lines) booleans -> mask (out_channels, in_channels, 1, 1)."""
        raise NotImplementedError

    def alive(self) -> np.ndarray:
        """(groups, lines) booleans: which lines each group keeps. UserError when the mask differs within a group."""
        mask = self._lines(self._mask.numpy()) != 0
        if not (mask == mask[:1]).all():
            raise UserError("its mask differs within a group")
        return mask[0]

    def prune(self, stage: int) -> None:
        """Drops lines in each group until as many are gone as `stage` asks for.

        The lines with the smallest sums of absolute weights go first, and of equal sums the one with the lower number.
        """
        alive = self.alive()
        dropped = stage * alive.shape[1] // self.groups
        weight = self._lines(self.conv.weight.numpy().astype("float64"))
        importance = np.where(alive, np.abs(weight).sum(0), -1.0)  # dropped lines sort first, so they stay dropped
        order = np.argsort(importance, axis=1, kind="stable")
        np.put_along_axis(alive, order[:, :dropped], False, axis=1)
        self._mask.set_value(self._fill_mask(alive).astype("float32"))
        self._stage.set_value(np.array([stage], "float32"))
        self._count.set_value(np.array([dropped], "float32"))

    def lasso_loss(self) -> paddle.Tensor:
        """The sum, over groups and lines, of the Euclidean length of the line's weights in the group; a 0-D tensor."""
        squares = self._lines(self.conv.weight * self._mask).square().sum(0)
        return squares.clip(min=1e-6).sqrt().sum()  # a length of 0 has no gradient


class LearnedGroupConv(LearnedConv):
    """LGC, learned group convolution: each group of output channels (g, g + groups, ...) learns which input channels it
    reads."""

    def _lines(self, weight: Any) -> Any:
        out_channels, in_channels = weight.shape[:2]
        return weight.reshape([out_channels // self.groups, self.groups, in_channels])

    def _fill_mask(self, alive: np.ndarray) -> np.ndarray:
        return np.tile(alive, (self._mask.shape[0] // self.groups, 1))[..., None, None]


class LearnedReactivation(LearnedConv):
    """SFR, sparse feature reactivation: each group of input channels (g, g + groups, ...) learns which output channels
    it feeds."""

    def _lines(self, weight: Any) -> Any:
        out_channels, in_channels = weight.shape[:2]
        weight = weight.reshape([out_channels, in_channels // self.groups, self.groups])
        return weight.transpose([1, 2, 0])

    def _fill_mask(self, alive: np.ndarray) -> np.ndarray:
        return np.tile(alive, (self._mask.shape[1] // self.groups, 1)).T[..., None, None]


def learned_convs(layer: nn.Layer) -> dict[str, LearnedConv]:
    """name -> `LearnedConv`, for all of them in `layer`, itself included, in order."""
    found = layer.named_sublayers(include_self=True)
    return {name: child for name, child in found if isinstance(child, LearnedConv)}


@paddle.no_grad()
def set_progress(layer: nn.Layer, progress: float) -> None:
    """Prunes every learned convolution below `layer` to the share that is due at `progress` of training.

    In distributed training every process must call it. All processes then have the masks of the first one.

    Args:
        layer: a network, or a layer that contains one.
        progress: share of training that is done, 0 to 1. It must not fall below the share that the network was last
            pruned for. It may fall between two prunings, so an earlier checkpoint of the same stage can be loaded.

    Raises:
        UserError: progress is out of range, or below the share that the network was last pruned for.
    """
    if isinstance(progress, bool) or not isinstance(progress, Real) or not 0 <= progress <= 1:
        raise UserError(f"progress is {progress!r}; it must be a number from 0 (start of training) to 1 (its end)")
    convs = learned_convs(layer)
    if not convs:
        return
    due = []
    for (name, child), now in zip(convs.items(), _stages(convs.values())):
        stage = pruning_stage(progress, child.groups)
        if stage < now:
            reached = now / (child.groups - 1) / 2
            raise UserError(
                f"progress {progress:.4g} goes backwards: {name} has been pruned for {reached:.4g}, and what is lost "
                f"stays lost; give that or more, or start from a new network"
            )
        if stage > now:
            due.append((child, stage))
    for child, stage in due:
        child.prune(stage)
    if due and paddle.distributed.is_initialized() and paddle.distributed.get_world_size() > 1:
        for child, _ in due:
            paddle.distributed.broadcast(child._mask, src=0)


def lasso_loss(layer: nn.Layer) -> paddle.Tensor:
    """The sum of `LearnedConv.lasso_loss` over the convolutions below `layer` that are not fully pruned; 0-D tensor."""
    convs = list(learned_convs(layer).values())
    terms = [child.lasso_loss() for child, stage in zip(convs, _stages(convs)) if stage < child.groups - 1]
    return sum(terms, paddle.zeros([]))


def _stages(convs: Collection[LearnedConv]) -> Any:
    """How often each was pruned, as ints; copied from the device in one go."""
    return np.rint(paddle.concat([child._stage for child in convs]).numpy()).astype(int) if convs else []


class PruningProgress(paddle.callbacks.Callback):
    """A callback for `paddle.Model.fit` that prunes the network as training progresses.

    Args:
        epochs: of the whole training. None: `first_epoch` plus the epochs that `fit` runs.
        first_epoch: epochs done before this `fit`, when it continues an earlier one.
    """

    def __init__(self, epochs: int | None = None, first_epoch: int = 0):
        super().__init__()
        self.epochs, self.first_epoch = epochs, first_epoch
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stores the epoch."""
        self._epoch = self.first_epoch + epoch

    def on_train_batch_begin(self, step: int, logs: dict[str, Any] | None = None) -> None:
        """Prunes the network when a pruning is due."""
        steps = self.params["steps"]
        epochs = self.epochs or self.first_epoch + self.params["epochs"]
        if not steps:
            raise UserError("PruningProgress needs a data set of known length, to know how far training is")
        set_progress(self.model.network, min(1.0, (self._epoch + step / steps) / epochs))
