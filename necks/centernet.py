"""CenterNet-HarDNet: a detector that finds objects as peaks of a map (Zhou et al., arXiv 1904.07850) on HarDNet.

All numbers are those of the network by HarDNet's authors. The encoder is the backbone `centernet_hardnet85_base` under
the official keys; the keys of neck and head are densebone's own. Neck and head also work with other backbones and in
PaddleDetection.
"""

from collections.abc import Sequence
from functools import partial

import paddle
from paddle import nn

from ..backbones.base import check_count, deployed_copy
from ..backbones.conventions import Described
from ..backbones.freezing import freeze_norms
from ..backbones.hardnet import HarDBlock, HarDNet, dense_conv
from ..backbones.layers import conv, recompute, resize_to
from ..errors import UserError
from .variants import CENTERNETS, CenterNetVariant

#: the logit of an untrained heatmap everywhere; its sigmoid is 0.1
PRIOR_BIAS = -2.19


class WithContext(nn.Layer):
    """Triples the channels: concatenates a map, its 9x9 averages and its normalised values.

    The averages count the zeros of the padding. The normalised values are the map divided by its sum over height and
    width plus 0.1.
    """

    def __init__(self):
        super().__init__()
        self.average = nn.AvgPool2D(9, stride=1, padding=4, exclusive=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, C, H, W) -> (N, 3 C, H, W)."""
        share = x / (x.sum(axis=[2, 3], keepdim=True) + 0.1)
        return paddle.concat([x, self.average(x), share], 1)


class CenterNetNeck(nn.Layer):
    """Goes one stride below the deepest map, then up again to the first map.

    Down: 1x1 convolution, average pool, context, HarDBlock. Up, at each map: resize, concatenate with the map, 1x1
    convolution, context, HarDBlock. At each map some channels of the 1x1 convolution skip the rest: they are resized to
    the first map and go straight to the output.

    Args:
        channels: of the backbone's maps, highest resolution first; one map or more.
        bottom: channels of the 1x1 convolution, growth rate and layers of the block below the deepest map.
        widths: for each map, the channels of the 1x1 convolution that go to the block, from the deepest map up.
        shortcuts: for each map, those that go straight to the output, in the same order.
        growth_rates, layers: of the HarDBlock at each map, in the same order.
        growth_multiplier: of the HarDBlocks.
        recompute: gradient checkpointing of the HarDBlocks.

    The defaults are the authors' numbers for HarDNet-85. With fewer than three maps, only their first entries are used.
    """

    def __init__(
        self,
        channels: Sequence[int],
        bottom: Sequence[int] = (256, 80, 8),
        widths: Sequence[int] = (224, 160, 96),
        shortcuts: Sequence[int] = (32, 32, 0),
        growth_rates: Sequence[int] = (64, 48, 28),
        layers: Sequence[int] = (8, 8, 4),
        growth_multiplier: float = 1.7,
        recompute: bool = False,
    ):
        super().__init__()
        steps = len(channels)
        if not steps or min(map(len, (widths, shortcuts, growth_rates, layers))) < steps:
            raise UserError(
                f"the neck was given {steps} maps, {len(widths)} widths, {len(shortcuts)} shortcuts, "
                f"{len(growth_rates)} growth_rates and {len(layers)} layers; it needs a map or more, and one of each "
                f"for every map"
            )
        self.recompute = recompute
        self.shortcuts = list(shortcuts[:steps])
        block = partial(HarDBlock, multiplier=growth_multiplier, depthwise=False, activation="relu")
        width, growth_rate, count = bottom
        self.project = dense_conv(channels[-1], width, kernel_size=1, activation="relu")
        self.pool = nn.AvgPool2D(2, stride=2)
        self.context = WithContext()
        self.bottom = block(3 * width, growth_rate, count)
        self.reduce, self.blocks = nn.LayerList(), nn.LayerList()
        below = self.bottom.out_channels
        rows = zip(reversed(channels), widths, self.shortcuts, growth_rates, layers)
        for skip, width, shortcut, growth_rate, count in rows:
            self.reduce.append(dense_conv(below + skip, width + shortcut, kernel_size=1, activation="relu"))
            self.blocks.append(block(3 * width, growth_rate, count))
            below = self.blocks[-1].out_channels
        self.out_channels = below + sum(self.shortcuts)

    def forward(self, maps: list[paddle.Tensor]) -> paddle.Tensor:
        """List of (N, C_i, H_i, W_i), highest resolution first -> (N, out_channels, H_0, W_0)."""
        x = self._run(self.bottom, self.context(self.pool(self.project(maps[-1]))))
        straight = []
        for skip, reduce, block, shortcut in zip(reversed(maps), self.reduce, self.blocks, self.shortcuts):
            x = reduce(paddle.concat([resize_to(x, skip, True), skip], 1))
            if shortcut:
                x, aside = x[:, :-shortcut], x[:, -shortcut:]
                straight.append(aside)
            x = self._run(block, self.context(x))
        # highest resolution first: the authors' weights depend on this order
        return paddle.concat([*(resize_to(aside, x, True) for aside in reversed(straight)), x], 1)

    def _run(self, block, x):
        return recompute(block, x) if self.recompute else block(x)


class CenterNetHead(nn.Layer):
    """Two branches of 3x3 convolution, ReLU and 1x1 convolution, all with bias.

    Args:
        in_channels: channels of the map.
        num_classes: channels of the heatmap.
        heatmap_channels: channels between the heatmap's convolutions. The default is four times COCO's classes; the
            authors use max(128, 4 x num_classes).
        box_channels: channels between the boxes' convolutions.
    """

    def __init__(self, in_channels: int, num_classes: int = 80, heatmap_channels: int = 320, box_channels: int = 128):
        super().__init__()
        check_count("num_classes", num_classes)
        self.heatmap = branch(in_channels, heatmap_channels, num_classes)
        self.boxes = branch(in_channels, box_channels, 4)
        self.heatmap[2].bias.set_value(paddle.full([num_classes], PRIOR_BIAS))

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        """(N, C, H, W) -> (heatmap (N, num_classes, H, W), boxes (N, 4, H, W)).

        The sigmoid of the heatmap is the score of an object's centre. The four values of a box are its width, its
        height, and the offset x, y of its centre from this position, all in pixels of the map.
        """
        return self.heatmap(x), self.boxes(x)


def branch(in_channels: int, channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution, ReLU, 1x1 convolution."""
    return nn.Sequential(
        conv(in_channels, channels, 3, bias=True), nn.ReLU(), conv(channels, out_channels, 1, bias=True)
    )


