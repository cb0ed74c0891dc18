"""FC-HarDNet: a decoder of HarDBlocks for the maps of any backbone, and the whole network for segmentation.

Chao et al., arXiv 1909.00948. FC-HarDNet-70 follows the authors' network in every number; its encoder is the backbone
`hardnet70` under the official keys, the names of the decoder are ours.
"""

import paddle
from paddle import nn

from ..backbones.base import check_count, deployed_copy
from ..backbones.hardnet import HarDBlock, HarDNet, dense_conv
from ..backbones.layers import conv, freeze_norms, recompute, resize_to
from ..errors import UserError
from .variants import FCHARDNETS


class FCHarDNetDecoder(nn.Layer):
    """From the deepest map up: resize to the next map, concatenate with it, halve the channels (1x1), HarDBlock.

    Args:
        channels (list of int): of the backbone's maps, highest resolution first; two or more.
        growth_rates, layers (list of int): of the HarDBlock that ends at each map but the deepest, in the same order.
            Default: those of FC-HarDNet-70, of which the first ones are taken.
        growth_multiplier (float): of the HarDBlocks. Default 1.7.
        align_corners (bool): of the resizing. Default True.
        recompute (bool): in training, HarDBlocks keep only their input and run again in the backward pass.
    """

    def __init__(
        self,
        channels,
        growth_rates=(10, 16, 18, 24),
        layers=(4, 4, 8, 8),
        growth_multiplier=1.7,
        align_corners=True,
        recompute=False,
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

    def forward(self, maps):
        """List of (N, C_i, H_i, W_i), highest resolution first -> (N, out_channels, H_0, W_0)."""
        x = maps[-1]
        for i, (reduce, block) in enumerate(zip(self.reduce, self.blocks)):
            skip = maps[-2 - i]
            x = reduce(paddle.concat([resize_to(x, skip, self.align_corners), skip], 1))
            x = recompute(block, x) if self.recompute else block(x)
        return x


class FCHarDNet(nn.Layer):
    """Segmentation by the decoder of FC-HarDNet on any backbone.

    Args:
        backbone (Layer): returns a list of maps, highest resolution first.
        num_classes (int): default 19.
        align_corners (bool): of all resizing. Default True, as the authors have it.
        freeze_norm (bool): batch norms use their stored statistics and do not learn. Default False.
        recompute (bool): gradient checkpointing of the decoder's blocks; the backbone has its own. Default False.
        channels (list of int | None): of the backbone's maps. Default None: its `channels`.
        decoder (dict | None): other options of `FCHarDNetDecoder`.
    """

    def __init__(
        self,
        backbone,
        num_classes=19,
        align_corners=True,
        freeze_norm=False,
        recompute=False,
        channels=None,
        decoder=None,
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
        self.deployed = None

    def forward(self, x):
        """(N, in_channels, H, W) -> logits (N, num_classes, H, W). H and W are 64 or more for FC-HarDNet-70."""
        return self.segment(x)

    def segment(self, x):
        """What `forward` does, for adapters: Paddle's to_static takes a `super().forward` for their own."""
        return resize_to(self.classifier(self.decoder(self.backbone(x))), x, self.align_corners)

    def deploy(self, engine):
        """A copy for inference on `engine`, as `Network.deploy` makes of a backbone."""
        return deployed_copy(self, engine)


class FCHarDNet70(FCHarDNet):
    """FC-HarDNet as its authors have it, encoder included.

    Args:
        variant (FCHarDNetVariant): a row of `variants.FCHARDNETS`, or one of your own.
        num_classes (int | None): default None, the variant's.
        in_channels (int): channels of the image. Default 3. The published weights are for blue, green, red.
        align_corners (bool), stride_padding (str), stem_stride (int): True, "both" and 2 (default) are the authors'.
            The weights of PaddleSeg's HarDNet were trained with False, "same" and 1.
        freeze_at (int): stages 0..freeze_at of the encoder learn nothing; -1 (default) freezes none, 5 all.
        freeze_norm, recompute (bool): of encoder and decoder. Default False.
    """

    #: what it is for, in words
    task = "segmentation"

    def __init__(
        self,
        variant,
        num_classes=None,
        in_channels=3,
        align_corners=True,
        stride_padding="both",
        stem_stride=2,
        freeze_at=-1,
        freeze_norm=False,
        recompute=False,
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
        figures = {
            "growth_rates": variant.encoder.growth_rates,
            "layers": variant.encoder.layers,
            "growth_multiplier": variant.encoder.growth_multiplier,
        }
        super().__init__(encoder, num_classes, align_corners, freeze_norm, recompute, decoder=figures)
        self.variant = variant
        self.in_channels = in_channels
        self.with_head = True
        self.published_classes = variant.num_classes
        self.stride_padding, self.stem_stride = stride_padding, stem_stride

    @property
    def model(self):
        """The name of the variant in `variants.FCHARDNETS`, or an empty text."""
        return next((name for name, variant in FCHARDNETS.items() if variant == self.variant), "")

    def last_linear(self):
        """The prefix of the keys of the layer that has num_classes outputs."""
        return "classifier"


def range_of_maps(encoder):
    """The numbers of an encoder's maps that FC-HarDNet's decoder reads: all but the one at stride 2."""
    return tuple(range(1, sum(encoder.downsample_after) + 2))
