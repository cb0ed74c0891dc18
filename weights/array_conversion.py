"""Turns arrays under other layouts' keys into arrays under ours, and back: names, axes, order of channels.

`layouts.py` says which layout needs which of these functions, and what "our layout" is.
"""

import re
from collections.abc import Callable

import numpy as np

from ..errors import UserError
from . import caffe

Arrays = dict[str, np.ndarray]

STATISTICS = {"running_mean": "_mean", "running_var": "_variance"}


def from_pytorch(arrays: Arrays) -> Arrays:
    """Renames batch-norm statistics, drops their step counters, transposes linear weights, (out, in) -> (in, out)."""
    ours = {}
    for key, value in arrays.items():
        prefix, dot, leaf = key.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        is_linear = leaf == "weight" and value.ndim == 2
        ours[prefix + dot + STATISTICS.get(leaf, leaf)] = value.T if is_linear else value
    return ours


def to_pytorch(arrays: Arrays) -> Arrays:
    """The reverse of `from_pytorch`. Adds step counters of 0, because the authors' files have such counters."""
    names = {ours: theirs for theirs, ours in STATISTICS.items()}
    theirs = {}
    for key, value in arrays.items():
        prefix, dot, leaf = key.rpartition(".")
        is_linear = leaf == "weight" and value.ndim == 2
        if leaf == "index" and prefix.endswith(".sfr"):
            value = np.eye(len(value), dtype="float32")[value]
        theirs[prefix + dot + names.get(leaf, leaf)] = value.T if is_linear else value
        if leaf == "_variance":
            theirs[f"{prefix}{dot}num_batches_tracked"] = np.zeros((), "int64")
    return theirs


#: the first convolution in our layout: of FC-HarDNet-70 and CenterNet-HarDNet-85, and of Pelee's detector
FIRST_CONVOLUTIONS = ("backbone.base.0.conv.weight", f"{caffe.STEM}.conv.weight")


def turned(arrays: Arrays) -> Arrays:
    """Reverses the input channels of the first convolution: weights for BGR images become weights for RGB, and back.

    Knows only the networks whose authors trained on BGR images, see `FIRST_CONVOLUTIONS`.
    """
    key = next(key for key in FIRST_CONVOLUTIONS if key in arrays)
    return {**arrays, key: arrays[key][:, ::-1]}


def integer_indices(arrays: Arrays) -> Arrays:
    """Turns CondenseNetV2's `index` tensors into integers. In the authors' files those of SFR layers are matrices."""
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


def renamer(*rules: tuple[str, str | Callable[[re.Match], str]]) -> Callable[[Arrays], Arrays]:
    """A function that renames arrays: it applies the rules (pattern, replacement) to each key, in order."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]

    def rename(arrays):
        result = {}
        for key, value in arrays.items():
            for pattern, replacement in compiled:
                key = pattern.sub(replacement, key)
            result[key] = value
        return result

    return rename


# pytorchcv counts units, and the authors count positions in `base`: the block, the 1x1 convolution and the
# down-sampling of a unit take a position each. Pools hold no tensors, and still take a position.
_PYTORCHCV_BASE = {
    "hardnet39ds": {(1, 1): 3, (2, 1): 6, (3, 1): 9, (4, 1): 12},
    "hardnet68ds": {(1, 1): 3, (2, 1): 6, (2, 2): 8, (3, 1): 11, (4, 1): 14},
    "hardnet68": {(1, 1): 3, (2, 1): 6, (2, 2): 8, (3, 1): 11, (4, 1): 14},
    "hardnet85": {(1, 1): 3, (2, 1): 6, (2, 2): 8, (3, 1): 11, (3, 2): 13, (4, 1): 16},
}
_HEADS = {"hardnet39ds": 14, "hardnet68ds": 16, "hardnet68": 16, "hardnet85": 19}


def _pytorchcv_hardnet_model(arrays):
    first = arrays["features.init_block.conv1.conv.weight"].shape[0]
    depthwise = any(".dw_conv." in key for key in arrays)
    return {24: "hardnet39ds", 32: "hardnet68ds" if depthwise else "hardnet68", 48: "hardnet85"}.get(first)


def from_pytorchcv_hardnet(arrays: Arrays) -> Arrays:
    """pytorchcv's keys of a HarDNet -> ours; UserError when no HarDNet has the widths of these arrays."""
    model = _pytorchcv_hardnet_model(arrays)
    if model is None:
        raise UserError("these weights have pytorchcv's keys, but no known HarDNet has their widths")
    base, result = _PYTORCHCV_BASE[model], {}
    for key, value in arrays.items():
        key = (
            key.replace(".bn.", ".norm.").replace(".pw_conv.", ".layer1.").replace(".dw_conv.conv.", ".layer2.dwconv.")
        )
        key = key.replace(".dw_conv.", ".layer2.").replace("output.fc.", f"base.{_HEADS[model]}.3.")
        key = re.sub(r"features\.init_block\.conv([12])\.", lambda m: f"base.{int(m[1]) - 1}.", key)
        key = key.replace("features.init_block.downsample.conv.", "base.2.dwconv.")
        key = key.replace("features.init_block.downsample.", "base.2.")
        if unit := re.match(r"features\.stage(\d+)\.unit(\d+)\.(blocks\.block(\d+)|conv|downsample)\.(.*)", key):
            stage, number, part, layer, rest = unit.groups()
            position = base[int(stage), int(number)]
            if part.startswith("blocks"):
                key = f"base.{position}.layers.{int(layer) - 1}.{rest}"
            elif part == "conv":  # 85 has a dropout before its last one
                last = model == "hardnet85" and (stage, number) == ("4", "1")
                key = f"base.{position + (2 if last else 1)}.{rest}"
            else:
                key = f"base.{position + 2}.{rest.replace('conv.', 'dwconv.')}"
        result[key] = value
    return result


