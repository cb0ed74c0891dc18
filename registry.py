"""One table: model name -> the network and the variant that it is built from.

A row holds a `Network` class (backbones/base.py), or one for a whole network that stands on such a backbone, and the
frozen dataclass that it takes first. A new variant is one row in its family's file; a new family is one file and one
row below.
"""

import fnmatch
import inspect
import logging

from densebone.backbones import condensenetv2, hardnet, peleenet
from densebone.backbones.base import STAGES, Network, check_indices
from densebone.errors import UserError, suggest
from densebone.necks import centernet, fchardnet
from densebone.weights.catalog import default_for
from densebone.weights.loader import ENCODERS, load_weights

logger = logging.getLogger("densebone")

_FAMILIES = (
    (hardnet.HarDNet, hardnet.VARIANTS),
    (peleenet.PeleeNet, peleenet.VARIANTS),
    (condensenetv2.CondenseNetV2, condensenetv2.VARIANTS),
    (fchardnet.FCHarDNet70, fchardnet.VARIANTS),
    (centernet.CenterNetHarDNet, centernet.VARIANTS),
)
MODELS = {name: (network, variant) for network, variants in _FAMILIES for name, variant in variants.items()}


def list_models(pattern="*"):
    """Names of the models that match a shell pattern such as "hardnet*", sorted."""
    return sorted(fnmatch.filter(MODELS, pattern))


def find_model(name):
    """The (network class, variant) of a model name; UserError that lists the nearest names when there is none."""
    if name not in MODELS:
        raise UserError(f"there is no model {name!r}; {suggest(name, MODELS)}")
    return MODELS[name]


def create_model(name, pretrained=None, num_classes=None, in_channels=3, **options):
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


def create_backbone(name, out_indices=(1, 2, 3, 4), pretrained=None, in_channels=3, **options):
    """A backbone: (N, in_channels, H, W) -> list of maps (N, channels[i], H / strides[i], W / strides[i]).

    Args:
        name (str): one of `list_models()`.
        out_indices (sequence of int): ascending numbers from 0..4, the last maps at strides 2, 4, 8, 16, 32; hardnet70
            has one more, 5, at stride 64, and centernet_hardnet85_base ends with 3. Default (1, 2, 3, 4).
        pretrained, in_channels, **options: as in `create_model`. The weights may be a classifier's.

    Raises:
        UserError: as `create_model`, and for out_indices that are out of range or not ascending.
    """
    network, variant = find_model(name)
    if not issubclass(network, Network):
        raise UserError(
            f"{name} is a whole network for {network.task}, no backbone; its encoder is {next(iter(ENCODERS[name]))!r}"
        )
    _check_options(network, options)
    if out_indices is None:  # which would make a classifier
        check_indices(out_indices, "out_indices", STAGES)
    net = network(variant, out_indices=out_indices, in_channels=in_channels, **options)
    load_pretrained(net, name, pretrained)
    return net


def load_pretrained(net, name, pretrained, adapt_input=None):
    """Fills a network of the model `name` with what `pretrained` of `create_model` says; None and False: nothing.
    `adapt_input` is that of `load_weights`.

    The report is kept as `net.load_report`; what was adapted or left as it started is logged as a warning.
    """
    net.load_report = None
    if pretrained is not None and pretrained is not False:
        net.load_report = load_weights(
            net, default_for(name).name if pretrained is True else pretrained, adapt_input=adapt_input
        )
        if net.load_report.adapted or net.load_report.reinitialised:
            logger.warning("%s", net.load_report)


def _check_options(network, options):
    """Raises UserError unless `network` has every one of the options, beside those that have a parameter above."""
    own = {"self", "variant", "in_channels", "num_classes", "out_indices", "stages"}
    classes = (Network, network) if issubclass(network, Network) else (network,)
    parameters = [p for cls in classes for p in inspect.signature(cls.__init__).parameters.values()]
    known = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in own]
    if unknown := [option for option in options if option not in known]:
        raise UserError(f"there is no option {', '.join(unknown)}; the options here are {', '.join(known)}")
