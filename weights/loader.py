"""Loads weights into a network, strictly: every tensor of the checkpoint is used, or the report names it."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ..errors import UserError, printable
from .array_conversion import FIRST_CONVOLUTIONS, integer_indices, turned
from .catalog import find, is_url
from .download import fetch
from .layouts import ENCODERS_APART, one_framework, recognise
from .reader import SUFFIXES, read_arrays

#: the values of `adapt_input`
ADAPTATIONS = (None, False, "bgr", "rgb")


@dataclass
class LoadReport:
    """What happened to each tensor.

    Attributes:
        source, layout: where the weights come from, and their layout.
        used: tensors of the network that the checkpoint filled.
        missing: tensors of the network that the checkpoint lacks.
        unexpected: tensors of the checkpoint that the network lacks.
        misshaped: (name, shape in the checkpoint, shape in the network) of tensors whose shapes differ.
        left_out: tensors of a classifier that a backbone does not have (head, later stages), and those of a trained
            detector or segmenter beside its backbone.
        added: tensors that no classifier has and the checkpoint lacks. They keep their initial values.
        reinitialised: tensors of the last layer, when the checkpoint has another number of classes, or is an encoder
            without a last layer. They keep their initial values.
        adapted: the weight of the first convolution, when it was changed to fit the image channels.
        turned: whether the input channels of that weight were reversed.
        channels: the channel order of the images that the network now takes, "rgb" or "bgr".
        parameters, parameters_used: how many numbers the network's tensors hold, and how many were filled.
    """

    source: str
    layout: str
    used: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshaped: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    reinitialised: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    turned: bool = False
    channels: str = "rgb"
    parameters: int = 0
    parameters_used: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, unexpected or mis-shaped."""
        return not (self.missing or self.unexpected or self.misshaped)

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps({**asdict(self), "complete": self.complete}, indent=2)

    def __str__(self) -> str:
        share = 100 * self.parameters_used / max(self.parameters, 1)
        parts = [
            f"{self.source} ({self.layout} layout): {len(self.used)} tensors used, {share:.4g} % of the parameters"
        ]
        if self.left_out:
            parts.append(f"{len(self.left_out)} left out, not part of a backbone")
        if self.added:
            parts.append(f"{len(self.added)} keep their initial values, not part of a classifier")
        if self.reinitialised:
            parts.append(
                f"the last layer keeps its initial values, because the weights have another number of classes or no "
                f"such layer ({_few(self.reinitialised)})"
            )
        if self.adapted:
            what = "turned round for RGB images" if self.turned else "adapted to the image channels"
            parts.append(f"{self.adapted[0]} {what}")
        for name in ("missing", "unexpected"):
            if keys := getattr(self, name):
                parts.append(f"{len(keys)} {name} ({_few(keys)})")
        if self.misshaped:
            shapes = [f"{key} is {list(got)}, wanted {list(want)}" for key, got, want in self.misshaped]
            parts.append(f"{len(shapes)} of another shape ({_few(shapes)})")
        return printable("; ".join(parts))


def load_weights(
    layer: paddle.nn.Layer,
    source: str | Path | Mapping[str, Any],
    strict: bool = True,
    adapt_input: str | bool | None = None,
    layout: str | None = None,
) -> LoadReport:
    """Fills a network with weights.

    Args:
        layer: a network of `create_model` or `create_backbone`, or a model that contains one.
        source: a weights file (docs/weights.md lists the kinds), the name of published weights
            (`densebone weights list`), their URL, or the arrays themselves by name.
        strict: raise, and change nothing, unless every tensor on either side has its partner. Two things are allowed,
            and the report names them: a backbone leaves out a classifier's head and later stages, and a last linear
            layer with another number of classes keeps its initial values.
        adapt_input: None, False, "bgr" or "rgb". None adapts the first convolution to the network's `in_channels`: it
            sums the input channels for 1, and repeats them and scales by 3 / n for n. False refuses that. "bgr"
            reverses the three input channels, for weights of BGR images in a network that gets RGB images. "rgb" does
            so only when the weights are known to be of BGR images, as those of FC-HarDNet's authors.
        layout: a name of `layouts.LAYOUTS` that the weights must have; None recognises it.

    Raises:
        UserError: unreadable file, unknown layout, weights of another network, or, when strict, a tensor without a
            partner.
    """
    if adapt_input not in ADAPTATIONS:
        raise UserError(f"adapt_input is {adapt_input!r}; give one of {', '.join(map(repr, ADAPTATIONS))}")
    name, arrays = _read(source)
    is_network = hasattr(layer, "last_linear")
    rest: list[str] = []
    if is_network:
        arrays, rest = _backbone_part(layer, arrays, layout)
    title, arrays, channels = (_ours if is_network else _plain)(name, layer, arrays, layout)
    report = LoadReport(name, title, channels=channels)
    if is_network:
        if adapt_input == "rgb":
            adapt_input = "bgr" if channels == "bgr" else None
        _adapt_input(layer, arrays, adapt_input, report)
        _set_head_apart(layer, arrays, report, is_part=bool(rest))
        report.left_out += rest
    elif adapt_input == "rgb" and channels == "bgr":
        arrays = turned(arrays)
        report.turned, report.channels = True, "rgb"
        report.adapted += [key for key in FIRST_CONVOLUTIONS if key in arrays]
    values = _match(layer, arrays, report)
    if strict and not report.complete:
        hint = layer.misfit_hint(arrays) if hasattr(layer, "misfit_hint") else ""
        raise UserError(f"weights do not fit: {f'{name}: {hint}' if hint else report}")
    state = layer.state_dict()
    for key in report.used:
        state[key].set_value(paddle.to_tensor(values[key]))
    return report


