"""Weights and pictures that anyone can regenerate, and the official networks' outputs on them.

`tests/data/reference` holds keys, shapes and outputs (logits, and feature maps at 64 places) of the authors' PyTorch
networks. A tensor depends only on its official key and its shape: the SHA-256 of the key seeds PCG64, and exact
arithmetic turns its raw 64-bit words into uniform or nearly normal numbers.
"""

import hashlib
import json
import math
from pathlib import Path

import numpy as np

SALT = "alpha"
DATA = Path(__file__).parents[1] / "data"
TOLERANCE = 3e-4  # times the standard deviation of the output; a wrong batch-norm epsilon alone gives 8e-3


def words(key, count):
    """`count` raw 64-bit words of the generator that `key` seeds."""
    seed = int.from_bytes(hashlib.sha256(f"{SALT}:{key}".encode()).digest()[:8], "little")
    return np.random.PCG64(seed).random_raw(int(count))


def normal(key, shape):
    """Nearly normal numbers, float64: the sum of the four 16-bit fields of a word, centred and scaled to variance 1."""
    drawn = words(key, math.prod(shape))
    fields = sum((drawn >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48))
    return ((fields.astype(np.int64) - 131070) / math.sqrt((65536.0**2 - 1.0) / 3.0)).reshape(shape)


def uniform(key, shape, low, high):
    """Uniform numbers in [low, high), float64, from the top 53 bits of each word."""
    drawn = words(key, math.prod(shape)) >> np.uint64(11)
    return (low + (high - low) * (drawn.astype(np.float64) * 2.0**-53)).reshape(shape)


def subset(prefix, group, count, kept):
    """The channels that one group of a CondenseNetV2 layer keeps: `kept` of `count` numbers, ascending."""
    return np.sort(np.argsort(words(f"{prefix}.subset.{group}", count), kind="stable")[:kept])


def tensor(key, shape, groups=None, masked=False):
    """The tensor of one official state-dict entry.

    Args:
        key (str): the official key.
        shape (tuple of int): of the tensor.
        groups (int | None): CondenseNetV2's number of groups.
        masked (bool): whether a mask keeps only one weight in `groups`, which reduces the fan-in.
    """
    leaf = key.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf in ("index", "_mask"):
        return channels(key, shape, groups)
    if leaf in ("bias", "running_mean"):
        value = 0.1 * normal(key, shape)
    elif leaf == "running_var" or len(shape) == 1:
        value = uniform(key, shape, 0.5, 1.5)
    else:  # convolution (out, in, h, w) or linear (out, in) weight
        gain = 16.0 if len(shape) == 2 else 0.1 if key.endswith(".sfr.conv.weight") else 2.0
        fan_in = math.prod(shape[1:]) // (groups if masked else 1)
        value = math.sqrt(gain / fan_in) * normal(key, shape)
    return value.astype(np.float32)


def channels(key, shape, groups):
    """CondenseNetV2's `index` or `_mask`: the channels that each group reads (LGC) or writes (SFR)."""
    prefix, _, leaf = key.rpartition(".")
    reactivation = prefix.endswith(".sfr")
    count = shape[0] if reactivation or leaf == "index" else shape[1]
    kept = [subset(prefix, group, count, count // groups) for group in range(groups)]
    if leaf == "index" and not reactivation:
        return np.concatenate(kept)
    value = np.zeros(shape, np.float32)
    if leaf == "index":  # the authors' form: row r has a single 1, in the column of its channel
        value[np.arange(count), np.concatenate(kept)] = 1
    for group in range(groups) if leaf == "_mask" else ():
        lines = value[:, group::groups].swapaxes(0, 1) if reactivation else value[group::groups]
        lines[:, kept[group]] = 1
    return value


def description(model):
    """What the reference JSON of a model says: keys, shapes, parameter count and cost of the official network."""
    return json.loads((DATA / "reference" / f"{model}.json").read_text())


def weights(model):
    """The whole official state dict of `model`, in the official order. A learned CondenseNetV2 is fully pruned."""
    about = description(model)
    shapes, groups = {key: tuple(shape) for key, shape, _ in about["state_dict"]}, about["groups"]
    result = {}
    for key, shape in shapes.items():
        prefix, _, leaf = key.rpartition(".")
        if leaf == "_stage":
            result[key] = np.full(shape, groups - 1, np.float32)
        elif leaf == "_count":
            lines = shapes[f"{prefix}._mask"][0 if prefix.endswith(".sfr") else 1]
            result[key] = np.full(shape, lines // groups * (groups - 1), np.float32)
        else:
            result[key] = tensor(key, shape, groups, masked=f"{prefix.rpartition('.')[0]}._mask" in shapes)
    return result


def image(shape):
    """The input batch of a shape (N, 3, H, W), float32."""
    return normal("input", shape).astype(np.float32)


def outputs(model, size):
    """(JSON, arrays): the outputs of the official network at `size`, such as "224x224"."""
    stem = DATA / "reference" / f"{model}_{size}"
    return json.loads(stem.with_suffix(".json").read_text()), np.load(stem.with_suffix(".npz"))


def digest(tensors):
    """SHA-256 of the names, types, shapes and bytes of tensors, sorted by name."""
    total = hashlib.sha256()
    for key in sorted(tensors):
        value = np.ascontiguousarray(tensors[key])
        total.update(f"{key}|{value.dtype.name}|{','.join(map(str, value.shape))}|".encode())
        total.update(value.tobytes())
    return total.hexdigest()
