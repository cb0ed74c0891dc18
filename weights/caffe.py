"""Renames the arrays of Pelee's detector in Caffe to the keys of PaddleDetection's SSD with `PeleeSSDFeatures`.

Caffe names its layers and numbers the arrays ("blobs") of a layer: a convolution's weight is 0 and its bias 1. Batch
norm takes two layers. NAME/bn holds the summed means, the summed variances and the factor that divides both; NAME/scale
holds the scale and shift. The authors' merged files have neither. The layer names come from
github.com/Robert-JunWang/Pelee: deploy_merged.prototxt for the merged files, peleenet.py and layer_utils.py for the
others.
"""

import re
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

#: boxes in each cell of every feature map; the shapes alone do not separate boxes from classes
BOXES = 6
#: the first convolution; its input channels are blue, green and red
STEM = "backbone.backbone.features.stemblock.stem1"

_FEATURES, _EXTRA, _BLOCKS = "backbone.backbone.features", "backbone.extra.extra.extra_maps", "backbone.extra.blocks"
# Patterns of Caffe's layer names, and the layer of our detector that each stands for.
_PLACES = (
    (r"(stem\w+)", lambda m: f"{_FEATURES}.stemblock.{m[1]}"),
    (r"stage([1-4])_tb", lambda m: f"{_FEATURES}.transition{m[1]}"),
    (r"stage([1-4])_(\d)/(branch\w+)", lambda m: f"{_FEATURES}.denseblock{m[1]}.denselayer{m[2]}.{m[3]}"),
    (r"(?:stage4_tb/relu/)?ext1/fe([1-3])_([12])", lambda m: f"{_EXTRA}.{int(m[1]) - 1}.{int(m[2]) - 1}"),
    (r"stage4_tb/ext/pm([2-6])", lambda m: f"{_BLOCKS}.{int(m[1]) - 2}.shortcut"),
    (r"stage4_tb/ext/pm([2-6])/b2([abc])", lambda m: f"{_BLOCKS}.{int(m[1]) - 2}.branch.{'abc'.index(m[2])}"),
)


def is_pelee(keys: Iterable[str]) -> bool:
    """Whether these keys come from Pelee's detector in Caffe."""
    return any(key.startswith("ext/pm1_mbox_conf.") for key in keys)


def is_merged(keys: Iterable[str]) -> bool:
    """Whether batch norm is merged into the convolutions of Pelee's detector with these keys."""
    return not any("/bn." in key for key in keys)


def convert(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays under LAYER.NUMBER, or LAYER.weight and LAYER.bias -> under our keys. Unknown names stay as they are."""
    norms: dict[str, dict[str, str]] = defaultdict(dict)
    result = {}
    for key, value in arrays.items():
        layer, _, leaf = key.rpartition(".")
        number = {"weight": "0", "bias": "1"}.get(leaf, leaf)
        if layer.endswith("/bn") and number in ("0", "1", "2") and (place := _place(layer.removesuffix("/bn"))):
            norms[place][number] = key
        elif ours := _key(layer, number):
            # OpenCV returns biases as columns
            value = value.reshape(-1) if ours.endswith(("bias", "norm.weight")) else value
            result[ours] = _background_last(layer, value)
        else:
            result[key] = value
    for place, keys in norms.items():
        if len(keys) < 3:
            result.update({key: arrays[key] for key in keys.values()})
            continue
        mean, variance, factors = (arrays[keys[number]].reshape(-1) for number in "012")
        factor = float(factors[0]) or 1.0  # 0 in a network that was never trained
        result[f"{place}.norm._mean"] = (mean / factor).astype("float32")
        result[f"{place}.norm._variance"] = (variance / factor).astype("float32")
    return result


def _place(layer):
    """The layer of our detector that a convolution's name stands for, or None."""
    for pattern, place in _PLACES:
        if match := re.fullmatch(pattern, layer):
            return place(match)
    return None


def _key(layer, number):
    """Our key of an array of a convolution, a predictor or a Scale layer, or None."""
    leaf = {"0": "weight", "1": "bias"}.get(number)
    if leaf is None:
        return None
    if match := re.fullmatch(r"ext/pm([1-6])_mbox_(loc|conf)", layer):
        return f"ssd_head.{'boxes' if match[2] == 'loc' else 'scores'}{int(match[1]) - 1}.{leaf}"
    name = layer.removesuffix("/scale")
    place = _place(name)
    return place and f"{place}.{'conv' if name == layer else 'norm'}.{leaf}"


def _background_last(layer, value):
    """Moves the background from the first class, as in Caffe, to the last, as in PaddleDetection."""
    if not layer.endswith("_mbox_conf") or len(value) % BOXES:
        return value
    by_box = value.reshape(BOXES, -1, *value.shape[1:])
    return np.roll(by_box, -1, axis=1).reshape(value.shape)
