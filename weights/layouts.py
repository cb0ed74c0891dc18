"""Checkpoint layouts: how a file's keys and axes differ from ours. One function per layout, recognised by its keys.

Ours are the official PyTorch keys with Paddle's names of the batch-norm statistics, linear weights (in, out).
"""

from ..errors import UserError

_STATISTICS = {"running_mean": "_mean", "running_var": "_variance"}


def to_ours(arrays):
    """(name of the layout, arrays in our layout); UserError when no layout is recognised."""
    leaves = {key.rpartition(".")[2] for key in arrays}
    if "running_mean" in leaves and "_mean" not in leaves:
        return "official PyTorch", from_pytorch(arrays)
    if "_mean" in leaves and "running_mean" not in leaves:
        return "Paddle", dict(arrays)
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
