"""PaddleDetection components; importing this module registers them and repairs the installed release where needed.

    backbone: HarDNet68            # or any other name of `BACKBONES`
    backbone: SSDFeatures          # any registered backbone plus the extra maps that SSD wants
    backbone: PeleeSSDFeatures     # the same with the residual blocks of Pelee's detector
    backbone: CenterNetHarDNet85   # the encoder of CenterNet-HarDNet-85; paddledet_centernet.py has the rest of it
    backbone: HarDNetSSDFeatures   # the seven maps of HarDNet-SSD512

An unmodified PaddleDetection script picks them up from a line in the configuration:
`plugin: !!python/module:densebone.integrations.paddledet`.
"""

from paddle import nn
from ppdet.core.workspace import create, register
from ppdet.modeling.shape_spec import ShapeSpec
from ppdet.optimizer.ema import ModelEMA

from ..backbones.base import check_indices
from ..backbones.condensenetv2 import CondenseNetV2
from ..backbones.hardnet import HarDNet
from ..backbones.peleenet import PeleeNet as PeleeNetwork
from ..errors import UserError
from ..necks.pelee import EXTRA_MAPS, WIDTH, PeleeMaps
from ..necks.ssd import EXTRA_MAPS_512, HarDNetSSDMaps, SSDExtraMaps
from ..registry import find_model, load_pretrained
from .compat import paddledet as compat
from .paddledet_centernet import CenterNetHarDNetHead, CenterNetHarDNetNeck

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
__all__ = [
    *BACKBONES, "CenterNetHarDNet85", "CenterNetHarDNetHead", "CenterNetHarDNetNeck", "HarDNetSSDFeatures",
    "PeleeSSDFeatures", "SSDFeatures",
]  # fmt: skip

NORM_TYPES = ("bn", "sync_bn")


class _DetectionBackbone:
    """Gives a `Network` the interface of a PaddleDetection backbone. `model` is its name in the registry.

    PaddleDetection reads the keys that a configuration may set off the constructor, so a family with options of its own
    has a constructor of its own, which passes them on.
    """

    __shared__ = ["norm_type"]  # noqa: RUF012  (PaddleDetection reads a list)
    model = ""
    #: how many maps there are from stride 4 on
    maps = 4

    def __init__(
        self,
        return_idx=(0, 1, 2, 3),
        in_channels=3,
        pretrained=None,
        freeze_at=-1,
        freeze_norm=False,
        norm_type="bn",
        recompute=False,
    ):
        """
        Args:
            return_idx (list of int): maps to return, ascending numbers from 0..3 for strides 4, 8, 16, 32.
            in_channels (int): channels of the image.
            pretrained (bool | str | None): true for the model's default weights, the name of others, a file or a URL;
                loaded strictly. Weights of BGR images are turned round, since PaddleDetection's images are RGB.
            freeze_at (int): as in PaddleDetection's ResNet: -1 freezes nothing, 0 all up to stride 4, 3 everything.
            freeze_norm (bool): batch norms keep their stored statistics and do not learn.
            norm_type (str): bn, or sync_bn: PaddleDetection's trainer then synchronises batch norm over several GPUs.
            recompute (bool): gradient checkpointing of the dense blocks.
        """
        self._build(return_idx, in_channels, pretrained, freeze_at, freeze_norm, norm_type, recompute)

    def _build(
        self, return_idx, in_channels, pretrained, freeze_at, freeze_norm, norm_type, recompute, **family_options
    ):
        network, variant = find_model(self.model)
        indices = check_indices(list(return_idx), f"{type(self).__name__}.return_idx", self.maps)
        if norm_type not in NORM_TYPES:
            raise UserError(f"{type(self).__name__}.norm_type is {norm_type!r}; give one of {', '.join(NORM_TYPES)}")
        if freeze_at not in range(-1, self.maps):
            raise UserError(
                f"{type(self).__name__}.freeze_at is {freeze_at!r}; give -1 (freeze nothing) or 0..{self.maps - 1}"
            )
        network.__init__(
            self,
            variant,
            out_indices=[i + 1 for i in indices],
            in_channels=in_channels,
            freeze_at=freeze_at + 1 if freeze_at >= 0 else -1,
            freeze_norm=freeze_norm,
            recompute=recompute,
            **family_options,
        )
        load_pretrained(self, self.model, pretrained, adapt_input="rgb")  # PaddleDetection's pictures are RGB

    @property
    def out_shape(self):
        """Channels and stride of each returned map, highest resolution first."""
        return [ShapeSpec(channels=c, stride=s) for c, s in zip(self.channels, self.strides)]

    def forward(self, inputs):
        """{"image": (N, in_channels, H, W), ...} -> list of (N, C_i, H / s_i, W / s_i)."""
        # not super().forward: Paddle's to_static would come back here
        return self.select(self.forward_features(inputs["image"]))


