"""Recognises the layout of a checkpoint, keeps look-alikes apart, and converts each layout to ours.

Our layout ("ours") has the official PyTorch keys with Paddle's names for batch-norm statistics, linear weights of shape
(in, out), and the channel numbers of a condensed CondenseNetV2 (`index`) as integers. Equal shapes prove nothing: some
networks differ from ours only in an activation or a padding. So the table below recognises a layout by the keys that it
has and by those that it lacks. A row also says which options the network needs to be the one that was trained.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from ..errors import UserError, suggest
from . import caffe
from .array_conversion import (
    Arrays,
    from_centernet,
    from_fchardnet,
    from_notebook,
    from_paddleseg,
    from_pytorch,
    from_pytorchcv_hardnet,
    from_pytorchcv_peleenet,
    integer_indices,
    renamer,
    to_centernet,
    to_fchardnet,
    to_pytorch,
    turned,
)


@dataclass
class Recognised:
    """What a file holds.

    Attributes:
        layout: its name in `LAYOUTS`; the official layout adds the framework.
        model: the model whose weights these are; None when the shapes fit no model.
        arrays: the arrays in our layout.
        needs: options that the network must have to be the one that these weights were trained in.
        foreign: for a network that we do not build: its name and how it differs from ours; else "".
        apart: for one of our networks that looks like another: its name and how it differs; else "". No other network
            takes these weights, even where the shapes fit.
        channels: the channel order of the images that they were trained on, "rgb" or "bgr".
    """

    layout: str
    model: str | None
    arrays: Arrays
    needs: dict[str, Any] = field(default_factory=dict)
    foreign: str = ""
    apart: str = ""
    channels: str = "rgb"


@dataclass(frozen=True)
class Layout:
    """One row of the table below.

    Attributes:
        matches: keys, with Paddle's names for the statistics -> whether the file has this layout.
        convert: arrays under these keys -> arrays under our keys.
        needs: model -> the options that the network must have.
        foreign: a network that we do not build, and how it differs from ours; or "".
        apart: one of our networks that looks like another, and how it differs; or "". `model` is its name.
        model: the model of all files in this layout; None when the shapes decide.
        channels: the channel order of the images that the weights were trained on, "rgb" or "bgr".
    """

    matches: Callable[[Collection[str]], bool]
    convert: Callable[[Arrays], Arrays] = dict
    needs: Callable[[str | None], dict[str, Any]] = lambda model: {}
    foreign: str = ""
    apart: str = ""
    model: str | None = None
    channels: str = "rgb"


def recognise(arrays: Arrays, layout: str | None = None) -> Recognised:
    """Finds out what the arrays of a file are, and converts them to our layout.

    Args:
        arrays: as the file has them.
        layout: a name of `LAYOUTS` that the arrays must have; None tries all of them.

    Raises:
        UserError: the arrays have no known layout, or not the given one.
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
            apart = row.apart or ENCODERS_APART.get(model or "", "")
            return Recognised(title, model, converted, row.needs(model), apart=apart, channels=row.channels)
    wanted = f"not of the layout {layout!r}" if layout else "not recognised"
    raise UserError(
        f"the layout of these weights is {wanted} ({len(arrays)} tensors, first keys {sorted(arrays)[:3]}); known are "
        f"those of HarDNet, FC-HarDNet, CenterNet-HarDNet, PeleeNet, Pelee-SSD and CondenseNetV2 by their authors, "
        f"PaddleClas, PaddleSeg, ppim and pytorchcv"
    )


def one_framework(arrays: Arrays) -> tuple[str, Arrays]:
    """Tells the framework of any network's arrays, and gives them Paddle's names and axes.

    The only Caffe network that this knows is Pelee's detector; its names stay as they are.

    Returns:
        "PyTorch", "Paddle" or "Caffe", and the arrays.

    Raises:
        UserError: the keys fit no framework, or two of them.
    """
    if caffe.is_pelee(arrays):
        return "Caffe", dict(arrays)
    if any(key in arrays for key in MERGED_STEMS):  # these have no batch norms that show the framework
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


#: the layouts that `to_layout` writes; PaddleClas has our keys and axes
WRITTEN = ("ours", "paddleclas", "pytorch")


