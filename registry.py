"""One table: model name -> the network class and the variant that it is built from.

A variant is a frozen dataclass of `backbones.variants` or `necks.variants`. A new variant is one row there. A new
family is one file and one row below. Paddle is imported when a network is built, not when names are listed.
"""

from __future__ import annotations

import fnmatch
import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .backbones import variants
from .errors import UserError, suggest
from .necks import variants as whole
from .weights.catalog import Entry, default_for, entries, find, is_published, is_url

if TYPE_CHECKING:
    from paddle.nn import Layer

    from .backbones.base import Network

logger = logging.getLogger("densebone")

_FACTS = Path(__file__).parent / "backbones" / "facts.yml"

# module, class, table of variants
_FAMILIES: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("backbones.hardnet", "HarDNet", variants.HARDNETS),
    ("backbones.peleenet", "PeleeNet", variants.PELEENETS),
    ("backbones.condensenetv2", "CondenseNetV2", variants.CONDENSENETS),
    ("necks.fchardnet", "FCHarDNet70", whole.FCHARDNETS),
    ("necks.centernet", "CenterNetHarDNet", whole.CENTERNETS),
)

_WHOLE_TASKS = {"FCHarDNet70": "segmentation", "CenterNetHarDNet": "detection"}
_TASKS = ("classification", *_WHOLE_TASKS.values())