class _HarDNetBackbone(_DetectionBackbone, HarDNet):
    def __init__(
        self,
        return_idx=(0, 1, 2, 3),
        in_channels=3,
        pretrained=None,
        freeze_at=-1,
        freeze_norm=False,
        norm_type="bn",
        recompute=False,
        block_activation=None,
        stride_padding="both",
        activation=None,
        ceil_first_pool=False,
    ):
        """`block_activation`, `stride_padding`, `activation` and `ceil_first_pool` are those of `HarDNet`."""
        shared = (return_idx, in_channels, pretrained, freeze_at, freeze_norm, norm_type, recompute)
        self._build(
            *shared,
            block_activation=block_activation,
            stride_padding=stride_padding,
            activation=activation,
            ceil_first_pool=ceil_first_pool,
        )


class _CondenseNetV2Backbone(_DetectionBackbone, CondenseNetV2):
    def __init__(
        self,
        return_idx=(0, 1, 2, 3),
        in_channels=3,
        pretrained=None,
        freeze_at=-1,
        freeze_norm=False,
        norm_type="bn",
        recompute=False,
        form="condensed",
        out_norm=True,
    ):
        """`form` and `out_norm` are those of `CondenseNetV2`."""
        shared = (return_idx, in_channels, pretrained, freeze_at, freeze_norm, norm_type, recompute)
        self._build(*shared, form=form, out_norm=out_norm)


@register
class PeleeNet(_DetectionBackbone, PeleeNetwork):
    """PeleeNet."""

    model = "peleenet"

    def __init__(
        self,
        return_idx=(0, 1, 2, 3),
        in_channels=3,
        pretrained=None,
        freeze_at=-1,
        freeze_norm=False,
        norm_type="bn",
        recompute=False,
        ceil_mode=False,
        norm=True,
        norm_epsilon=1e-5,
    ):
        """`ceil_mode`, `norm` and `norm_epsilon` are those of the network's class."""
        shared = (return_idx, in_channels, pretrained, freeze_at, freeze_norm, norm_type, recompute)
        self._build(*shared, ceil_mode=ceil_mode, norm=norm, norm_epsilon=norm_epsilon)


@register
class CondenseNetV2A(_CondenseNetV2Backbone):
    """CondenseNetV2-A."""

    model = "condensenetv2_a"


@register
class CondenseNetV2B(_CondenseNetV2Backbone):
    """CondenseNetV2-B."""

    model = "condensenetv2_b"


@register
class CondenseNetV2C(_CondenseNetV2Backbone):
    """CondenseNetV2-C."""

    model = "condensenetv2_c"


@register
class HarDNet39DS(_HarDNetBackbone):
    """HarDNet-39DS."""

    model = "hardnet39ds"


@register
class HarDNet68DS(_HarDNetBackbone):
    """HarDNet-68DS."""

    model = "hardnet68ds"


@register
class HarDNet68(_HarDNetBackbone):
    """HarDNet-68."""

    model = "hardnet68"


@register
class HarDNet85(_HarDNetBackbone):
    """HarDNet-85."""

    model = "hardnet85"


@register
class HarDNet70(_HarDNetBackbone):
    """HarDNet-70, the encoder of FC-HarDNet-70; `return_idx` goes to 4 there, for stride 64."""

    model = "hardnet70"
    maps = 5


@register
class CenterNetHarDNet85(_DetectionBackbone, HarDNet):
    """The encoder of CenterNet-HarDNet-85, which returns the three maps that `CenterNetHarDNetNeck` reads: those of its
    HarDBlocks at strides 4, 8 and 16, before the 1x1 convolutions behind them."""

    model = "centernet_hardnet85_base"
    maps = 3

    def __init__(
        self, in_channels=3, pretrained=None, freeze_at=-1, freeze_norm=False, norm_type="bn", recompute=False
    ):
        """As in the other backbones."""
        shared = (in_channels, pretrained, freeze_at, freeze_norm, norm_type, recompute)
        self._build((0, 1, 2), *shared, block_maps=True)


