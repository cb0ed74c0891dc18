"""FC-HarDNet (Chao et al., arXiv 1909.00948): a decoder of HarDBlocks for any backbone, and networks for segmentation.

All numbers of FC-HarDNet-70 are those of the authors' network. Its encoder is the backbone `hardnet70` under the
official keys; the decoder's keys are densebone's own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import paddle
from paddle import nn

from ..backbones.base import check_count, deployed_copy
from ..backbones.conventions import Described
from ..backbones.freezing import freeze_norms
from ..backbones.hardnet import HarDBlock, HarDNet, dense_conv
from ..backbones.layers import conv, recompute, resize_to
from ..backbones.variants import HarDNetVariant
from ..errors import UserError
from .variants import FCHARDNETS, FCHarDNetVariant


class FCHarDNetDecoder(nn.Layer):
    """From the deepest map up: resize to the next map, concatenate with it, halve the channels (1x1), HarDBlock.

    Args:
        channels: of the backbone's maps, highest resolution first; two maps or more.
        growth_rates, layers: of the HarDBlock at each map except the deepest, in the same order. The defaults are those
            of FC-HarDNet-70. Only the first entries are used when there are fewer maps.
        growth_multiplier: of the HarDBlocks.
        align_corners: of the resizing.
        recompute: gradient checkpointing of the HarDBlocks.
    """

    def __init__(
        self,
        channels: Sequence[int],
        growth_rates: Sequence[int] = (10, 16, 18, 24),
        layers: Sequence[int] = (4, 4, 8, 8),
        growth_multiplier: float = 1.7,
        align_corners: bool = True,
        recompute: bool = False,
    ):
        super().__init__()
        steps = len(channels) - 1
        if steps < 1 or min(len(growth_rates), len(layers)) < steps:
            raise UserError(
                f"the decoder was given {len(channels)} maps, {len(growth_rates)} growth_rates and {len(layers)} "
                f"layers; it needs two maps or more, and one of each for every map but the deepest"
            )
        self.align_corners = align_corners
        self.recompute = recompute
        self.reduce, self.blocks = nn.LayerList(), nn.LayerList()
        width = channels[-1]
        for skip, growth_rate, count in reversed(list(zip(channels[:-1], growth_rates, layers))):
            half = (width + skip) // 2
            self.reduce.append(dense_conv(width + skip, half, kernel_size=1, activation="relu"))
            self.blocks.append(HarDBlock(half, growth_rate, count, growth_multiplier, False, "relu"))
            width = self.blocks[-1].out_channels
        self.out_channels = width

    def forward(self, maps: list[paddle.Tensor]) -> paddle.Tensor:
        """List of (N, C_i, H_i, W_i), highest resolution first -> (N, out_channels, H_0, W_0)."""
        x = maps[-1]
        for i, (reduce, block) in enumerate(zip(self.reduce, self.blocks)):
            skip = maps[-2 - i]
            x = reduce(paddle.concat([resize_to(x, skip, self.align_corners), skip], 1))
            x = recompute(block, x) if self.recompute else block(x)
        return x


class FCHarDNet(Described):
    """A segmentation network: any backbone with FC-HarDNet's decoder.

    Args:
        backbone: returns a list of maps, highest resolution first.
        num_classes: number of classes.
        align_corners: of all resizing. The authors use True.
        freeze_norm: all batch norms use their stored statistics and do not learn.
        recompute: gradient checkpointing of the decoder's blocks. The backbone has its own option.
        channels: of the backbone's maps; None reads them from `backbone.channels`.
        decoder: other options of `FCHarDNetDecoder`.
    """

    def __init__(
        self,
        backbone: nn.Layer,
        num_classes: int = 19,
        align_corners: bool = True,
        freeze_norm: bool = False,
        recompute: bool = False,
        channels: Sequence[int] | None = None,
        decoder: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        check_count("num_classes", num_classes)
        self.num_classes, self.align_corners = num_classes, align_corners
        self.backbone = backbone
        self.decoder = FCHarDNetDecoder(
            backbone.channels if channels is None else channels,
            align_corners=align_corners,
            recompute=recompute,
            **(decoder or {}),
        )
        self.classifier = conv(self.decoder.out_channels, num_classes, 1, bias=True)
        if freeze_norm:
            freeze_norms(self)
        #: the engine that `deploy` made this copy for, or None
        self.deployed: str | None = None

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, in_channels, H, W) -> logits (N, num_classes, H, W). H and W are 64 or more for FC-HarDNet-70."""
        return self.segment(x)

    def segment(self, x: paddle.Tensor) -> paddle.Tensor:
        """The body of `forward`, for subclasses: under Paddle's to_static, `super().forward` calls theirs again."""
        return resize_to(self.classifier(self.decoder(self.backbone(x))), x, self.align_corners)

    def deploy(self, engine: str) -> "FCHarDNet":
        """A copy for inference on `engine`, as `Network.deploy` makes it of a backbone."""
        return deployed_copy(self, engine)


class FCHarDNet70(FCHarDNet):
    """The authors' FC-HarDNet, including the encoder.

    Args:
        variant: a row of `variants.FCHARDNETS`, or one of your own.
        num_classes: None is the variant's.
        in_channels: channels of the image. The published weights are for BGR images.
        align_corners, stride_padding, stem_stride: the defaults are the authors'. The weights of PaddleSeg's HarDNet
            were trained with False, "same" and 1.
        freeze_at: stages 0..freeze_at of the encoder do not learn; -1 freezes nothing, 5 the whole encoder.
        freeze_norm, recompute: as in `FCHarDNet`, for encoder and decoder.
    """

    #: the task that the network solves
    task = "segmentation"

    def __init__(
        self,
        variant: FCHarDNetVariant,
        num_classes: int | None = None,
        in_channels: int = 3,
        align_corners: bool = True,
        stride_padding: str = "both",
        stem_stride: int = 2,
        freeze_at: int = -1,
        freeze_norm: bool = False,
        recompute: bool = False,
    ):
        encoder = HarDNet(
            variant.encoder,
            stride_padding=stride_padding,
            stem_stride=stem_stride,
            block_maps=True,
            out_indices=range_of_maps(variant.encoder),
            in_channels=in_channels,
            freeze_at=freeze_at,
            recompute=recompute,
        )
        num_classes = variant.num_classes if num_classes is None else num_classes
        options = {
            "growth_rates": variant.encoder.growth_rates,
            "layers": variant.encoder.layers,
            "growth_multiplier": variant.encoder.growth_multiplier,
        }
        super().__init__(encoder, num_classes, align_corners, freeze_norm, recompute, decoder=options)
        self.variant = variant
        self.in_channels = in_channels
        self.with_head = True
        self.published_classes = variant.num_classes
        self.stride_padding, self.stem_stride = stride_padding, stem_stride

    @property
    def model(self) -> str:
        """The name of the variant in `variants.FCHARDNETS`, or an empty text."""
        return next((name for name, variant in FCHARDNETS.items() if variant == self.variant), "")

    def last_linear(self) -> str:
        """The prefix of the keys of the last layer with num_classes outputs."""
        return "classifier"


def range_of_maps(encoder: HarDNetVariant) -> tuple[int, ...]:
    """The indices of the encoder's maps that FC-HarDNet's decoder reads: all except the one at stride 2."""
    return tuple(range(1, sum(encoder.downsample_after) + 2))