class CenterNetHarDNet(Described):
    """The authors' CenterNet-HarDNet, including the encoder.

    Args:
        variant: a row of `variants.CENTERNETS`, or one of your own.
        num_classes: None is the variant's.
        in_channels: channels of the image. The published weights are for BGR images.
        freeze_at: stages 0..freeze_at of the encoder do not learn; -1 freezes nothing, 3 the whole encoder.
        freeze_norm: all batch norms use their stored statistics and do not learn.
        recompute: gradient checkpointing of the HarDBlocks.
    """

    #: the task that the network solves
    task = "detection"

    def __init__(
        self,
        variant: CenterNetVariant,
        num_classes: int | None = None,
        in_channels: int = 3,
        freeze_at: int = -1,
        freeze_norm: bool = False,
        recompute: bool = False,
    ):
        super().__init__()
        self.variant = variant
        self.in_channels = in_channels
        self.num_classes = variant.num_classes if num_classes is None else num_classes
        self.published_classes = variant.num_classes
        self.with_head = True
        self.backbone = HarDNet(
            variant.encoder,
            block_maps=True,
            out_indices=(1, 2, 3),
            in_channels=in_channels,
            freeze_at=freeze_at,
            recompute=recompute,
        )
        self.neck = CenterNetNeck(
            self.backbone.channels, growth_multiplier=variant.encoder.growth_multiplier, recompute=recompute
        )
        self.head = CenterNetHead(self.neck.out_channels, self.num_classes)
        if freeze_norm:
            freeze_norms(self)
        #: the engine that `deploy` made this copy for, or None
        self.deployed: str | None = None

    @property
    def model(self) -> str:
        """The name of the variant in `variants.CENTERNETS`, or an empty text."""
        return next((name for name, variant in CENTERNETS.items() if variant == self.variant), "")

    def last_linear(self) -> str:
        """The prefix of the keys of the last layer with num_classes outputs."""
        return "head.heatmap.2"

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        """(N, in_channels, H, W), sides of 32 or more -> the outputs of `CenterNetHead`, at stride 4."""
        return self.head(self.neck(self.backbone(x)))

    def deploy(self, engine: str) -> "CenterNetHarDNet":
        """A copy for inference on `engine`, as `Network.deploy` makes it of a backbone."""
        return deployed_copy(self, engine)
