"""Components for PaddleDetection. Importing this module registers them and applies the repairs that are due.

    backbone: HarDNet68            # or any other name of `BACKBONES`
    backbone: SSDFeatures          # any registered backbone plus the extra maps that SSD needs
    backbone: PeleeSSDFeatures     # the same with the residual blocks of Pelee's detector
    backbone: CenterNetHarDNet85   # the encoder of CenterNet-HarDNet-85; paddledet_centernet.py has its neck and head
    backbone: HarDNetSSDFeatures   # the seven maps of HarDNet-SSD512

An unmodified PaddleDetection script finds them when its configuration has this line:
`plugin: !!python/module:densebone.integrations.paddledet`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import paddle
from ppdet.core.workspace import get_registered_modules, register
from ppdet.modeling.shape_spec import ShapeSpec
from ppdet.optimizer.ema import ModelEMA

from ..backbones.base import check_indices
from ..backbones.condensenetv2 import CondenseNetV2
from ..backbones.hardnet import HarDNet
from ..backbones.peleenet import PeleeNet as PeleeNetwork
from ..errors import UserError
from .adapter import BACKBONES, Pretrained, ToolkitBackbone
from .compat import paddledet as compat
from .paddledet_centernet import CenterNetHarDNetHead, CenterNetHarDNetNeck
from .paddledet_ssd import HarDNetSSDFeatures, PeleeSSDFeatures, SSDFeatures

__all__ = [
    *BACKBONES, "CenterNetHarDNet85", "CenterNetHarDNetHead", "CenterNetHarDNetNeck", "HarDNetSSDFeatures",
    "PeleeSSDFeatures", "SSDFeatures",
]  # fmt: skip

NORM_TYPES = ("bn", "sync_bn", "gn")
#: endings of the names of CondenseNetV2's channel numbers and masks, which are no weights
CHANNEL_TENSORS = tuple(
    f".{layer}.{leaf}" for layer in ("conv_1", "sfr") for leaf in ("index", "_mask", "_stage", "_count")
)


class _DetectionBackbone(ToolkitBackbone):
    """Gives a `Network` the interface of a PaddleDetection backbone.

    PaddleDetection takes the keys that a configuration may set from the constructor's signature. A family with options
    of its own therefore has its own constructor, which passes them on.
    """

    __shared__ = ["norm_type"]  # noqa: RUF012  (PaddleDetection reads a list)
    #: number of maps, from stride 4 on
    maps = 4

    def __init__(
        self,
        return_idx: Sequence[int] = (0, 1, 2, 3),
        in_channels: int = 3,
        pretrained: Pretrained = None,
        freeze_at: int = -1,
        freeze_norm: bool = False,
        norm_type: str = "bn",
        recompute: bool = False,
        norm_eval: bool = False,
        output_stride: int | None = None,
    ) -> None:
        """
        Args:
            return_idx: maps to return: ascending numbers from 0..3, for strides 4, 8, 16, 32.
            in_channels: channels of the image.
            pretrained: true for the model's default weights, or the name of others, a file or a URL. Loaded strictly.
                Weights of BGR images are reversed, because PaddleDetection's images are RGB.
            freeze_at: as in PaddleDetection's ResNet: -1 freezes nothing, 0 everything up to stride 4, 3 everything.
            freeze_norm: batch norms keep their stored statistics and do not learn.
            norm_type: bn, sync_bn or gn. With sync_bn the trainer synchronises batch norm over several GPUs. gn is
                group normalisation, for training from random weights with one or two pictures per GPU.
            recompute: gradient checkpointing of the dense blocks.
            norm_eval: batch norms keep their stored statistics; their scale and shift learn.
            output_stride: 8, 16 or 32: no map has a larger stride; later kernels are dilated.
        """
        self._build(
            return_idx, in_channels, pretrained, freeze_at, freeze_norm, norm_type, recompute, norm_eval, output_stride
        )

    def _build(
        self, return_idx, in_channels, pretrained, freeze_at, freeze_norm, norm_type, recompute, norm_eval,
        output_stride, **family_options
    ):  # fmt: skip
        indices = check_indices(list(return_idx), f"{type(self).__name__}.return_idx", self.maps)
        if norm_type not in NORM_TYPES:
            raise UserError(f"{type(self).__name__}.norm_type is {norm_type!r}; give one of {', '.join(NORM_TYPES)}")
        if norm_type == "gn":
            if family_options.get("norm", True) is not True:
                raise UserError(f"{type(self).__name__}: norm_type is gn and norm is False; leave one of them out")
            family_options["norm"] = "gn"
        if freeze_at not in range(-1, self.maps):
            raise UserError(
                f"{type(self).__name__}.freeze_at is {freeze_at!r}; give -1 (freeze nothing) or 0..{self.maps - 1}"
            )
        self._build_network(
            pretrained,
            out_indices=[i + 1 for i in indices],
            in_channels=in_channels,
            freeze_at=freeze_at + 1 if freeze_at >= 0 else -1,
            freeze_norm=freeze_norm,
            recompute=recompute,
            norm_eval=norm_eval,
            output_stride=output_stride,
            **family_options,
        )

    @property
    def out_shape(self) -> list[ShapeSpec]:
        """Channels and stride of each returned map, highest resolution first."""
        return [ShapeSpec(channels=c, stride=s) for c, s in zip(self.channels, self.strides)]

    def forward(self, inputs: Mapping[str, Any]) -> list[paddle.Tensor]:
        """{"image": (N, in_channels, H, W), ...} -> list of (N, C_i, H / s_i, W / s_i)."""
        # not super().forward: with Paddle's to_static it would call this method again
        return self.returned(inputs["image"], self.forward_maps(inputs["image"]))


class _HarDNetBackbone(_DetectionBackbone, HarDNet):
    def __init__(
        self,
        return_idx: Sequence[int] = (0, 1, 2, 3),
        in_channels: int = 3,
        pretrained: Pretrained = None,
        freeze_at: int = -1,
        freeze_norm: bool = False,
        norm_type: str = "bn",
        recompute: bool = False,
        norm_eval: bool = False,
        output_stride: int | None = None,
        block_activation: str | None = None,
        stride_padding: str = "both",
        activation: str | None = None,
        ceil_first_pool: bool = False,
    ) -> None:
        """`block_activation`, `stride_padding`, `activation` and `ceil_first_pool`: see `HarDNet`."""
        self._build(
            return_idx,
            in_channels,
            pretrained,
            freeze_at,
            freeze_norm,
            norm_type,
            recompute,
            norm_eval,
            output_stride,
            block_activation=block_activation,
            stride_padding=stride_padding,
            activation=activation,
            ceil_first_pool=ceil_first_pool,
        )


class _CondenseNetV2Backbone(_DetectionBackbone, CondenseNetV2):
    def __init__(
        self,
        return_idx: Sequence[int] = (0, 1, 2, 3),
        in_channels: int = 3,
        pretrained: Pretrained = None,
        freeze_at: int = -1,
        freeze_norm: bool = False,
        norm_type: str = "bn",
        recompute: bool = False,
        norm_eval: bool = False,
        output_stride: int | None = None,
        form: str = "condensed",
        out_norm: bool = True,
    ) -> None:
        """`form` and `out_norm`: see `CondenseNetV2`."""
        self._build(
            return_idx, in_channels, pretrained, freeze_at, freeze_norm, norm_type, recompute, norm_eval, output_stride,
            form=form, out_norm=out_norm,
        )  # fmt: skip


@register
class PeleeNet(_DetectionBackbone, PeleeNetwork):
    """PeleeNet."""

    model = "peleenet"

    def __init__(
        self,
        return_idx: Sequence[int] = (0, 1, 2, 3),
        in_channels: int = 3,
        pretrained: Pretrained = None,
        freeze_at: int = -1,
        freeze_norm: bool = False,
        norm_type: str = "bn",
        recompute: bool = False,
        norm_eval: bool = False,
        output_stride: int | None = None,
        ceil_mode: bool = False,
        norm: bool = True,
        norm_epsilon: float = 1e-5,
    ) -> None:
        """`ceil_mode`, `norm` and `norm_epsilon`: see `backbones.peleenet.PeleeNet`."""
        self._build(
            return_idx, in_channels, pretrained, freeze_at, freeze_norm, norm_type, recompute, norm_eval, output_stride,
            ceil_mode=ceil_mode, norm=norm, norm_epsilon=norm_epsilon,
        )  # fmt: skip


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
    """HarDNet-70, the encoder of FC-HarDNet-70. Its `return_idx` goes up to 4, for stride 64."""

    model = "hardnet70"
    maps = 5


@register
class CenterNetHarDNet85(_DetectionBackbone, HarDNet):
    """The encoder of CenterNet-HarDNet-85.

    It returns the three maps that `CenterNetHarDNetNeck` reads: the outputs of its HarDBlocks at strides 4, 8 and 16,
    before the 1x1 convolutions that follow them.
    """

    model = "centernet_hardnet85_base"
    maps = 3

    def __init__(
        self,
        in_channels: int = 3,
        pretrained: Pretrained = None,
        freeze_at: int = -1,
        freeze_norm: bool = False,
        norm_type: str = "bn",
        recompute: bool = False,
        norm_eval: bool = False,
        output_stride: int | None = None,
    ) -> None:
        """The arguments are those of the other backbones."""
        shared = (in_channels, pretrained, freeze_at, freeze_norm, norm_type, recompute, norm_eval, output_stride)
        self._build((0, 1, 2), *shared, block_maps=True)


def _keep_channel_numbers_out_of_averages():
    """Adds CondenseNetV2's channel numbers and masks to the names that a moving average skips (`ema_black_list`).

    PaddleDetection's moving average of the weights (`use_ema`) averages every tensor of the state dict. It would write
    averages of channel numbers back into the network.
    """
    original = ModelEMA._match_ema_black_list

    def match(self, weight_name, ema_black_list=None):
        ours = {n for n in weight_name if n.endswith(CHANNEL_TENSORS)}
        return original(self, weight_name, ema_black_list) | ours

    ModelEMA._match_ema_black_list = match


def _drop_types_of_schemas():
    """Makes PaddleDetection forget the type hints of our constructors.

    Its schemas check a configuration against type hints. They call `typeguard.check_type` with the arguments of
    typeguard 2; typeguard 4 takes others, so every hinted key would be shown as a mismatch.
    """
    modules = get_registered_modules()
    for name in __all__:
        for value in modules[name].schema.values():
            value.type = None


_keep_channel_numbers_out_of_averages()
_drop_types_of_schemas()
compat.apply()
