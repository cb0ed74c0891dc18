"""Pelee's detector in Caffe: its arrays by layer, to the keys of PaddleDetection's SSD with `PeleeSSDFeatures`.

Caffe's layers have names and their arrays ("blobs") numbers. A convolution's weight is 0 and its bias 1. Batch norm is
two layers: NAME/bn has sums of means and of variances and the factor to divide both by, NAME/scale the scale and shift.
The authors' merged files have neither. Layer names: github.com/Robert-JunWang/Pelee, deploy_merged.prototxt for the
merged files, peleenet.py and layer_utils.py for the others.
"""

import re
from collections import defaultdict

import numpy as np

#: boxes in each cell of every map, which shapes alone do not tell from classes
BOXES = 6
#: the first convolution, whose inputs are blue, green and red
STEM = "backbone.backbone.features.stemblock.stem1"

_FEATURES, _EXTRA, _BLOCKS = "backbone.backbone.features", "backbone.extra.extra.extra_maps", "backbone.extra.blocks"
# Patterns of layer names, and the layer of ours that each stands for.
_PLACES = (
    (r"(stem\w+)", lambda m: f"{_FEATURES}.stemblock.{m[1]}"),
    (r"stage(\d)_tb", lambda m: f"{_FEATURES}.transition{m[1]}"),
    (r"stage(\d)_(\d)/(branch\w+)", lambda m: f"{_FEATURES}.denseblock{m[1]}.denselayer{m[2]}.{m[3]}"),
    (r"(?:stage4_tb/relu/)?ext1/fe(\d)_(\d)", lambda m: f"{_EXTRA}.{int(m[1]) - 1}.{int(m[2]) - 1}"),
    (r"stage4_tb/ext/pm(\d)", lambda m: f"{_BLOCKS}.{int(m[1]) - 2}.shortcut"),
    (r"stage4_tb/ext/pm(\d)/b2([abc])", lambda m: f"{_BLOCKS}.{int(m[1]) - 2}.branch.{'abc'.index(m[2])}"),
)


def is_pelee(keys):
    """Whether names of arrays are those of Pelee's detector in Caffe."""
    return any(key.startswith("ext/pm1_mbox_conf.") for key in keys)


def is_merged(keys):
    """Whether such arrays have batch norm merged into the convolutions."""
    return not any("/bn." in key for key in keys)


def convert(arrays):
    """Arrays under LAYER.NUMBER, or LAYER.weight and LAYER.bias -> under our keys; unknown names stay as they are."""
    layers, result = defaultdict(dict), {}
    for key, value in arrays.items():
        layer, _, leaf = key.rpartition(".")
        leaf = {"weight": "0", "bias": "1"}.get(leaf, leaf)
        layers[layer][leaf] = value if leaf == "0" and value.ndim == 4 else value.reshape(-1)
    for layer, blobs in layers.items():
        name, _, part = layer.rpartition("/")
        if part == "bn" and (place := _place(name)) and set(blobs) == {"0", "1", "2"}:
            factor = float(blobs["2"][0]) or 1.0  # 0 in a network that was never trained
            result[f"{place}.norm._mean"] = (blobs["0"] / factor).astype("float32")
            result[f"{place}.norm._variance"] = (blobs["1"] / factor).astype("float32")
            continue
        for number, value in blobs.items():
            result[_key(layer, number) or f"{layer}.{number}"] = _background_last(layer, value)
    return result


def _place(layer):
    """The layer of ours that a convolution's name stands for, or None."""
    for pattern, place in _PLACES:
        if match := re.fullmatch(pattern, layer):
            return place(match)
    return None


def _key(layer, number):
    """Our key of an array of a convolution, a predictor or a Scale layer, or None."""
    leaf = {"0": "weight", "1": "bias"}.get(number)
    if leaf is None:
        return None
    if match := re.fullmatch(r"ext/pm(\d)_mbox_(loc|conf)", layer):
        return f"ssd_head.{'boxes' if match[2] == 'loc' else 'scores'}{int(match[1]) - 1}.{leaf}"
    name = layer.removesuffix("/scale")
    place = _place(name)
    return place and f"{place}.{'conv' if name == layer else 'norm'}.{leaf}"


def _background_last(layer, value):
    """The predictors of classes count the background first in Caffe, and last in PaddleDetection."""
    if not layer.endswith("_mbox_conf") or len(value) % BOXES:
        return value
    by_box = value.reshape(BOXES, -1, *value.shape[1:])
    return np.roll(by_box, -1, axis=1).reshape(value.shape)