@dataclass(frozen=True)
class Row:
    """One model of the registry.

    Attributes:
        module (str): the module of the network class, relative to the package.
        class_name (str): a `backbones.base.Network`, or a whole network that stands on one.
        variant: the frozen dataclass that the class takes first.
    """

    module: str
    class_name: str
    variant: Any

    def network(self) -> type[Layer]:
        """The network class; imports Paddle."""
        return getattr(import_module(f".{self.module}", __package__), self.class_name)

    @property
    def task(self) -> str:
        """The task that it solves; that of a backbone is the task of its published weights."""
        return _WHOLE_TASKS.get(self.class_name, "classification")

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole network for detection or segmentation, and no backbone."""
        return hasattr(self.variant, "encoder")


MODELS: dict[str, Row] = {
    name: Row(module, class_name, variant) for module, class_name, table in _FAMILIES for name, variant in table.items()
}


def list_models(
    patterns: str | Iterable[str] = "*",
    exclude_filters: str | Iterable[str] = (),
    pretrained: bool = False,
    task: str | None = None,
) -> list[str]:
    """Names of models, sorted.

    Args:
        patterns: shell patterns such as "hardnet*", one or more.
        exclude_filters: patterns of names to leave out.
        pretrained: only models for which `pretrained=True` has weights.
        task: "classification", "segmentation" or "detection": only those that solve it; None: all.

    Raises:
        UserError: there is no such task.
    """
    if task not in (None, *_TASKS):
        raise UserError(f"there is no task {task!r}; give one of {', '.join(_TASKS)}, or None")
    wanted, left_out = ([p] if isinstance(p, str) else [*p] for p in (patterns, exclude_filters))
    names = {name for pattern in wanted for name in fnmatch.filter(MODELS, pattern)}
    names -= {name for pattern in left_out for name in fnmatch.filter(MODELS, pattern)}
    return sorted(
        name
        for name in names
        if (not pretrained or _default_entry(name)) and (task is None or MODELS[name].task == task)
    )


def is_model(name: str) -> bool:
    """Whether a model has this name."""
    return name in MODELS


def model_info(name: str) -> dict[str, Any]:
    """What is known of a model, without building it.

    Returns:
        name, family (its class), task, parameters, classes, channels and strides of its maps, weights (names of its
        published weights) and default_weights (what `pretrained=True` means, or None).

    Raises:
        UserError: there is no such model.
    """
    row, entry = find_row(name), _default_entry(name)
    return {
        "name": name,
        "family": row.class_name,
        "task": row.task,
        **model_facts(name),
        "weights": [one.name for one in entries() if one.model == name],
        "default_weights": entry and entry.name,
    }


def _default_entry(name: str) -> Entry | None:
    try:
        return default_for(name)
    except UserError:
        return None


def find_row(name: str) -> Row:
    """The row of a model; UserError that lists the nearest names when there is none."""
    if name not in MODELS:
        raise UserError(f"there is no model {name!r}; {suggest(name, MODELS)}")
    return MODELS[name]


def find_model(name: str) -> tuple[Any, Any]:
    """The (network class, variant) of a model; UserError that lists the nearest names when there is none."""
    row = find_row(name)
    return row.network(), row.variant


def model_facts(name: str) -> dict[str, Any]:
    """What `densebone info` says of a model, without building it: {parameters, classes, channels, strides}.

    `backbones/facts.yml` holds it. A test builds every network and compares.
    """
    find_row(name)
    return _facts()[name]


@cache
def _facts():
    return yaml.safe_load(_FACTS.read_text(encoding="utf-8"))


def create_model(
    name: str,
    pretrained: bool | str | Path | Mapping | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    features_only: bool = False,
    in_chans: int | None = None,
    **options: Any,
) -> Any:
    """A whole network: a classifier, (N, in_channels, H, W) -> logits (N, num_classes); fchardnet70, for segmentation:
    -> logits (N, num_classes, H, W); or centernet_hardnet85, for detection: -> (heatmap before the sigmoid
    (N, num_classes, H / 4, W / 4), boxes (N, 4, H / 4, W / 4)), which `necks.centernet.CenterNetHead` explains.

    Args:
        name (str): one of `list_models()`.
        pretrained (bool | path | str | mapping | None): True takes the model's default weights, a name of
            `densebone weights list` others; a path, a URL or arrays are read by `load_weights`. Published weights are
            downloaded once. Default None: random weights.
        num_classes (int | None): default None: those of your own weights, else of the published ones: 1000; 19 for
            fchardnet70, 80 for centernet_hardnet85. 0: a classifier without its last layer, which returns pooled
            features.
        in_channels (int | None): channels of the image; default None: 3.
        features_only (bool): returns what `create_backbone` does; num_classes must be left out.
        in_chans (int | None): another name of in_channels.
        **options: those of `backbones.base.Network`, such as freeze_at, norm and output_stride, and those of the
            family, such as ceil_mode of `PeleeNet` and form of `CondenseNetV2`. With features_only also out_indices.

    Raises:
        UserError: unknown name, unknown option, an option out of range, or weights that do not fit.
    """
    in_channels = _image_channels(in_channels, in_chans)
    if features_only:
        if num_classes:
            raise UserError("features_only=True makes a backbone, which has no classes; leave num_classes out")
        return create_backbone(name, pretrained=pretrained, in_channels=in_channels, **options)
    if "out_indices" in options:
        raise UserError("out_indices is for a backbone; add features_only=True, or call create_backbone")
    network, variant = find_model(name)
    _check_options(network, options)
    classes = {} if num_classes is None else {"num_classes": num_classes}
    net = network(variant, in_channels=in_channels, **classes, **options)
    if num_classes is None and _is_own(pretrained):
        from .weights.loader import classes_of

        own: Any = pretrained
        count = classes_of(net, own)
        if count not in (None, net.num_classes):
            net = network(variant, in_channels=in_channels, num_classes=count, **options)
    load_pretrained(net, name, pretrained)
    return net


def _is_own(pretrained):
    """Whether these are weights of the user's: a file or arrays, and none that is published."""
    if isinstance(pretrained, (str, Path)):
        return not is_url(pretrained) and not is_published(str(pretrained))
    return isinstance(pretrained, Mapping)


#: the maps of a backbone unless others are asked for: strides 4 to 32, as far as the network has them
OUT_INDICES = (1, 2, 3, 4)