def to_layout(arrays: Arrays, name: str) -> Arrays:
    """Arrays in our layout -> arrays in a layout of `WRITTEN`.

    FC-HarDNet-70 and CenterNet-HarDNet-85 take RGB images in our layout and BGR images in their authors' layouts.

    Raises:
        UserError: no such layout, or a detector in a layout for classifiers.
    """
    if name not in WRITTEN:
        raise UserError(f"there is no layout {name!r} to write; give one of {', '.join(WRITTEN)}")
    if name != "ours" and f"{caffe.STEM}.conv.weight" in arrays:
        raise UserError(f"a detector is not written in the layout {name!r}, which is for classifiers; give 'ours'")
    for layout, back in (("densebone FC-HarDNet", to_fchardnet), ("densebone CenterNet-HarDNet", to_centernet)):
        if name == "pytorch" and LAYOUTS[layout].matches(set(arrays)):
            arrays = back(turned(arrays))
    return to_pytorch(arrays) if name == "pytorch" else dict(arrays)


#: defaults of the network options that some weights need to differ
DEFAULTS = {
    "block_activation": "relu6",
    "stride_padding": "both",
    "stem_stride": 2,
    "align_corners": True,
    "norm": True,
    "norm_epsilon": 1e-5,
    "ceil_mode": False,
}
#: whole detectors, by their networks' names in the catalog; their layout "ours" is that of PaddleDetection's model
DETECTORS = ("pelee_ssd304",)
#: a bias that only a PeleeNet with merged batch norm has, as a backbone or in a detector
MERGED_STEMS = ("features.stemblock.stem1.conv.bias", f"{caffe.STEM}.conv.bias")


# The table of layouts. HarDNet and its relatives share keys, so the relatives come first.


def _has(*patterns, without=()):
    """A function of keys: whether some key matches each of the patterns, and no key matches any of `without`."""
    wanted, unwanted = [re.compile(p) for p in patterns], [re.compile(p) for p in without]

    def matches(keys):
        found = all(any(p.search(key) for key in keys) for p in wanted)
        return found and not any(p.search(key) for p in unwanted for key in keys)

    return matches


def _last_block(keys, prefix):
    """The position of an encoder's last layer when that is a HarDBlock, else None.

    Every stage of HarDNet ends with a 1x1 convolution after its block; the last stage of CenterNet's encoder does not.
    """
    pattern = re.compile(rf"{prefix}(\d+)\.")
    positions = {int(m[1]): ".layers." in key for key in keys if (m := pattern.match(key))}
    return max(positions) if positions and positions[max(positions)] else None


def _needs_of_caffe_pelee(merged):
    """The options of the PeleeNet in Pelee's detector."""
    norm = {"norm": False} if merged else {"norm": True, "norm_epsilon": 1e-3}
    return lambda model: {"ceil_mode": True, **norm}


PELEE = "Pelee-SSD304, a detector for BGR images"
SEGMENTER = "FC-HarDNet-70, a network for segmentation with ReLU"
DETECTOR = "CenterNet-HarDNet-85, a detector whose encoder has HarDNet's shapes, but ReLU and average pools"
#: encoders that look like other HarDNets
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
        from_paddleseg,
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
        from_centernet,
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
        from_fchardnet,
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
        renamer((r"^(?:base\.)?", "base.")),
        apart=ENCODERS_APART["centernet_hardnet85_base"],
        model="centernet_hardnet85_base",
    ),
    "CenterNet-HarDNet-68's encoder": Layout(
        lambda keys: _last_block(keys, "") is not None,
        foreign="the encoder of CenterNet-HarDNet-68, which has HarDNet's shapes, but ReLU and average pools",
    ),
    "FC-HarDNet's encoder": Layout(
        _has(r"^0\.conv\."),
        renamer((r"^", "base.")),
        needs=lambda model: {"stem_stride": 2, "stride_padding": "both"},
        apart=ENCODERS_APART["hardnet70"],
        model="hardnet70",
    ),
    "notebook HarDNet68": Layout(
        _has(r"^base\.0\.conv_bn\.0\."), from_notebook, needs=lambda model: {"stride_padding": "before"}
    ),
    "pytorchcv HarDNet": Layout(
        _has(r"^features\.init_block\.conv1\."),
        from_pytorchcv_hardnet,
        needs=lambda model: {"block_activation": "relu"} if model in ("hardnet68", "hardnet85") else {},
    ),
    "pytorchcv PeleeNet": Layout(
        _has(r"^features\.init_block\.first_conv\."), from_pytorchcv_peleenet, needs=lambda model: {"norm": True}
    ),
    OFFICIAL: Layout(
        _has(r"^base\.\d+\.|^features\.(stemblock\.|init_conv\.|denseblock_?\d+\.)"),
        needs=lambda model: {"norm": True} if model == "peleenet" else {},
    ),
}


def model_of(arrays: Arrays) -> str | None:
    """The model whose first layers have the shapes of these arrays, or None."""

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
        return "centernet_hardnet85_base"  # as a classifier: no 1x1 convolution after its last block
    return names.get(width("base.0.conv.weight"))
