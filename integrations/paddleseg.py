"""Components for PaddleSeg. Importing this module registers them and applies the repairs that are due.

    model:
      type: FCHarDNet                                  # or a head of PaddleSeg
      backbone: {type: HarDNet68, pretrained: true}    # or any other name of `BACKBONES`

PaddleSeg's configurations have no key for plugins. `densebone run path/to/tools/train.py ...` runs its unmodified
scripts with these components.
"""

from collections.abc import Sequence

from paddle import nn
from paddleseg.cvlibs import manager

from ..backbones.condensenetv2 import CondenseNetV2
from ..backbones.hardnet import HarDNet
from ..backbones.peleenet import PeleeNet as PeleeNetwork
from ..errors import UserError
from ..necks.fchardnet import FCHarDNet as FCHarDNetwork
from ..necks.fchardnet import FCHarDNet70
from ..registry import find_model, load_pretrained
from ..weights.loader import load_weights
from .adapter import BACKBONES, Pretrained, ToolkitBackbone
from .compat import paddleseg as compat

__all__ = [*BACKBONES, "FCHarDNet"]


class _SegmentationBackbone(ToolkitBackbone):
    """Gives a `Network` the interface of a PaddleSeg backbone.

    PaddleSeg passes the keys of a configuration to the constructor. A family with options of its own therefore has its
    own constructor, which passes them on.
    """

    def __init__(
        self,
        out_indices: Sequence[int] = (1, 2, 3, 4),
        in_channels: int = 3,
        pretrained: Pretrained = None,
        freeze_at: int = -1,
        freeze_norm: bool = False,
        recompute: bool = False,
        norm_eval: bool = False,
        output_stride: int | None = None,
        norm: str = "bn",
    ) -> None:
        """
        Args:
            out_indices: maps to return: ascending numbers from 0..4, for strides 2, 4, 8, 16, 32. The
                `backbone_indices` of a head count the returned maps, from 0.
            in_channels: channels of the image.
            pretrained: true for the model's default weights, or the name of others, a file or a URL. Loaded strictly.
                Weights of BGR images are reversed, because PaddleSeg's images are RGB.
            freeze_at: what does not learn: -1 nothing, 0 the stem, n all up to the end of stage n, whose map has the
                stride 2 ** (n + 1).
            freeze_norm: batch norms keep their stored statistics and do not learn.
            recompute: gradient checkpointing of the dense blocks.
            norm_eval: batch norms keep their stored statistics; their scale and shift learn.
            output_stride: 8, 16 or 32: no map has a larger stride; later kernels are dilated, as DeepLab and PSPNet
                need it.
            norm: bn, or gn for group normalisation, for training from random weights with tiny batches.
        """
        self._build(
            out_indices, in_channels, pretrained, freeze_at, freeze_norm, recompute, norm_eval, output_stride, norm
        )

    def _build(
        self, out_indices, in_channels, pretrained, freeze_at, freeze_norm, recompute, norm_eval, output_stride, norm,
        **family_options,
    ):  # fmt: skip
        self._build_network(
            pretrained,
            out_indices=out_indices,
            in_channels=in_channels,
            freeze_at=freeze_at,
            freeze_norm=freeze_norm,
            recompute=recompute,
            norm_eval=norm_eval,
            output_stride=output_stride,
            norm=norm,
            **family_options,
        )

    @property
    def feat_channels(self) -> list[int]:
        """Channels of each returned map, highest resolution first."""
        return self.channels


class _HarDNetBackbone(_SegmentationBackbone, HarDNet):
    def __init__(
        self,
        out_indices: Sequence[int] = (1, 2, 3, 4),
        in_channels: int = 3,
        pretrained: Pretrained = None,
        freeze_at: int = -1,
        freeze_norm: bool = False,
        recompute: bool = False,
        norm_eval: bool = False,
        output_stride: int | None = None,
        norm: str = "bn",
        block_activation: str | None = None,
        stride_padding: str = "both",
        stem_stride: int = 2,
        block_maps: bool = False,
    ) -> None:
        """`block_activation`, `stride_padding`, `stem_stride` and `block_maps`: see `HarDNet`."""
        self._build(
            out_indices,
            in_channels,
            pretrained,
            freeze_at,
            freeze_norm,
            recompute,
            norm_eval,
            output_stride,
            norm,
            block_activation=block_activation,
            stride_padding=stride_padding,
            stem_stride=stem_stride,
            block_maps=block_maps,
        )


class _CondenseNetV2Backbone(_SegmentationBackbone, CondenseNetV2):
    def __init__(
        self,
        out_indices: Sequence[int] = (1, 2, 3, 4),
        in_channels: int = 3,
        pretrained: Pretrained = None,
        freeze_at: int = -1,
        freeze_norm: bool = False,
        recompute: bool = False,
        norm_eval: bool = False,
        output_stride: int | None = None,
        norm: str = "bn",
        form: str = "condensed",
        out_norm: bool = True,
    ) -> None:
        """`form` and `out_norm`: see `CondenseNetV2`."""
        self._build(
            out_indices, in_channels, pretrained, freeze_at, freeze_norm, recompute, norm_eval, output_stride, norm,
            form=form, out_norm=out_norm,
        )  # fmt: skip