def create_backbone(
    name: str,
    out_indices: Sequence[int] = OUT_INDICES,
    pretrained: bool | str | Path | Mapping | None = None,
    in_channels: int | None = None,
    in_chans: int | None = None,
    **options: Any,
) -> Network:
    """A backbone: (N, in_channels, H, W) -> list of maps (N, channels[i], H / strides[i], W / strides[i]).

    Args:
        name (str): one of `list_models()`.
        out_indices (sequence of int): ascending numbers from 0..4, the last maps at strides 2, 4, 8, 16, 32; hardnet70
            has one more, 5, at stride 64, and centernet_hardnet85_base ends with 3. Negative ones count from the end.
            Default (1, 2, 3, 4), or as far as the network goes.
        pretrained, in_channels, in_chans, **options: as in `create_model`. The weights may be a classifier's.

    Raises:
        UserError: as `create_model`, and for out_indices that are out of range or not ascending.
    """
    from .backbones.base import STAGES, check_indices
    from .weights.loader import ENCODERS

    network, variant = find_model(name)
    if find_row(name).is_whole:
        raise UserError(
            f"{name} is a whole network for {network.task}, no backbone; its encoder is {next(iter(ENCODERS[name]))!r}"
        )
    _check_options(network, options)
    if out_indices is None:  # which would make a classifier
        check_indices(out_indices, "out_indices", STAGES)
    channels = _image_channels(in_channels, in_chans)
    if out_indices is OUT_INDICES:
        out_indices = OUT_INDICES[: len(model_facts(name)["strides"]) - 1] if name in _facts() else OUT_INDICES
    net = network(variant, out_indices=out_indices, in_channels=channels, **options)
    load_pretrained(net, name, pretrained)
    return net


def _image_channels(in_channels, in_chans):
    """The one of two names of the same option that is given; 3 for neither."""
    if None not in (in_channels, in_chans) and in_channels != in_chans:
        raise UserError(f"in_channels is {in_channels} and in_chans {in_chans}, which mean the same; give one of them")
    given = in_chans if in_channels is None else in_channels
    return 3 if given is None else given


def load_pretrained(
    net: Any, name: str, pretrained: bool | str | Path | Mapping | None, adapt_input: str | None = None
) -> None:
    """Fills a network of the model `name` with what `pretrained` of `create_model` says; None and False: nothing.
    `adapt_input` is that of `load_weights`.

    The report is kept as `net.load_report`; what was adapted or left as it started is logged as a warning.
    """
    from .weights.loader import load_weights

    norm, text = getattr(net, "norm_kind", "bn"), str(pretrained)
    if norm != "bn" and (pretrained is True or is_url(text) or is_published(text)):
        raise UserError(
            f"norm is {norm!r}, and all published weights belong to batch norm; leave pretrained out, to train from "
            f"random weights, or norm"
        )
    net.load_report = None
    net.published = _published(name, pretrained)
    if pretrained is not None and pretrained is not False:
        net.load_report = load_weights(
            net, default_for(name).name if pretrained is True else pretrained, adapt_input=adapt_input
        )
        if net.load_report.adapted or net.load_report.reinitialised:
            logger.warning("%s", net.load_report)


def _published(name, pretrained):
    """What the catalog says of the weights that were given, or of the model's default ones, for `default_cfg`."""
    entry = _default_entry(name)
    if isinstance(pretrained, (str, Path)):
        entry = find(str(pretrained)) if is_published(str(pretrained)) else None
    if entry is None:
        return {}
    facts = {
        "url": entry.urls[0] if entry.urls else None,
        "file": entry.file,
        "source": entry.name,
        "license": entry.licence,
    }
    if recipe := entry.preprocessing:
        turn = slice(None, None, -1 if recipe.channels == "bgr" else 1)
        share = recipe.crop / recipe.resize if recipe.crop and isinstance(recipe.resize, int) else None
        facts |= {"mean": tuple(recipe.mean[turn]), "std": tuple(recipe.std[turn]), "crop_pct": share}
        facts |= {"input_size": recipe.input_size, "interpolation": recipe.interpolation}
    return facts


def _check_options(network, options):
    """Raises UserError unless `network` has every one of the options, beside those that have a parameter above."""
    from .backbones.base import Network

    own = {"self", "variant", "in_channels", "num_classes", "out_indices", "stages"}
    classes = (Network, network) if issubclass(network, Network) else (network,)
    parameters = [p for cls in classes for p in inspect.signature(cls.__init__).parameters.values()]
    known = [*dict.fromkeys(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in own)]
    if unknown := [option for option in options if option not in known]:
        raise UserError(f"there is no option {', '.join(unknown)}; the options here are {', '.join(known)}")
