"""One table: model name -> the network class and the variant that it is built from.

A variant is a frozen dataclass of `backbones.variants` or `necks.variants`. A new variant is one row there. A new
family is one file and one row below. Paddle is imported when a network is built, not when names are listed.
"""

from __future__ import annotations

import fnmatch
import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .backbones import variants
from .errors import UserError, suggest
from .necks import variants as whole
from .weights.catalog import default_for

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
    def is_whole(self) -> bool:
        """Whether it is a whole network for detection or segmentation, and no backbone."""
        return hasattr(self.variant, "encoder")


MODELS: dict[str, Row] = {
    name: Row(module, class_name, variant) for module, class_name, table in _FAMILIES for name, variant in table.items()
}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the models that match a shell pattern such as "hardnet*", sorted."""
    return sorted(fnmatch.filter(MODELS, pattern))


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
    return yaml.safe_load(_FACTS.read_text(encoding="utf-8"))[name]


def create_model(
    name: str,
    pretrained: bool | str | Path | Mapping | None = None,
    num_classes: int | None = None,
    in_channels: int = 3,
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
        num_classes (int | None): default None: those of the published weights, 1000; 19 for fchardnet70, 80 for
            centernet_hardnet85.
        in_channels (int): default 3.
        **options: freeze_at, freeze_norm, recompute (see `backbones.base.Network`) and those of the family, such as
            ceil_mode of `PeleeNet` and form of `CondenseNetV2`.

    Raises:
        UserError: unknown name, unknown option, an option out of range, or weights that do not fit.
    """
    network, variant = find_model(name)
    _check_options(network, options)
    classes = {} if num_classes is None else {"num_classes": num_classes}
    net = network(variant, in_channels=in_channels, **classes, **options)
    load_pretrained(net, name, pretrained)
    return net


def create_backbone(
    name: str,
    out_indices: Sequence[int] = (1, 2, 3, 4),
    pretrained: bool | str | Path | Mapping | None = None,
    in_channels: int = 3,
    **options: Any,
) -> Network:
    """A backbone: (N, in_channels, H, W) -> list of maps (N, channels[i], H / strides[i], W / strides[i]).

    Args:
        name (str): one of `list_models()`.
        out_indices (sequence of int): ascending numbers from 0..4, the last maps at strides 2, 4, 8, 16, 32; hardnet70
            has one more, 5, at stride 64, and centernet_hardnet85_base ends with 3. Default (1, 2, 3, 4).
        pretrained, in_channels, **options: as in `create_model`. The weights may be a classifier's.

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
    net = network(variant, out_indices=out_indices, in_channels=in_channels, **options)
    load_pretrained(net, name, pretrained)
    return net


def load_pretrained(
    net: Any, name: str, pretrained: bool | str | Path | Mapping | None, adapt_input: str | None = None
) -> None:
    """Fills a network of the model `name` with what `pretrained` of `create_model` says; None and False: nothing.
    `adapt_input` is that of `load_weights`.

    The report is kept as `net.load_report`; what was adapted or left as it started is logged as a warning.
    """
    from .weights.loader import load_weights

    net.load_report = None
    if pretrained is not None and pretrained is not False:
        net.load_report = load_weights(
            net, default_for(name).name if pretrained is True else pretrained, adapt_input=adapt_input
        )
        if net.load_report.adapted or net.load_report.reinitialised:
            logger.warning("%s", net.load_report)


def _check_options(network, options):
    """Raises UserError unless `network` has every one of the options, beside those that have a parameter above."""
    from .backbones.base import Network

    own = {"self", "variant", "in_channels", "num_classes", "out_indices", "stages"}
    classes = (Network, network) if issubclass(network, Network) else (network,)
    parameters = [p for cls in classes for p in inspect.signature(cls.__init__).parameters.values()]
    known = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in own]
    if unknown := [option for option in options if option not in known]:
        raise UserError(f"there is no option {', '.join(unknown)}; the options here are {', '.join(known)}")