@manager.BACKBONES.add_component
class PeleeNet(_SegmentationBackbone, PeleeNetwork):
    """PeleeNet."""

    model = "peleenet"

    def __init__(
        self,
        out_indices: Sequence[int] = (1, 2, 3, 4),
        in_channels: int = 3,
        pretrained: Pretrained = None,
        freeze_at: int = -1,
        freeze_norm: bool = False,
        recompute: bool = False,
        norm_eval: bool = False,
        output_stride: int | None = None,
        norm: str = "bn",
        ceil_mode: bool = False,
    ) -> None:
        """`ceil_mode`: see `backbones.peleenet.PeleeNet`."""
        self._build(
            out_indices, in_channels, pretrained, freeze_at, freeze_norm, recompute, norm_eval, output_stride, norm,
            ceil_mode=ceil_mode,
        )  # fmt: skip


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
    """HarDNet-70, the encoder of FC-HarDNet-70. Its maps are 0..5, for strides 2 to 64."""

    model = "hardnet70"


class _ListOfLogits:
    def forward(self, x):
        """(N, in_channels, H, W) -> [logits (N, num_classes, H, W)], a list like that of PaddleSeg's models."""
        return [self.segment(x)]


class _FCHarDNet70(_ListOfLogits, FCHarDNet70):
    """FC-HarDNet-70 for PaddleSeg."""


class _FCHarDNet(_ListOfLogits, FCHarDNetwork):
    """The decoder of FC-HarDNet on another backbone, for PaddleSeg."""


@manager.MODELS.add_component
def FCHarDNet(
    num_classes: int,
    backbone: nn.Layer | None = None,
    in_channels: int = 3,
    align_corners: bool = True,
    stride_padding: str = "both",
    stem_stride: int = 2,
    freeze_at: int = -1,
    freeze_norm: bool = False,
    recompute: bool = False,
    pretrained: Pretrained = None,
    pretrained_encoder: Pretrained = None,
) -> nn.Layer:
    """FC-HarDNet-70, or its decoder on another backbone.

    Args:
        num_classes: number of classes.
        backbone: a backbone with `feat_channels`, ours or PaddleSeg's, that returns two to five maps. The decoder uses
            all of them. None takes the encoder of FC-HarDNet-70. `in_channels`, `stride_padding`, `stem_stride`,
            `freeze_at` and `pretrained_encoder` belong to that encoder; another backbone has its own options.
        in_channels, align_corners, stride_padding, stem_stride, freeze_at, freeze_norm, recompute: as in `FCHarDNet70`.
        pretrained: weights of the whole network. Weights of BGR images are reversed, because PaddleSeg's images are
            RGB. With another backbone, a file of such a network.
        pretrained_encoder: weights of the encoder alone.

    Returns:
        A layer: (N, in_channels, H, W) -> [logits (N, num_classes, H, W)].

    Raises:
        UserError: an option is out of range, weights do not fit, or there is a backbone and an option of the encoder.
    """
    if backbone is None:
        _, variant = find_model("fchardnet70")
        encoder = (in_channels, align_corners, stride_padding, stem_stride, freeze_at, freeze_norm, recompute)
        whole = _FCHarDNet70(variant, num_classes, *encoder)
        load_pretrained(whole.backbone, "hardnet70", pretrained_encoder, adapt_input="rgb")
        load_pretrained(whole, "fchardnet70", pretrained, adapt_input="rgb")
        return whole
    _refuse_encoder_options(stride_padding, stem_stride, freeze_at, pretrained_encoder)
    if pretrained is True:
        raise UserError(
            "FCHarDNet.pretrained is true, and no weights are known for it with another backbone; give a file"
        )
    net = _FCHarDNet(backbone, num_classes, align_corners, freeze_norm, recompute, channels=backbone.feat_channels)
    if pretrained:
        load_weights(net, pretrained)
    return net


def _refuse_encoder_options(stride_padding, stem_stride, freeze_at, pretrained_encoder):
    """UserError unless the options of FC-HarDNet-70's own encoder have their defaults."""
    options = (
        ("stride_padding", stride_padding, "both"),
        ("stem_stride", stem_stride, 2),
        ("freeze_at", freeze_at, -1),
        ("pretrained_encoder", pretrained_encoder, None),
    )
    given = [name for name, value, default in options if value != default]
    if given:
        raise UserError(f"FCHarDNet was given a backbone and {given[0]}, which belongs into the backbone's own block")


compat.apply()
