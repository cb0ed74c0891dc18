"""Checkpoint layouts: which one a file has, what tells it from its look-alikes, and how it becomes ours.

Ours are the official PyTorch keys with Paddle's names of the batch-norm statistics, linear weights (in, out), and the
channel numbers of a condensed CondenseNetV2 (`index`) as integers. Equal shapes prove nothing: some networks differ
from ours in an activation or a padding alone. So each layout is recognised by its keys and by what they lack, and says
what a network must do differently to be the one that the weights were trained in.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..errors import UserError, suggest
from . import caffe

STATISTICS = {"running_mean": "_mean", "running_var": "_variance"}


@dataclass
class Recognised:
    """What a file holds.

    Attributes:
        layout (str): its name in `LAYOUTS`.
        model (str | None): the model that it is of, where its shapes say so.
        arrays (dict of str to array): in our layout.
        needs (dict): options that a network must have to be the one that these weights were trained in.
        foreign (str): when they are of a network that is not one of ours: which, and how it differs; else "".
        apart (str): when they are of a network of ours that others could be taken for: which, and how it differs; else
            "". No other network takes them, whatever fits.
        channels (str): order of the image channels that they were trained on: "bgr", or "rgb", which all others are.
    """

    layout: str
    model: str | None
    arrays: dict
    needs: dict = field(default_factory=dict)
    foreign: str = ""
    apart: str = ""
    channels: str = "rgb"


@dataclass(frozen=True)
class Layout:
    """One row of the table below.

    Attributes:
        matches: set of keys, with Paddle's names of the statistics -> whether the file has this layout.
        convert: arrays with these keys -> arrays under our keys.
        needs: model -> the options that the network must have.
        foreign: a network that is not one of ours, and how it differs; or "".
        apart: the same for a network of ours that others could be taken for; `model` is its name.
        channels: "rgb" or "bgr", the images that the weights were trained on.
    """

    matches: Callable
    convert: Callable = dict
    needs: Callable = lambda model: {}
    foreign: str = ""
    apart: str = ""
    model: str | None = None
    channels: str = "rgb"


def recognise(arrays, layout=None):
    """What the arrays of a file are.

    Args:
        arrays (dict of str to array): as the file has them.
        layout (str | None): a name of `LAYOUTS` to take them for. Default None: found out.

    Returns:
        Recognised.

    Raises:
        UserError: no layout is recognised, or they are not of the given one.
    """
    if layout is not None and layout not in LAYOUTS:
        raise UserError(f"there is no layout {layout!r}; {suggest(layout, LAYOUTS)}")
    framework, ours = one_framework(arrays)
    keys = set(ours)
    for name in [layout] if layout else LAYOUTS:
        row = LAYOUTS[name]
        if row.matches(keys):
            converted = integer_indices(row.convert(ours))
            title = f"{name}, {framework}" if name == OFFICIAL else name
            if row.foreign:
                return Recognised(title, None, converted, foreign=row.foreign)
            model = row.model or model_of(converted)
            apart = row.apart or ENCODERS_APART.get(model, "")
            return Recognised(title, model, converted, row.needs(model), apart=apart, channels=row.channels)
    wanted = f"not of the layout {layout!r}" if layout else "not recognised"
    raise UserError(
        f"the layout of these weights is {wanted} ({len(arrays)} tensors, first keys {sorted(arrays)[:3]}); known are "
        f"those of HarDNet, FC-HarDNet, CenterNet-HarDNet, PeleeNet, Pelee-SSD and CondenseNetV2 by their authors, "
        f"PaddleClas, PaddleSeg, ppim and pytorchcv"
    )


def one_framework(arrays):
    """("PyTorch" | "Paddle" | "Caffe", the arrays with Paddle's names and axes), whatever network they are of. Of Caffe
    that is Pelee's detector alone, and its names stay.

    Raises:
        UserError: the keys are of no framework, or of two.
    """
    if caffe.is_pelee(arrays):
        return "Caffe", dict(arrays)
    if any(key in arrays for key in MERGED_STEMS):  # no batch norms to tell by
        return "Paddle", dict(arrays)
    leaves = {key.rpartition(".")[2] for key in arrays}
    if "running_mean" in leaves and "_mean" not in leaves:
        return "PyTorch", from_pytorch(arrays)
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
        ours[prefix + dot + STATISTICS.get(leaf, leaf)] = value.T if is_linear else value
    return ours


def to_pytorch(arrays):
    """The reverse of `from_pytorch`, with step counters of 0 beside the statistics, as the authors' files have them."""
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


#: layouts that `to_layout` writes; PaddleClas has our keys and axes
WRITTEN = ("ours", "paddleclas", "pytorch")


def to_layout(arrays, name):
    """Arrays in our layout -> those of a layout of `WRITTEN`. FC-HarDNet-70 and CenterNet-HarDNet-85, for RGB images
    here, are for BGR ones in their authors' layouts.

    Raises:
        UserError: no such layout.
    """
    if name not in WRITTEN:
        raise UserError(f"there is no layout {name!r} to write; give one of {', '.join(WRITTEN)}")
    if name != "ours" and f"{caffe.STEM}.conv.weight" in arrays:
        raise UserError(f"a detector is not written in the layout {name!r}, which classifiers have; give ours")
    for layout, back in (("densebone FC-HarDNet", _FC_HARDNET_BACK), ("densebone CenterNet-HarDNet", _CENTERNET_BACK)):
        if name == "pytorch" and LAYOUTS[layout].matches(set(arrays)):
            arrays = _renamer(*back)(turned(arrays))
    return to_pytorch(arrays) if name == "pytorch" else dict(arrays)


#: the first convolution of FC-HarDNet-70 and CenterNet-HarDNet-85, and of Pelee's detector, in our layout
FIRST_CONVOLUTIONS = ("backbone.base.0.conv.weight", f"{caffe.STEM}.conv.weight")


def turned(arrays):
    """A network whose authors' weights are for BGR images, with the three input channels of its first convolution in
    reverse order: RGB for BGR, and back."""
    key = next(key for key in FIRST_CONVOLUTIONS if key in arrays)
    return {**arrays, key: arrays[key][:, ::-1]}


#: the options that networks have when nothing is said, of those that weights may need
DEFAULTS = {
    "block_activation": "relu6",
    "stride_padding": "both",
    "stem_stride": 2,
    "align_corners": True,
    "norm": True,
    "norm_epsilon": 1e-5,
    "ceil_mode": False,
}
#: whole detectors, by their networks' names in the catalog; ours is there the layout of PaddleDetection's model
DETECTORS = ("pelee_ssd304",)
#: a bias that PeleeNet has, in a backbone or in a detector, when batch norm is merged into its convolutions
MERGED_STEMS = ("features.stemblock.stem1.conv.bias", f"{caffe.STEM}.conv.bias")


def integer_indices(arrays):
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


# Renaming by patterns, applied in order to each key.


def _renamer(*rules):
    """arrays -> arrays under the keys that the rules (pattern, replacement) make."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]

    def rename(arrays):
        result = {}
        for key, value in arrays.items():
            for pattern, replacement in compiled:
                key = pattern.sub(replacement, key)
            result[key] = value
        return result

    return rename


# pytorchcv counts units where the authors count positions in `base`: of each unit, its block, 1x1 convolution and
# down-sampling. Pools hold no tensors and yet a position.
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


def _from_pytorchcv_hardnet(arrays):
    model = _pytorchcv_hardnet_model(arrays)
    if model is None:
        raise UserError("these weights have pytorchcv's keys, but the widths of no HarDNet that is known")
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


def _from_pytorchcv_peleenet(arrays):
    rename = _renamer(
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
    half = result[stem3].shape[1] // 2  # its inputs: there the convolutions' branch is first, here the pool's
    result[stem3] = np.concatenate([result[stem3][:, half:], result[stem3][:, :half]], axis=1)
    return result


def _from_notebook(arrays):
    head = max(int(key.split(".")[1]) for key in arrays)  # the linear layer, a position of its own there
    return _renamer(
        (r"\.conv_bn\.0\.", ".conv."), (r"\.conv_bn\.1\.", ".norm."), (rf"base\.{head}\.(\w+)$", r"base.16.3.\1")
    )(arrays)


#: the authors' FC-HarDNet-70 -> ours
_FC_HARDNET = (
    (r"^base\.", "backbone.base."),
    (r"^conv1x1_up\.", "decoder.reduce."),
    (r"^denseBlocksUp\.", "decoder.blocks."),
    (r"^finalConv\.", "classifier."),
)
_FC_HARDNET_BACK = (
    (r"^backbone\.base\.", "base."),
    (r"^decoder\.reduce\.", "conv1x1_up."),
    (r"^decoder\.blocks\.", "denseBlocksUp."),
    (r"^classifier\.", "finalConv."),
)
#: the authors' CenterNet-HarDNet-85 -> ours, which is also that of PaddleDetection's CenterNet with our components
_CENTERNET = (
    (r"^base\.", "backbone.base."),
    (r"^last_proj\.", "neck.project."),
    (r"^last_blk\.", "neck.bottom."),
    (r"^conv1x1_up\.", "neck.reduce."),
    (r"^denseBlocksUp\.", "neck.blocks."),
    (r"^hm\.", "head.heatmap."),
    (r"^wh\.", "head.boxes."),
)
_CENTERNET_BACK = (
    (r"^backbone\.base\.", "base."),
    (r"^neck\.project\.", "last_proj."),
    (r"^neck\.bottom\.", "last_blk."),
    (r"^neck\.reduce\.", "conv1x1_up."),
    (r"^neck\.blocks\.", "denseBlocksUp."),
    (r"^head\.heatmap\.", "hm."),
    (r"^head\.boxes\.", "wh."),
)


def _from_paddleseg(arrays):
    """FC-HarDNet-70: there a layer reads its links oldest first, here newest first."""
    from ..backbones.hardnet import links  # which needs Paddle

    rename = _renamer(
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


# Which keys a layout has. HarDNet's and its relatives' overlap, so the relatives are told apart first.


def _has(*patterns, without=()):
    """keys -> whether each pattern is found in one of them, and none of the others in any."""
    wanted, unwanted = [re.compile(p) for p in patterns], [re.compile(p) for p in without]

    def matches(keys):
        found = all(any(p.search(key) for key in keys) for p in wanted)
        return found and not any(p.search(key) for p in unwanted for key in keys)

    return matches


def _last_block(keys, prefix):
    """The position of an encoder's last layer when it is a HarDBlock, else None. CenterNet's has no 1x1 convolution
    behind its last block, which every stage of HarDNet ends with."""
    pattern = re.compile(rf"{prefix}(\d+)\.")
    positions = {int(m[1]): ".layers." in key for key in keys if (m := pattern.match(key))}
    return max(positions) if positions and positions[max(positions)] else None


def _needs_of_caffe_pelee(merged):
    """Options of the PeleeNet in Pelee's detector."""
    norm = {"norm": False} if merged else {"norm": True, "norm_epsilon": 1e-3}
    return lambda model: {"ceil_mode": True, **norm}


PELEE = "Pelee-SSD304, a detector for BGR images"
SEGMENTER = "FC-HarDNet-70, a network for segmentation with ReLU"
DETECTOR = "CenterNet-HarDNet-85, a detector whose encoder has HarDNet's shapes, but ReLU and average pools"
#: encoders that other HarDNets could be taken for
ENCODERS_APART = {
    "hardnet70": "HarDNet-70, the encoder of FC-HarDNet-70, with ReLU and average pools",
    "centernet_hardnet85_base": "the encoder of CenterNet-HarDNet-85, with ReLU and average pools",
}
OFFICIAL = "official"
LAYOUTS = {
    "Caffe Pelee-SSD, merged": Layout(
        lambda keys: caffe.is_pelee(keys) and caffe.is_merged(keys),
        caffe.convert,
        needs=_needs_of_caffe_pelee(merged=True),
        apart=f"{PELEE}, with batch norm merged into its convolutions",
        model="pelee_ssd304",
        channels="bgr",
    ),
    "Caffe Pelee-SSD": Layout(
        caffe.is_pelee,
        caffe.convert,
        needs=_needs_of_caffe_pelee(merged=False),
        apart=PELEE,
        model="pelee_ssd304",
        channels="bgr",
    ),
    "densebone PeleeNet, merged": Layout(
        _has(r"^features\.stemblock\.stem1\.conv\.bias$"), needs=lambda model: {"norm": False}
    ),
    "densebone FC-HarDNet": Layout(
        _has(r"^backbone\.base\.3\.conv\.", r"^decoder\.reduce\.3\."), apart=SEGMENTER, model="fchardnet70"
    ),
    "PaddleSeg HarDNet": Layout(
        _has(r"^stem\.0\._conv\.", r"^encoder\.blks\."),
        _from_paddleseg,
        needs=lambda model: {"stem_stride": 1, "stride_padding": "same", "align_corners": False},
        apart="PaddleSeg's HarDNet, which has the shapes of FC-HarDNet-70 and other strides, padding and up-sampling",
        model="fchardnet70",
    ),
    "densebone CenterNet-HarDNet": Layout(
        _has(r"^backbone\.base\.13\.layers\.", r"^neck\.project\.", r"^head\.boxes\."),
        apart=DETECTOR,
        model="centernet_hardnet85",
    ),
    "CenterNet-HarDNet": Layout(
        _has(r"^base\.13\.layers\.", r"^(hm|last_proj)\.", without=(r"^finalConv\.",)),
        _renamer(*_CENTERNET),
        apart=f"{DETECTOR}, for BGR images",
        model="centernet_hardnet85",
        channels="bgr",
    ),
    "CenterNet-HarDNet-68": Layout(
        _has(r"^base\.0\.conv\.", r"^(hm|last_proj)\.", without=(r"^finalConv\.",)),
        foreign="CenterNet-HarDNet-68, whose encoder has HarDNet's shapes, but ReLU and average pools",
    ),
    "FC-HarDNet": Layout(
        _has(r"^base\.0\.conv\.", r"^(finalConv|denseBlocksUp)\."),
        _renamer(*_FC_HARDNET),
        needs=lambda model: {"stem_stride": 2, "stride_padding": "both", "align_corners": True},
        apart=f"{SEGMENTER} and BGR images",
        model="fchardnet70",
        channels="bgr",
    ),
    "PaddleDetection HarDNet": Layout(
        lambda keys: _last_block(keys, r"base\.") is not None,
        foreign="PaddleDetection's HarDNet, which has the keys and shapes of CenterNet-HarDNet's encoder, but ReLU6 "
        "and other average pools (an encoder of densebone's own is loaded with layout=\"CenterNet-HarDNet's encoder\")",
    ),
    "CenterNet-HarDNet's encoder": Layout(
        lambda keys: _last_block(keys, r"(?:base\.)?") == 13,
        _renamer((r"^(?:base\.)?", "base.")),
        apart=ENCODERS_APART["centernet_hardnet85_base"],
        model="centernet_hardnet85_base",
    ),
    "CenterNet-HarDNet-68's encoder": Layout(
        lambda keys: _last_block(keys, "") is not None,
        foreign="the encoder of CenterNet-HarDNet-68, which has HarDNet's shapes, but ReLU and average pools",
    ),
    "FC-HarDNet's encoder": Layout(
        _has(r"^0\.conv\."),
        _renamer((r"^", "base.")),
        needs=lambda model: {"stem_stride": 2, "stride_padding": "both"},
        apart=ENCODERS_APART["hardnet70"],
        model="hardnet70",
    ),
    "notebook HarDNet68": Layout(
        _has(r"^base\.0\.conv_bn\.0\."), _from_notebook, needs=lambda model: {"stride_padding": "before"}
    ),
    "pytorchcv HarDNet": Layout(
        _has(r"^features\.init_block\.conv1\."),
        _from_pytorchcv_hardnet,
        needs=lambda model: {"block_activation": "relu"} if model in ("hardnet68", "hardnet85") else {},
    ),
    "pytorchcv PeleeNet": Layout(
        _has(r"^features\.init_block\.first_conv\."), _from_pytorchcv_peleenet, needs=lambda model: {"norm": True}
    ),
    OFFICIAL: Layout(
        _has(r"^base\.\d+\.|^features\.(stemblock\.|init_conv\.|denseblock_?\d+\.)"),
        needs=lambda model: {"norm": True} if model == "peleenet" else {},
    ),
}


def model_of(arrays):
    """The model whose network has the shapes of these first layers, or None."""

    def width(key):
        return arrays[key].shape[0] if key in arrays else None

    if "features.stemblock.stem1.conv.weight" in arrays:
        return "peleenet"
    if first := width("features.init_conv.weight"):
        if first == 12:
            return "condensenetv2_b"
        more = "features.denseblock_1.denselayer_2.conv_2.conv.weight" in arrays
        return {True: "condensenetv2_c", False: "condensenetv2_a"}[more] if first == 16 else None
    depthwise = "base.2.dwconv.weight" in arrays or any(".dwconv." in key for key in arrays)
    names = {24: "hardnet39ds", 32: "hardnet68ds" if depthwise else "hardnet68", 48: "hardnet85"}
    if (width("base.0.conv.weight"), width("base.3.conv.weight")) == (16, 48):
        return "hardnet70"
    if "base.13.layers.0.conv.weight" in arrays and "base.14.conv.weight" not in arrays and width("base.14.3.weight"):
        return "centernet_hardnet85_base"  # as a classifier: no 1x1 convolution behind its last block
    return names.get(width("base.0.conv.weight"))