def _read(source):
    """(name for messages, arrays) of what `load_weights` takes as its source."""
    if isinstance(source, Mapping):
        return "given arrays", {key: np.asarray(value) for key, value in source.items()}
    return str(source), read_arrays(locate(source))


def locate(source: str | os.PathLike) -> str | Path:
    """The local file of weights given as a path, a name of published weights, or a URL.

    Downloads names and URLs that the cache lacks. A path need not exist: the reader says so when it does not.

    Raises:
        UserError: there is neither such a file nor such a name, or the download fails.
    """
    if isinstance(source, bool) or not isinstance(source, (str, os.PathLike)):
        raise UserError(
            f"weights are {source!r}; give the path of a file, a name of `densebone weights list`, or a URL"
        )
    text = os.fspath(source)
    if is_url(text):
        return fetch(text)
    if Path(text).exists() or isinstance(source, os.PathLike) or os.sep in text or Path(text).suffix in SUFFIXES:
        return text
    try:
        entry = find(text)
    except UserError as error:
        raise UserError(f"weights file {text} does not exist, and {error}") from None
    entry.check_loadable()
    return fetch(entry)


def _plain(name, layer, arrays, layout):
    """(layout, arrays, channels) for a model that contains one of our networks, such as a detector."""
    if set(arrays) == set(layer.state_dict()):  # such a model need not have batch norms
        return "Paddle", integer_indices(arrays), "rgb"
    framework, plain = one_framework(arrays)
    found = _recognised(arrays, layout)  # perhaps the published file of a whole detector
    if framework == "Caffe" and found:
        for network in layer.sublayers():
            if hasattr(network, "last_linear"):
                _check_needs(name, network, found)
        return found.layout, found.arrays, found.channels
    if found and found.apart and not found.needs and set(found.arrays) == set(layer.state_dict()):
        return found.layout, found.arrays, found.channels
    return framework, integer_indices(plain), "rgb"


def _backbone_part(network, arrays, layout):
    """(the arrays of a backbone, the other keys) when they are those of a trained detector or segmenter on one.

    Otherwise (the arrays, []). Whole networks that have a layout of their own stay whole.
    """
    first = next(iter(network.state_dict()))
    prefixes = {key.removesuffix(first) for key in arrays if key.endswith(f".{first}")}
    if first in arrays or len(prefixes) != 1:
        return arrays, []
    found = _recognised(arrays, None)
    if found and (found.model or found.foreign):
        return arrays, []
    (prefix,) = prefixes
    own = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
    norms = [key for key in own if key.startswith("out_norms.") and key not in network.state_dict()]
    for key in norms:  # of the maps that CondenseNetV2 returns to a head
        del own[key]
    return own, [key for key in arrays if not key.startswith(prefix)] + [prefix + key for key in norms]


def classes_of(network: Any, source: str | Path | Mapping[str, Any]) -> int | None:
    """The outputs of the last layer in a classifier's or whole network's weights; None when they have none.

    Args:
        network: of the same model, with any number of classes.
        source: as in `load_weights`.
    """
    name, arrays = _read(source)
    arrays, rest = _backbone_part(network, arrays, None)
    if rest:
        return None
    weight = _ours(name, network, arrays, None)[1].get(f"{network.last_linear()}.bias")
    return None if weight is None else int(np.shape(weight)[0])


def _recognised(arrays, layout):
    """The arrays recognised, or None: the weights of other detectors have unknown layouts."""
    try:
        return recognise(arrays, layout)
    except UserError:
        if layout is not None:
            raise
        return None


def _ours(name, network, arrays, layout):
    """(layout, arrays, channels) for one of our networks, after a check that no look-alike's weights are given."""
    if getattr(network, "norm_kind", "bn") != "bn" and not any(k.endswith(("_mean", ".running_mean")) for k in arrays):
        return "densebone", integer_indices(arrays), "rgb"  # other norms have no statistics to tell a layout by
    found = recognise(arrays, layout)
    its_own = network.model in (found.model, *ENCODERS.get(found.model, ()))
    if found.foreign or (not its_own and (found.apart or network.model in ALONE)):
        what = found.foreign or found.apart or found.model or "another network"
        raise UserError(f"{name} holds weights of {what}; they are not for this {type(network).__name__}")
    _check_needs(name, network, found)
    arrays = found.arrays
    if prefix := ENCODERS.get(found.model, {}).get(network.model):
        arrays = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
    return found.layout, arrays, found.channels