def from_pytorchcv_peleenet(arrays: Arrays) -> Arrays:
    """pytorchcv's keys of PeleeNet -> ours. Swaps the two inputs of the stem's last convolution."""
    rename = renamer(
        (r"\.bn\.", ".norm."),
        (r"features\.init_block\.first_conv\.", "features.stemblock.stem1."),
        (r"features\.init_block\.branches\.branch1\.conv1\.", "features.stemblock.stem2a."),
        (r"features\.init_block\.branches\.branch1\.conv2\.", "features.stemblock.stem2b."),
        (r"features\.init_block\.last_conv\.", "features.stemblock.stem3."),
        (r"features\.stage(\d+)\.unit(\d+)\.branch(\d)\.conv1\.", r"features.denseblock\1.denselayer\2.branch\3a."),
        (r"features\.stage(\d+)\.unit(\d+)\.branch(\d)\.conv2\.", r"features.denseblock\1.denselayer\2.branch\3b."),
        (r"features\.stage(\d+)\.unit(\d+)\.branch(\d)\.conv3\.", r"features.denseblock\1.denselayer\2.branch\3c."),
        (r"features\.stage(\d+)\.trans\1\.conv\.", lambda m: f"features.transition{int(m[1]) - 1}."),
        (r"features\.final_block\.", "features.transition4."),
        (r"output\.fc\.", "classifier."),
    )
    result = rename(arrays)
    stem3 = "features.stemblock.stem3.conv.weight"
    half = result[stem3].shape[1] // 2  # pytorchcv puts the convolutions' branch first, the authors the pool's
    result[stem3] = np.concatenate([result[stem3][:, half:], result[stem3][:, :half]], axis=1)
    return result


def from_notebook(arrays: Arrays) -> Arrays:
    """The keys of the `conv_bn` notebook's HarDNet-68 -> ours."""
    head = max(int(key.split(".")[1]) for key in arrays)  # the linear layer has a position of its own there
    return renamer(
        (r"\.conv_bn\.0\.", ".conv."), (r"\.conv_bn\.1\.", ".norm."), (rf"base\.{head}\.(\w+)$", r"base.16.3.\1")
    )(arrays)


_FC_HARDNET = (
    (r"^base\.", "backbone.base."),
    (r"^conv1x1_up\.", "decoder.reduce."),
    (r"^denseBlocksUp\.", "decoder.blocks."),
    (r"^finalConv\.", "classifier."),
)
#: the authors' keys of FC-HarDNet-70 -> ours, and back
from_fchardnet = renamer(*_FC_HARDNET)
to_fchardnet = renamer(
    (r"^backbone\.base\.", "base."),
    (r"^decoder\.reduce\.", "conv1x1_up."),
    (r"^decoder\.blocks\.", "denseBlocksUp."),
    (r"^classifier\.", "finalConv."),
)
#: the authors' keys of CenterNet-HarDNet-85 -> ours, and back; ours fit PaddleDetection's CenterNet with our components
from_centernet = renamer(
    (r"^base\.", "backbone.base."),
    (r"^last_proj\.", "neck.project."),
    (r"^last_blk\.", "neck.bottom."),
    (r"^conv1x1_up\.", "neck.reduce."),
    (r"^denseBlocksUp\.", "neck.blocks."),
    (r"^hm\.", "head.heatmap."),
    (r"^wh\.", "head.boxes."),
)
to_centernet = renamer(
    (r"^backbone\.base\.", "base."),
    (r"^neck\.project\.", "last_proj."),
    (r"^neck\.bottom\.", "last_blk."),
    (r"^neck\.reduce\.", "conv1x1_up."),
    (r"^neck\.blocks\.", "denseBlocksUp."),
    (r"^head\.heatmap\.", "hm."),
    (r"^head\.boxes\.", "wh."),
)


def from_paddleseg(arrays: Arrays) -> Arrays:
    """PaddleSeg's keys of FC-HarDNet-70 -> ours. There a layer reads its links oldest first, here newest first."""
    from ..backbones.hardnet import links  # imports Paddle

    rename = renamer(
        (r"\b_conv\.", "conv."),
        (r"\b_batch_norm\.", "norm."),
        (r"^stem\.", "base."),
        (r"^encoder\.blks\.(\d+)\.", lambda m: f"base.{int(m[1]) + 4}."),
        (r"^decoder\.conv1x1_up\.", "conv1x1_up."),
        (r"^decoder\.dense_blocks_up\.", "denseBlocksUp."),
        (r"^cls_head\.", "finalConv."),
        *_FC_HARDNET,
    )
    result = rename(arrays)
    for key, value in result.items():
        if not (match := re.fullmatch(r"(.*\.layers\.)(\d+)\.conv\.weight", key)):
            continue
        block, number = match[1], int(match[2]) + 1
        widths = [result[f"{block}0.conv.weight"].shape[1]]
        widths += [result[f"{block}{i}.conv.weight"].shape[0] for i in range(number - 1)]
        newest_first = links(number)
        ends = np.cumsum([widths[i] for i in newest_first[::-1]])[:-1]
        result[key] = np.concatenate(np.split(value, ends, axis=1)[::-1], axis=1)
    return result
