"""From the learned form of CondenseNetV2 to the condensed one, and from either to what an engine runs fastest.

A pruned learned convolution is a grouped one in disguise: sorting its channels by group leaves a dense block per group.
`condense` does that to a network, `condense_arrays` to the arrays of a file; both keep the outputs to rounding. Folding
goes the other way for an engine that likes few large convolutions better than many small ones and the shuffles between:
see docs/condensenetv2.md for what was measured.
"""

from copy import deepcopy

import numpy as np
import paddle
from paddle import nn

from ..errors import UserError
from .condensenetv2 import (
    ChannelNumbers,
    CondensedGroupConv,
    CondensedReactivation,
    CondenseNetV2,
    DenseLayer,
    NormConv,
)
from .pruning import LearnedConv, LearnedGroupConv, learned_convs

STATISTICS = ("weight", "bias", "_mean", "_variance")
# Blocks whose LGC is folded into a convolution that reads all channels, by engine; see docs/condensenetv2.md.
DENSE_BLOCKS = {"onnxruntime": (), "openvino": (0, 1, 2), "paddle": (0, 1, 2, 3, 4)}


def condense(layer):
    """A copy of a learned CondenseNetV2 in its condensed form, with the same outputs.

    Args:
        layer (Layer): the network, or a model that holds it, such as a detector; stays as it is.

    Returns:
        Layer of the same class, with `form` "condensed" and the official keys of that form.

    Raises:
        UserError: there is no learned network in it, or one that is not fully pruned.
    """
    if not _learned(layer):
        raise UserError(
            f'there is nothing to condense in this {type(layer).__name__}: give a CondenseNetV2 with form="learned"'
        )
    alive = {name: child.alive() for name, child in learned_convs(layer).items()}
    _check_pruned(alive)
    copy = deepcopy(layer)
    for network in _learned(copy):
        for child in network.sublayers():
            if isinstance(child, DenseLayer):
                child.conv_1, child.sfr = _condensed(child.conv_1), _condensed(child.sfr)
        network.form = "condensed"
    return copy


def _learned(layer):
    networks = [n for n in layer.sublayers(include_self=True) if isinstance(n, CondenseNetV2)]
    return [network for network in networks if network.form == "learned" and not network.deployed]


