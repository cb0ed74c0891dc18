"""The network that computes the features, and the preprocessing that its weights expect."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from paddle import nn

from ..backbones.base import STAGES, Network, check_indices
from ..errors import UserError
from ..pictures.preparing import Preprocessing
from ..registry import create_backbone, create_model, find_model
from ..weights import catalog
from ..weights.identify import entry_of, kept_beside

#: None returns maps; "avg" the mean of every map, "penultimate" the input of the classifier's last layer
POOLED = (None, "avg", "penultimate")


def build(
    model: str | Network,
    out_indices: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    pooled: str | None = None,
    pretrained: bool | str | Path | None = True,
) -> Network:
    """A network in eval mode that returns a list of maps, or (N, D) with pooled="penultimate".

    Arguments and errors are those of `FeatureExtractor`.
    """
    if pooled not in POOLED:
        raise UserError(f"pooled is {pooled!r}; give {', '.join(map(repr, POOLED))}")
    if pooled == "penultimate" and (out_indices is not None or strides is not None):
        raise UserError("pooled='penultimate' reads the last map; leave out_indices and strides out, or give 'avg'")
    out_indices = _indices(out_indices, strides)
    if isinstance(model, Network):
        network = deepcopy(model)
    elif isinstance(model, str):
        network = _create(model, out_indices, pooled, pretrained)
    else:
        raise UserError(
            f"model is a {type(model).__name__}; give a name of densebone list, or a network of create_backbone or "
            f"create_model"
        )
    network = _without_last_layer(network) if pooled == "penultimate" else _with_maps(network, out_indices)
    network.eval()
    return network


def _create(name, out_indices, pooled, pretrained):
    cls, variant = find_model(name)
    if pooled == "penultimate" and issubclass(cls, Network):
        return create_model(name, pretrained=pretrained)
    # by default every map but the one at stride 2; create_backbone refuses whole networks, whatever the indices
    default = tuple(range(1, _stages(cls, variant))) if issubclass(cls, Network) else (0,)
    return create_backbone(name, default if out_indices is None else out_indices, pretrained=pretrained)


def _stages(network, variant):
    """How many of the maps at strides 2, 4, 8, 16, 32 a model has."""
    return min(STAGES, sum(getattr(variant, "downsample_after", (True,) * STAGES)) + 2)


def _indices(out_indices, strides):
    if strides is None:
        return out_indices
    if out_indices is not None:
        raise UserError(f"out_indices {out_indices!r} and strides {strides!r} say the same; give one of them")
    known = [2 ** (i + 1) for i in range(STAGES + 1)]
    if not isinstance(strides, (list, tuple)) or not strides or any(s not in known for s in strides):
        raise UserError(f"strides is {strides!r}; give a list of numbers from {', '.join(map(str, known))}")
    return tuple(known.index(stride) for stride in strides)


def _with_maps(network, out_indices):
    """Turn a classifier into a backbone, or let a backbone return fewer maps, in place."""
    if network.deployed:
        raise UserError(f"this network is a copy for {network.deployed} already; give the one that it was made from")
    there = tuple(range(len(network.strides))) if network.with_head else network.out_indices
    if out_indices is None:
        out_indices = there[1:] if network.with_head else there
    out_indices = check_indices(out_indices, "out_indices", there[-1] + 1)
    if missing := [i for i in out_indices if i not in there]:
        raise UserError(f"out_indices asks for {missing}, and this backbone was built with out_indices={list(there)}")
    places = [there.index(i) for i in out_indices]
    network.channels = [network.channels[i] for i in places]
    network.strides = [network.strides[i] for i in places]
    network.out_indices, network.with_head = out_indices, False
    return network


def _without_last_layer(network):
    """Let a classifier return the input of its last layer, in place."""
    if not getattr(network, "with_head", False) or not network.num_classes:
        raise UserError("pooled='penultimate' needs a classifier, and this is a backbone; give pooled='avg'")
    *parents, name = network.last_linear().split(".")
    parent = network
    for step in parents:
        parent = getattr(parent, step)
    last = getattr(parent, name)
    network.vector_size = int(last.weight.shape[0 if last.weight.ndim == 2 else 1])
    setattr(parent, name, nn.Identity())
    return network


def preprocessing_of(model: str | Network, pretrained: bool | str | Path | None) -> Preprocessing | None:
    """The preprocessing that these weights expect, or None if it is unknown.

    Args:
        model: as for `FeatureExtractor`.
        pretrained: as for `FeatureExtractor`. A file is recognised by its hash, or by what training wrote
            beside it.
    """
    report = None
    if not isinstance(model, str):
        report = getattr(model, "load_report", None)
        model, pretrained = model.model, report.source if report else None
        if report is None:
            return None
    elif pretrained is None or pretrained is False:
        pretrained = True  # any preprocessing suits random weights; take that of the published ones
    elif kept := kept_beside(pretrained).get("preprocessing"):
        return Preprocessing(**kept)
    entry = _entry(model, pretrained)
    recipe = entry.preprocessing if entry else None
    if recipe and report and report.turned:
        turned = {"rgb": "bgr", "bgr": "rgb"}[recipe.channels]
        recipe = replace(recipe, channels=turned, mean=recipe.mean[::-1], std=recipe.std[::-1])
    return recipe


def _entry(model, pretrained):
    """The catalog entry of the weights, or None."""
    try:
        # Files of any model count: the weights of a whole network fill its encoder too.
        return entry_of(pretrained, model if pretrained is True else None)
    except UserError:
        return None


def named_preprocessing(given: Preprocessing | str) -> Preprocessing:
    """`given` itself, or the preprocessing of the published weights with this name.

    Raises:
        UserError: an unknown name, weights whose preprocessing is unknown, or neither a name nor a `Preprocessing`.
    """
    if isinstance(given, Preprocessing):
        return given
    if not isinstance(given, str):
        raise UserError(
            f"preprocessing is a {type(given).__name__}; give a densebone.weights.catalog.Preprocessing, or a name of "
            f"published weights such as 'hardnet68.official'"
        )
    entry = catalog.find(given)
    if entry.preprocessing is None:
        raise UserError(f"the source of {entry.name} does not say how pictures are prepared; give another name")
    return entry.preprocessing


def weights_hash(network: nn.Layer) -> str:
    """The first 16 hex digits of the SHA-256 of a network's weights and their names."""
    result = sha256()
    for key, value in sorted(network.state_dict().items()):
        result.update(key.encode())
        result.update(value.numpy().tobytes())
    return result.hexdigest()[:16]
