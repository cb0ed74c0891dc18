"""Turns the learned form of CondenseNetV2 into the condensed one.

A fully pruned convolution, sorted by group, is a grouped convolution: each group reads its own channels through a dense
block of weights. `condense` converts a network, `condense_arrays` the arrays of a file. The outputs stay the same up to
rounding.
"""

from collections.abc import Mapping
from copy import deepcopy

import numpy as np
from paddle import nn

from ..errors import UserError
from .condensed_layers import STATISTICS, CondensedGroupConv, CondensedReactivation, set_weight
from .condensenetv2 import CondenseNetV2, DenseLayer
from .pruning import LearnedGroupConv, learned_convs


def condense(layer: nn.Layer) -> nn.Layer:
    """A copy of a learned CondenseNetV2 in its condensed form, with the same outputs.

    Args:
        layer: the network, or a model that contains it, such as a detector. It does not change.

    Returns:
        Layer of the same class, with `form` "condensed" and the official keys of that form.

    Raises:
        UserError: the layer contains no learned network, or one that is not fully pruned.
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
    """Raises UserError unless, in each convolution, each of the n groups keeps 1/n of its lines."""
    unfinished = {name: kept for name, kept in alive.items() if (kept.sum(1) != kept.shape[1] // kept.shape[0]).any()}
    if unfinished:
        name, kept = next(iter(unfinished.items()))
        raise UserError(
            f"not fully pruned: {len(unfinished)} of {len(alive)} learned convolutions keep too much ({name} keeps "
            f"{kept.sum(1).max()} of {kept.shape[1]} channels in a group, {kept.shape[1] // kept.shape[0]} wanted); "
            f"train on until set_progress has had 0.5 or more"
        )


def condense_group_conv(weight: np.ndarray, alive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The (index, weight) of a condensed LGC.

    Args:
        weight: (out_channels, in_channels, 1, 1).
        alive: (groups, in_channels) booleans; in_channels / groups of each row are true.
    """
    groups = len(alive)
    kept = [np.flatnonzero(row) for row in alive]
    rows = [weight[group::groups][:, channels] for group, channels in enumerate(kept)]
    return np.concatenate(kept).astype("int64"), np.concatenate(rows)


def condense_reactivation(weight: np.ndarray, alive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The (index, weight) of a condensed SFR.

    Args:
        weight: (out_channels, in_channels, 1, 1).
        alive: (groups, out_channels) booleans; out_channels / groups of each row are true.
    """
    groups = len(alive)
    kept = [np.flatnonzero(row) for row in alive]
    rows = [weight[channels, group::groups] for group, channels in enumerate(kept)]
    return np.concatenate(kept).astype("int64"), np.concatenate(rows)


def _condensed(learned):
    """The condensed form of a fully pruned learned layer. Takes over the layer's batch norm."""
    out_channels, in_channels = learned.conv.weight.shape[:2]
    is_group_conv = isinstance(learned, LearnedGroupConv)
    function = condense_group_conv if is_group_conv else condense_reactivation
    index, weight = function(learned.conv.weight.numpy(), learned.alive())
    kind = CondensedGroupConv if is_group_conv else CondensedReactivation
    layer = kind(in_channels, out_channels, learned.groups, learned.activation)
    layer.index.set_value(index)
    layer.conv = set_weight(layer.conv, weight)
    layer.conv.weight.stop_gradient = learned.conv.weight.stop_gradient
    if is_group_conv:
        for name in STATISTICS:
            tensor = getattr(learned.norm, name)
            tensor.set_value(tensor.numpy()[index])
    layer.train() if learned.training else layer.eval()
    layer.norm = learned.norm
    return layer


def condense_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of a learned network, or of a model that contains one, in the condensed form.

    Args:
        arrays: key -> array, in densebone's layout.

    Returns:
        The same keys, with `index` instead of `_mask`, `_stage` and `_count`.

    Raises:
        UserError: there are no learned convolutions, or some are not fully pruned.
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
