"""PaddleSeg components; importing this module registers them and repairs the installed release where needed.

    model:
      type: FCHarDNet                              # or a head of PaddleSeg, with
      backbone: {type: HarDNet68, pretrained: true}    # any other name of `BACKBONES`

PaddleSeg has no key for plugins: `densebone run path/to/tools/train.py ...` runs its unmodified scripts with these.
"""

from paddleseg.cvlibs import manager

from ..backbones.condensenetv2 import CondenseNetV2
from ..backbones.hardnet import HarDNet
from ..backbones.peleenet import PeleeNet as PeleeNetwork
from ..errors import UserError
from ..necks.fchardnet import FCHarDNet as FCHarDNetwork
from ..necks.fchardnet import FCHarDNet70
from ..registry import find_model, load_pretrained
from ..weights.loader import load_weights
from .compat import paddleseg as compat

BACKBONES = (
    "CondenseNetV2A",
    "CondenseNetV2B",
    "CondenseNetV2C",
    "HarDNet39DS",
    "HarDNet68",
    "HarDNet68DS",
    "HarDNet70",
    "HarDNet85",
    "PeleeNet",
)
__all__ = [*BACKBONES, "FCHarDNet"]


class _SegmentationBackbone:
    """Gives a `Network` the interface of a PaddleSeg backbone. `model` is its name in the registry.

    PaddleSeg passes a configuration's keys to the constructor, so a family with options of its own has a constructor of
    its own, which passes them on.
    """

    model = ""

    def __init__(
        self,
        out_indices=(1, 2, 3, 4),
        in_channels=3,
        pretrained=None,
        freeze_at=-1,
        freeze_norm=False,
        recompute=False,
    ):
        """
        Args:
            out_indices (list of int): maps to return, ascending numbers from 0..4 for strides 2, 4, 8, 16, 32. Heads
                count them with `backbone_indices`, from 0 for the first that is returned.
            in_channels (int): channels of the image.
            pretrained (bool | str | None): true for the model's default weights, the name of others, a file or a URL;
                loaded strictly. Weights of BGR images are turned round, since PaddleSeg's images are RGB.
            freeze_at (int): stages 0..freeze_at do not learn; -1 freezes none.
            freeze_norm (bool): batch norms keep their stored statistics and do not learn.
            recompute (bool): gradient checkpointing of the dense blocks.
        """
        self._build(out_indices, in_channels, pretrained, freeze_at, freeze_norm, recompute)

    def _build(self, out_indices, in_channels, pretrained, freeze_at, freeze_norm, recompute, **family_options):
        network, variant = find_model(self.model)
        network.__init__(
            self,
            variant,
            out_indices=out_indices,
            in_channels=in_channels,
            freeze_at=freeze_at,
            freeze_norm=freeze_norm,
            recompute=recompute,
            **family_options,
        )
        load_pretrained(self, self.model, pretrained, adapt_input="rgb")

    @property
    def feat_channels(self):
        """Channels of each returned map, highest resolution first."""
        return self.channels


class _HarDNetBackbone(_SegmentationBackbone, HarDNet):
    def __init__(
        self,
        out_indices=(1, 2, 3, 4),
        in_channels=3,
        pretrained=None,
        freeze_at=-1,
        freeze_norm=False,
        recompute=False,
        block_activation=None,
        stride_padding="both",
        stem_stride=2,
        block_maps=False,
    ):
        """`block_activation`, `stride_padding`, `stem_stride` and `block_maps` are those of `HarDNet`."""
        shared = (out_indices, in_channels, pretrained, freeze_at, freeze_norm, recompute)
        self._build(
            *shared,
            block_activation=block_activation,
            stride_padding=stride_padding,
            stem_stride=stem_stride,
            block_maps=block_maps,
        )


class _CondenseNetV2Backbone(_SegmentationBackbone, CondenseNetV2):
    def __init__(
        self,
        out_indices=(1, 2, 3, 4),
        in_channels=3,
        pretrained=None,
        freeze_at=-1,
        freeze_norm=False,
        recompute=False,
        form="condensed",
        out_norm=True,
    ):
        """`form` and `out_norm` are those of `CondenseNetV2`."""
        shared = (out_indices, in_channels, pretrained, freeze_at, freeze_norm, recompute)
        self._build(*shared, form=form, out_norm=out_norm)


@manager.BACKBONES.add_component
class PeleeNet(_SegmentationBackbone, PeleeNetwork):
    """PeleeNet."""

    model = "peleenet"

    def __init__(
        self,
        out_indices=(1, 2, 3, 4),
        in_channels=3,
        pretrained=None,
        freeze_at=-1,
        freeze_norm=False,
        recompute=False,
        ceil_mode=False,
    ):
        """`ceil_mode` is that of the network's class."""
        shared = (out_indices, in_channels, pretrained, freeze_at, freeze_norm, recompute)
        self._build(*shared, ceil_mode=ceil_mode)


