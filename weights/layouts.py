"""Checkpoint layouts: how a file's keys and axes differ from ours. One function per layout, recognised by its keys.

Ours are the official PyTorch keys with Paddle's names of the batch-norm statistics, linear weights (in, out), and the
channel numbers of a condensed CondenseNetV2 (`index`) as integers.
"""

import numpy as np

from ..errors import UserError

_STATISTICS = {"running_mean": "_mean", "running_var": "_variance"}


def to_ours(arrays):
    """(name of the layout, arrays in our layout); UserError when no layout is recognised."""
    leaves = {key.rpartition(".")[2] for key in arrays}
    if "running_mean" in leaves and "_mean" not in leaves:
        return "official PyTorch", _integer_indices(from_pytorch(arrays))
    if "_mean" in leaves and "running_mean" not in leaves:
        return "Paddle", _integer_indices(arrays)
    raise UserError(
        f"the layout of these weights is not recognised ({len(arrays)} tensors, first keys "
        f"{sorted(arrays)[:3]}): batch-norm statistics named running_mean (PyTorch) or _mean (Paddle) are expected"
    )


def from_pytorch(arrays):
    """Renames batch-norm statistics, drops their step counters, turns linear weights from (out, in) to (in, out)."""
    ours = {}
    for key, value in arrays.items():
        prefix, dot, leaf = key.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        is_linear = leaf == "weight" and value.ndim == 2
        ours[prefix + dot + _STATISTICS.get(leaf, leaf)] = value.T if is_linear else value
    return ours


def _integer_indices(arrays):
    """Turns CondenseNetV2's `index` tensors into integers; those of SFR are matrices in the authors' files."""
    return {key: _as_index(key, v) if key.rpartition(".")[2] == "index" else v for key, v in arrays.items()}


def _as_index(key, value):
    """(C, C) with a single 1 in each row, or (C,) whole numbers -> (C,) int64, numbers from 0 to C - 1."""
    if value.ndim == 2 and value.shape[0] == value.shape[1]:
        if not (((value == 0) | (value == 1)).all() and (value.sum(1) == 1).all()):
            raise UserError(f"{key} is a matrix whose rows are not all a single 1; it names no channels")
        return value.argmax(1).astype("int64")
    index = np.asarray(value).astype("int64") if value.dtype.kind in "iuf" else None
    if value.ndim != 1 or index is None or (index != value).any() or not ((index >= 0) & (index < index.size)).all():
        raise UserError(f"{key} does not hold channel numbers from 0 to {value.size - 1}")
    return index