def _check_needs(name, network, found):
    """Raises a UserError when the weights were trained in a network with other options."""
    wrong = {option: value for option, value in found.needs.items() if getattr(network, option, value) != value}
    if wrong:
        raise UserError(
            f"{name} has the layout {found.layout!r}, which needs a network with other options: build yours with "
            f"{', '.join(f'{option}={value!r}' for option, value in wrong.items())} to load it "
            f"(it has {', '.join(repr(getattr(network, option)) for option in wrong)})"
        )


#: whole network -> the backbones that its weights fill, and the prefix of the backbone's keys
ENCODERS = {
    "fchardnet70": {"hardnet70": "backbone."},
    "centernet_hardnet85": {"centernet_hardnet85_base": "backbone."},
    "pelee_ssd304": {"peleenet": "backbone.backbone."},
}


def _adapt_input(network, arrays, adapt_input, report):
    key = next(key for key, p in network.state_dict().items() if p.ndim == 4 and key.endswith("weight"))
    weight = arrays.get(key)
    if weight is None or weight.ndim != 4:
        return
    theirs, ours = weight.shape[1], network.in_channels
    if adapt_input == "bgr":
        if theirs != 3 or ours != 3:
            raise UserError(
                f"adapt_input is 'bgr', which is for 3 image channels; these weights have {theirs}, this network {ours}"
            )
        arrays[key] = weight[:, ::-1]
        report.turned, report.channels = True, "rgb"
    elif theirs == ours or adapt_input is False or theirs != 3:
        return
    elif ours == 1:
        arrays[key] = weight.sum(1, keepdims=True)
    else:
        arrays[key] = np.tile(weight, (1, math.ceil(ours / 3), 1, 1))[:, :ours] * np.float32(3 / ours)
    report.adapted.append(key)


def _set_head_apart(network, arrays, report, is_part=False):
    """Removes the last layer from the arrays when the network has another number of classes.

    The network's own last layer then keeps its initial values. It does so too when the weights are those of an encoder
    without a last layer, or the backbone of a trained detector or segmenter (`is_part`).
    """
    if not network.with_head or not network.num_classes:
        return
    state = network.state_dict()
    keys = [f"{network.last_linear()}.{leaf}" for leaf in ("weight", "bias")]
    if not any(key in arrays for key in keys):
        if is_part:
            report.reinitialised = [key for key in _head_keys(network) if key not in arrays]
        else:
            report.reinitialised = keys if network.model in HEADLESS else []
        return
    if not all(key in arrays for key in keys):
        return
    weight, bias = (list(state[key].shape) for key in keys)
    theirs = [list(np.shape(arrays[key])) for key in keys]
    other = list(weight)
    other[1 if len(weight) == 2 else 0] = (theirs[1] or [0])[0]  # linear (in, out), convolution (out, in, h, w)
    if theirs != [weight, bias] and theirs == [other, theirs[1][:1]]:
        for key in keys:
            del arrays[key]
        report.reinitialised = keys


def _head_keys(network):
    """State-dict keys of what follows the last stage of a classifier."""
    stages = [layer for index in range(network.last_stage + 1) for layer in network.stage(index)]
    of_stages = {id(value) for layer in stages for value in layer.state_dict().values()}
    return [key for key, value in network.state_dict().items() if id(value) not in of_stages]


#: models whose published weights have no last layer
HEADLESS = tuple(ENCODERS_APART)
#: models that take only their own weights: other weights, here HarDNet-85's, fit in part and nothing would show it
ALONE = ("centernet_hardnet85_base",)


def _match(layer, arrays, report):
    """The arrays to write into the layer, by key. Enters every tensor into the report."""
    state, values = layer.state_dict(), {}
    added = layer.added_keys() if hasattr(layer, "added_keys") else ()
    for key, tensor in state.items():
        report.parameters += tensor.size
        if key not in arrays:
            if key not in report.reinitialised:
                (report.added if key in added else report.missing).append(key)
        elif tuple(arrays[key].shape) != tuple(tensor.shape):
            report.misshaped.append((key, tuple(arrays[key].shape), tuple(tensor.shape)))
        elif arrays[key].dtype.kind != ("f" if tensor.is_floating_point() else "i"):
            expected = "floating-point numbers" if tensor.is_floating_point() else "integers"
            raise UserError(f"{report.source}: {key} holds {arrays[key].dtype}; {expected} are expected")
        else:
            values[key] = np.ascontiguousarray(arrays[key], "float32" if tensor.is_floating_point() else "int64")
            report.used.append(key)
            report.parameters_used += tensor.size
    extra = [key for key in arrays if key not in state]
    classifier_only = layer.classifier_only_keys() if extra and hasattr(layer, "classifier_only_keys") else ()
    for key in extra:
        (report.left_out if key in classifier_only else report.unexpected).append(key)
    return values


def _few(items, count=4):
    items = list(items)
    return ", ".join(items[:count]) + (f", and {len(items) - count} more" if len(items) > count else "")