@manager.BACKBONES.add_component
class CondenseNetV2A(_CondenseNetV2Backbone):
    """CondenseNetV2-A."""

    model = "condensenetv2_a"


@manager.BACKBONES.add_component
class CondenseNetV2B(_CondenseNetV2Backbone):
    """CondenseNetV2-B."""

    model = "condensenetv2_b"


@manager.BACKBONES.add_component
class CondenseNetV2C(_CondenseNetV2Backbone):
    """CondenseNetV2-C."""

    model = "condensenetv2_c"


@manager.BACKBONES.add_component
class HarDNet39DS(_HarDNetBackbone):
    """HarDNet-39DS."""

    model = "hardnet39ds"


@manager.BACKBONES.add_component
class HarDNet68DS(_HarDNetBackbone):
    """HarDNet-68DS."""

    model = "hardnet68ds"


@manager.BACKBONES.add_component
class HarDNet68(_HarDNetBackbone):
    """HarDNet-68."""

    model = "hardnet68"


@manager.BACKBONES.add_component
class HarDNet85(_HarDNetBackbone):
    """HarDNet-85."""

    model = "hardnet85"


@manager.BACKBONES.add_component
class HarDNet70(_HarDNetBackbone):
    """HarDNet-70, the encoder of FC-HarDNet-70; its maps are 0..5, for strides 2 to 64."""

    model = "hardnet70"


class _ListOfLogits:
    def forward(self, x):
        """(N, in_channels, H, W) -> [logits (N, num_classes, H, W)], as PaddleSeg's models answer."""
        return [self.segment(x)]


class _FCHarDNet70(_ListOfLogits, FCHarDNet70):
    """FC-HarDNet-70 for PaddleSeg."""


class _FCHarDNet(_ListOfLogits, FCHarDNetwork):
    """The decoder of FC-HarDNet on another backbone, for PaddleSeg."""


@manager.MODELS.add_component
def FCHarDNet(
    num_classes,
    backbone=None,
    in_channels=3,
    align_corners=True,
    stride_padding="both",
    stem_stride=2,
    freeze_at=-1,
    freeze_norm=False,
    recompute=False,
    pretrained=None,
    pretrained_encoder=None,
):
    """FC-HarDNet-70, or its decoder on another backbone.

    Args:
        num_classes (int): classes to tell apart.
        backbone (Layer | None): a backbone with `feat_channels`, ours or PaddleSeg's, whose maps, two to five, all go
            to the decoder. Default None: the encoder of FC-HarDNet-70. `in_channels`, `stride_padding`, `stem_stride`,
            `freeze_at` and `pretrained_encoder` are of that one; another backbone has its own.
        in_channels, align_corners, stride_padding, stem_stride, freeze_at, freeze_norm, recompute: as in `FCHarDNet70`.
        pretrained (bool | str | None): weights of the whole network. Those of BGR images are turned round, since
            PaddleSeg's images are RGB. With another backbone, a file of yours.
        pretrained_encoder (bool | str | None): weights of the encoder alone.

    Returns:
        Layer: (N, in_channels, H, W) -> [logits (N, num_classes, H, W)].

    Raises:
        UserError: an option out of range, weights that do not fit, or options of the encoder beside a backbone.
    """
    if backbone is None:
        _, variant = find_model("fchardnet70")
        net = _FCHarDNet70(
            variant,
            num_classes,
            in_channels,
            align_corners,
            stride_padding,
            stem_stride,
            freeze_at,
            freeze_norm,
            recompute,
        )
        load_pretrained(net.backbone, "hardnet70", pretrained_encoder, adapt_input="rgb")
        load_pretrained(net, "fchardnet70", pretrained, adapt_input="rgb")
        return net
    options = (
        ("stride_padding", stride_padding, "both"),
        ("stem_stride", stem_stride, 2),
        ("freeze_at", freeze_at, -1),
        ("pretrained_encoder", pretrained_encoder, None),
    )
    given = [name for name, value, default in options if value != default]
    if given:
        raise UserError(f"FCHarDNet was given a backbone and {given[0]}, which belongs into the backbone's own block")
    if pretrained is True:
        raise UserError(
            "FCHarDNet.pretrained is true, and no weights are known for it with another backbone; give a file"
        )
    net = _FCHarDNet(backbone, num_classes, align_corners, freeze_norm, recompute, channels=backbone.feat_channels)
    if pretrained:
        load_weights(net, pretrained)
    return net


compat.apply()