def _check_pruned(alive):
    """Raises UserError unless, in each convolution, each of the n groups keeps one in n of its lines."""
    unfinished = {name: kept for name, kept in alive.items() if (kept.sum(1) != kept.shape[1] // kept.shape[0]).any()}
    if unfinished:
        name, kept = next(iter(unfinished.items()))
        raise UserError(
            f"not fully pruned: {len(unfinished)} of {len(alive)} learned convolutions keep too much ({name} keeps "
            f"{kept.sum(1).max()} of {kept.shape[1]} channels in a group, {kept.shape[1] // kept.shape[0]} wanted); "
            f"train on until set_progress has had 0.5 or more"
        )


def condense_group_conv(weight, alive):
    """LGC: (index, weight) of the condensed form.

    Args:
        weight (array): (out_channels, in_channels, 1, 1).
        alive (array): (groups, in_channels) booleans, in_channels / groups of them true in each row.
    """
    groups = len(alive)
    kept = [np.flatnonzero(row) for row in alive]
    rows = [weight[group::groups][:, channels] for group, channels in enumerate(kept)]
    return np.concatenate(kept).astype("int64"), np.concatenate(rows)


def condense_reactivation(weight, alive):
    """SFR: (index, weight) of the condensed form.

    Args:
        weight (array): (out_channels, in_channels, 1, 1).
        alive (array): (groups, out_channels) booleans, out_channels / groups of them true in each row.
    """
    groups = len(alive)
    kept = [np.flatnonzero(row) for row in alive]
    rows = [weight[channels, group::groups] for group, channels in enumerate(kept)]
    return np.concatenate(kept).astype("int64"), np.concatenate(rows)


def _condensed(learned):
    """The condensed layer that a fully pruned learned one becomes."""
    out_channels, in_channels = learned.conv.weight.shape[:2]
    is_group_conv = isinstance(learned, LearnedGroupConv)
    function = condense_group_conv if is_group_conv else condense_reactivation
    index, weight = function(learned.conv.weight.numpy(), learned.alive())
    kind = CondensedGroupConv if is_group_conv else CondensedReactivation
    layer = kind(in_channels, out_channels, learned.groups, learned.activation)
    layer.index.set_value(index)
    layer.conv = _holding(layer.conv, weight)
    layer.conv.weight.stop_gradient = learned.conv.weight.stop_gradient
    if is_group_conv:
        for name in STATISTICS:
            tensor = getattr(learned.norm, name)
            tensor.set_value(tensor.numpy()[index])
    layer.train() if learned.training else layer.eval()
    layer.norm = learned.norm
    return layer


def _holding(convolution, weight):
    """The convolution with this weight (array), in its type."""
    convolution.to(dtype=str(weight.dtype))
    convolution.weight.set_value(weight)
    return convolution


def condense_arrays(arrays):
    """The arrays of a learned network, or of a model that holds one, in the condensed form.

    Args:
        arrays (dict of str to array): in our layout.

    Returns:
        dict of str to array: the same keys without `_mask`, `_stage` and `_count`, with `index`.

    Raises:
        UserError: no learned convolutions, or some that are not fully pruned.
    """
    prefixes = [key[: -len("._mask")] for key in arrays if key.endswith("._mask")]
    if not prefixes:
        raise UserError("there is nothing to condense: no tensor is called _mask, as those of the learned form are")
    alive = {prefix: _alive(arrays, prefix) for prefix in prefixes}
    _check_pruned(alive)
    condensed = {}
    for prefix in prefixes:
        function = condense_reactivation if _is_reactivation(prefix) else condense_group_conv
        condensed[prefix] = function(arrays[f"{prefix}.conv.weight"], alive[prefix])
    result = {}
    for key, value in arrays.items():
        prefix, _, leaf = key.rpartition(".")
        module, _, part = prefix.rpartition(".")
        if leaf == "_mask":
            result[f"{prefix}.index"] = condensed[prefix][0]
        elif module in condensed and part == "conv":
            result[key] = condensed[module][1]
        elif module in condensed and part == "norm" and not _is_reactivation(module):
            result[key] = value[condensed[module][0]]
        elif prefix not in condensed:  # and not its _stage or _count
            result[key] = value
    return result


def _is_reactivation(prefix):
    return prefix.endswith(".sfr")


def _alive(arrays, prefix):
    """(groups, lines) booleans of the learned convolution called `prefix`."""
    layer = prefix.rpartition(".")[0]
    mask, first = arrays[f"{prefix}._mask"], arrays.get(f"{layer}.conv_1._mask")
    grouped, weight = arrays.get(f"{layer}.conv_2.conv.weight"), arrays.get(f"{prefix}.conv.weight")
    if first is None or grouped is None or weight is None or weight.shape != mask.shape or mask.ndim != 4:
        raise UserError(f"{prefix} is not a learned convolution of CondenseNetV2: a tensor beside its mask is missing")
    groups = first.shape[0] // grouped.shape[1]
    lines = mask[:, :, 0, 0].T if _is_reactivation(prefix) else mask[:, :, 0, 0]
    lines = lines.reshape(-1, groups, lines.shape[1]) != 0
    if not (lines == lines[:1]).all():
        raise UserError(f"{prefix}._mask differs within a group; this is not the mask of a learned convolution")
    return lines[0]


@paddle.no_grad()
def fold(network, engine):
    """Replaces the layers of a CondenseNetV2, in place, by those that `engine` runs fastest; for inference alone.

    Nothing was found that runs faster than the condensed form in Paddle as it is.
    """
    for number in range(network.last_stage + 1):
        for layer in network.stage(number)[1].children():
            if isinstance(layer.conv_1, LearnedConv):
                layer.conv_1, layer.sfr = _dense(layer.conv_1), _dense(layer.sfr)
            elif engine != "eager":
                layer.sfr = _fixed(layer.sfr.norm, layer.sfr.activation, layer.sfr.dense_weight())
                if number in DENSE_BLOCKS[engine] and (norm := layer.conv_1.channel_norm()) is not None:
                    layer.conv_1 = _fixed(norm, layer.conv_1.activation, layer.conv_1.dense_weight())
                else:
                    layer.conv_1 = PickingGroupConv(layer.conv_1)
            if engine == "paddle":
                layer.conv_2.conv = _ungrouped(layer.conv_2.conv)


def _dense(learned):
    return _fixed(learned.norm, learned.activation, (learned.conv.weight * learned._mask).numpy())


def _fixed(norm, activation, weight):
    """Batch norm, activation and the convolution of a given weight, in eval mode."""
    out_channels, in_channels, side, _ = weight.shape
    convolution = nn.Conv2D(in_channels, out_channels, side, padding=side // 2, bias_attr=False)
    layer = NormConv(norm, activation, _holding(convolution, weight))
    layer.eval()
    return layer


class Pick(ChannelNumbers):
    """The channels of the given numbers."""

    def forward(self, x):
        """(N, channels, H, W) -> (N, numbers, H, W)."""
        return paddle.index_select(x, self.index, axis=1)


class PickingGroupConv(nn.Sequential):
    """A condensed LGC that also shuffles by picking channels: paddle2onnx aborts on channel_shuffle."""

    def __init__(self, group_conv):
        places = paddle.arange(group_conv.out_channels, dtype="int64")
        shuffled = places.reshape([group_conv.groups, -1]).transpose([1, 0]).flatten()
        convolution = NormConv(group_conv.norm, group_conv.activation, group_conv.conv)
        super().__init__(Pick(group_conv.index), convolution, Pick(shuffled))
        self.eval()


def _ungrouped(convolution):
    """A grouped convolution as one whose weight holds zeros between the groups."""
    weight, groups = convolution.weight.numpy(), convolution._groups
    out_channels, members, side, _ = weight.shape
    rows = out_channels // groups
    whole = np.zeros((out_channels, members * groups, side, side), weight.dtype)
    for group in range(groups):
        whole[group * rows : (group + 1) * rows, group * members : (group + 1) * members] = weight[
            group * rows : (group + 1) * rows
        ]
    result = _holding(nn.Conv2D(members * groups, out_channels, side, padding=side // 2, bias_attr=False), whole)
    result.eval()
    return result
