"""The maps that SSD reads, for PaddleDetection, whose SSD has no neck; `paddledet.py` registers them.

Each takes any registered backbone and makes smaller maps from its last one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import paddle
from paddle import nn
from ppdet.core.workspace import create, register
from ppdet.modeling.shape_spec import ShapeSpec

from ..backbones.peleenet import PeleeNet
from ..necks.pelee import EXTRA_MAPS, WIDTH, PeleeMaps
from ..necks.ssd import EXTRA_MAPS_512, HarDNetSSDMaps, SSDExtraMaps


class _Features(nn.Layer):
    """A backbone for SSD, which has no neck: any registered backbone, and `extra`, which makes the maps of SSD."""

    def __init__(self, backbone: nn.Layer, neck: Callable[..., nn.Layer], **options: Any) -> None:
        super().__init__()
        self.backbone = backbone
        spec = backbone.out_shape
        self.extra = neck([s.channels for s in spec], [s.stride or 1 for s in spec], **options)

    @classmethod
    def from_config(cls, cfg: Mapping[str, Any], *args: Any, **kwargs: Any) -> dict[str, nn.Layer]:
        """Builds the backbone that the configuration names."""
        return {"backbone": create(cfg["backbone"])}

    @property
    def out_shape(self) -> list[ShapeSpec]:
        """Channels and stride of each map, highest resolution first."""
        return [ShapeSpec(channels=c, stride=s) for c, s in zip(self.extra.channels, self.extra.strides)]

    def forward(self, inputs: Mapping[str, Any]) -> list[paddle.Tensor]:
        """{"image": (N, C, H, W), ...} -> list of maps, highest resolution first."""
        return self.extra(self.backbone(inputs))


@register
class SSDFeatures(_Features):
    """A backbone for SSD, which has no neck: the maps of any registered backbone, and smaller ones made from the last.

    Args:
        backbone: any registered backbone, ours or PaddleDetection's, that returns its maps highest resolution first.
        extra_maps: rows [channels of the 1x1 convolution, channels of the map, stride, padding]. The default adds three
            maps, which makes the six of SSD-300 when the backbone returns strides 8, 16 and 32.
    """

    def __init__(
        self,
        backbone: nn.Layer,
        extra_maps: Sequence[Sequence[int]] = ((256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 1, 0)),
    ) -> None:
        super().__init__(backbone, SSDExtraMaps, extra_maps=extra_maps)


@register
class PeleeSSDFeatures(_Features):
    """The maps of Pelee's detector: six, made from a backbone's two, each behind a residual block; see `PeleeMaps`.

    On a PeleeNet, the blocks take the batch norm of the backbone (`norm`, `norm_epsilon`), so the configuration sets it
    once for the whole detector. On another backbone they have the authors' batch norm.

    Args:
        backbone: any registered backbone that returns two maps, of strides 16 and 32 in the paper.
        extra_maps: rows [channels of the 1x1 convolution, channels of the map, stride, padding]. The default makes 5x5,
            3x3 and 1x1 from a last map of 10x10.
        width: channels of every map.
    """

    def __init__(
        self, backbone: nn.Layer, extra_maps: Sequence[Sequence[int]] = EXTRA_MAPS, width: int = WIDTH
    ) -> None:
        norm: dict[str, Any] = {}
        if isinstance(backbone, PeleeNet):
            norm = {"norm": backbone.norm, "norm_epsilon": backbone.norm_epsilon}
        super().__init__(backbone, PeleeMaps, extra_maps=extra_maps, width=width, **norm)


@register
class HarDNetSSDFeatures(_Features):
    """The maps of HarDNet-SSD512: seven, which `HarDNetSSDMaps` makes from a backbone's two.

    Args:
        backbone: any registered backbone that returns two maps, of strides 8 and 16 in the authors' detectors.
        bridge_channels, bridge_dilation, extra_maps, scale: as in `HarDNetSSDMaps`.
    """

    def __init__(
        self,
        backbone: nn.Layer,
        bridge_channels: int = 640,
        bridge_dilation: int = 4,
        extra_maps: Sequence[Sequence[int]] = EXTRA_MAPS_512,
        scale: float = 20.0,
    ) -> None:
        options = {"bridge_channels": bridge_channels, "bridge_dilation": bridge_dilation, "scale": scale}
        super().__init__(backbone, HarDNetSSDMaps, extra_maps=extra_maps, **options)