class _Features(nn.Layer):
    """A backbone for SSD, which has no neck: any registered backbone, and `extra`, which makes all of SSD's maps."""

    def __init__(self, backbone, neck, **options):
        super().__init__()
        self.backbone = backbone
        spec = backbone.out_shape
        self.extra = neck([s.channels for s in spec], [s.stride or 1 for s in spec], **options)

    @classmethod
    def from_config(cls, cfg, *args, **kwargs):
        """Builds the backbone that the configuration names."""
        return {"backbone": create(cfg["backbone"])}

    @property
    def out_shape(self):
        """Channels and stride of each map, highest resolution first."""
        return [ShapeSpec(channels=c, stride=s) for c, s in zip(self.extra.channels, self.extra.strides)]

    def forward(self, inputs):
        """{"image": (N, C, H, W), ...} -> list of maps, in order of falling size."""
        return self.extra(self.backbone(inputs))


@register
class SSDFeatures(_Features):
    """A backbone for SSD, which has no neck: the maps of any registered backbone and smaller ones made from the last.

    Args:
        backbone (Layer): any registered backbone that returns maps in order of falling size, ours or PaddleDetection's.
        extra_maps (list): rows [channels of the 1x1 convolution, channels of the map, stride, padding]. The default
            adds three maps, for the six of SSD-300 when the backbone returns strides 8, 16 and 32.
    """

    def __init__(self, backbone, extra_maps=((256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 1, 0))):
        super().__init__(backbone, SSDExtraMaps, extra_maps=extra_maps)


@register
class PeleeSSDFeatures(_Features):
    """The maps of Pelee's detector: six from a backbone's two, each behind a residual block; see `PeleeMaps`.

    The blocks have batch norm as a PeleeNet that is the backbone has it (`norm`, `norm_epsilon`), so that one place
    says it for the whole detector; behind another backbone they have the authors'.

    Args:
        backbone (Layer): any registered backbone that returns two maps, of strides 16 and 32 in the paper.
        extra_maps (list): rows [channels of the 1x1 convolution, channels of the map, stride, padding]; the default
            makes 5x5, 3x3 and 1x1 of a last map of 10x10.
        width (int): channels of every map.
    """

    def __init__(self, backbone, extra_maps=EXTRA_MAPS, width=WIDTH):
        norm = {}
        if isinstance(backbone, PeleeNetwork):
            norm = {"norm": backbone.norm, "norm_epsilon": backbone.norm_epsilon}
        super().__init__(backbone, PeleeMaps, extra_maps=extra_maps, width=width, **norm)


@register
class HarDNetSSDFeatures(_Features):
    """The maps of HarDNet-SSD512: seven from a backbone's two, as `HarDNetSSDMaps` makes them.

    Args:
        backbone (Layer): any registered backbone that returns two maps, of strides 8 and 16 in the authors' detectors.
        bridge_channels (int), bridge_dilation (int), extra_maps (list), scale (float): as in `HarDNetSSDMaps`.
    """

    def __init__(self, backbone, bridge_channels=640, bridge_dilation=4, extra_maps=EXTRA_MAPS_512, scale=20.0):
        options = {"bridge_channels": bridge_channels, "bridge_dilation": bridge_dilation, "scale": scale}
        super().__init__(backbone, HarDNetSSDMaps, extra_maps=extra_maps, **options)


def _keep_channel_numbers_out_of_averages():
    """PaddleDetection's moving average of the weights (`use_ema`) takes every tensor of a state dict for one, also the
    channel numbers and masks of CondenseNetV2, and would write their averages back: they join the names that it passes
    over (`ema_black_list`)."""
    original = ModelEMA._match_ema_black_list

    def match(self, weight_name, ema_black_list=None):
        ours = {n for n in weight_name if n.endswith(CHANNEL_TENSORS)}
        return original(self, weight_name, ema_black_list) | ours

    ModelEMA._match_ema_black_list = match


CHANNEL_TENSORS = tuple(
    f".{layer}.{leaf}" for layer in ("conv_1", "sfr") for leaf in ("index", "_mask", "_stage", "_count")
)
_keep_channel_numbers_out_of_averages()
compat.apply()
