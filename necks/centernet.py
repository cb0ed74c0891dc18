"""CenterNet-HarDNet: a detector that finds objects as peaks of a map (Zhou et al., arXiv 1904.07850) on HarDNet.

Follows the network of HarDNet's authors in every number. Its encoder is the backbone `centernet_hardnet85_base` under
the official keys, the names of what follows are ours. Neck and head also serve other backbones and PaddleDetection.
"""

from functools import partial

import paddle
from paddle import nn

from ..backbones.base import check_count, deployed_copy
from ..backbones.hardnet import HarDBlock, HarDNet, dense_conv
from ..backbones.layers import conv, freeze_norms, recompute, resize_to
from ..errors import UserError
from .variants import CENTERNETS

#: the score that an untrained heatmap has everywhere, before the sigmoid: 0.1 after it
PRIOR_BIAS = -2.19


class WithContext(nn.Layer):
    """Concatenates a map with its 9x9 averages, which count the zeros around it, and with its values divided by their
    sum over the map plus 0.1: three times the channels."""

    def __init__(self):
        super().__init__()
        self.average = nn.AvgPool2D(9, stride=1, padding=4, exclusive=False)

    def forward(self, x):
        """(N, C, H, W) -> (N, 3 C, H, W)."""
        share = x / (x.sum(axis=[2, 3], keepdim=True) + 0.1)
        return paddle.concat([x, self.average(x), share], 1)


class CenterNetNeck(nn.Layer):
    """From the deepest map down one stride and up again to the first map.

    Down: 1x1, average pool, context, HarDBlock. Up, to each map: resize, concatenate with it, 1x1, context, HarDBlock.
    Some channels of the 1x1's do not go on but straight to the output, resized to the first map.

    Args:
        channels (list of int): of the backbone's maps, highest resolution first; one or more.
        bottom (list of int): channels of the 1x1, growth rate and layers of the block at the bottom.
        widths (list of int): channels of the 1x1 at each map that go on, from the deepest map up.
        shortcuts (list of int): those that go straight to the output, in the same order.
        growth_rates, layers (list of int): of the HarDBlock at each map, in the same order.
        growth_multiplier (float): of the HarDBlocks. Default 1.7.
        recompute (bool): in training, HarDBlocks keep only their input and run again in the backward pass.

    The defaults are the authors' figures for HarDNet-85; for fewer than three maps the first ones of each are taken.
    """

    def __init__(
        self,
        channels,
        bottom=(256, 80, 8),
        widths=(224, 160, 96),
        shortcuts=(32, 32, 0),
        growth_rates=(64, 48, 28),
        layers=(8, 8, 4),
        growth_multiplier=1.7,
        recompute=False,
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

    def forward(self, maps):
        """List of (N, C_i, H_i, W_i), highest resolution first -> (N, out_channels, H_0, W_0)."""
        x = self._run(self.bottom, self.context(self.pool(self.project(maps[-1]))))
        straight = []
        for skip, reduce, block, shortcut in zip(reversed(maps), self.reduce, self.blocks, self.shortcuts):
            x = reduce(paddle.concat([resize_to(x, skip, True), skip], 1))
            if shortcut:
                x, aside = x[:, :-shortcut], x[:, -shortcut:]
                straight.append(aside)
            x = self._run(block, self.context(x))
        # the highest resolution first, as the authors' weights want it
        return paddle.concat([*(resize_to(aside, x, True) for aside in reversed(straight)), x], 1)

    def _run(self, block, x):
        return recompute(block, x) if self.recompute else block(x)


class CenterNetHead(nn.Layer):
    """Two branches of 3x3 convolution, ReLU and 1x1 convolution, all with bias.

    Args:
        in_channels (int): channels of the map.
        num_classes (int): channels of the heatmap. Default 80.
        heatmap_channels (int): between the heatmap's convolutions. Default 320, four times COCO's classes; the authors
            take max(128, 4 x num_classes).
        box_channels (int): the same for the boxes. Default 128.
    """

    def __init__(self, in_channels, num_classes=80, heatmap_channels=320, box_channels=128):
        super().__init__()
        check_count("num_classes", num_classes)
        self.heatmap = branch(in_channels, heatmap_channels, num_classes)
        self.boxes = branch(in_channels, box_channels, 4)
        self.heatmap[2].bias.set_value(paddle.full([num_classes], PRIOR_BIAS))

    def forward(self, x):
        """(N, C, H, W) -> (heatmap (N, num_classes, H, W), boxes (N, 4, H, W)).

        The sigmoid of the heatmap is the score of an object's centre. The four values of a box are its width, its
        height, and its centre's x and y less those of the place, all in pixels of the map.
        """
        return self.heatmap(x), self.boxes(x)


def branch(in_channels, channels, out_channels):
    """3x3 convolution, ReLU, 1x1 convolution."""
    return nn.Sequential(
        conv(in_channels, channels, 3, bias=True), nn.ReLU(), conv(channels, out_channels, 1, bias=True)
    )


class CenterNetHarDNet(nn.Layer):
    """CenterNet-HarDNet as its authors have it, encoder included.

    Args:
        variant (CenterNetVariant): a row of `variants.CENTERNETS`, or one of your own.
        num_classes (int | None): default None, the variant's.
        in_channels (int): channels of the image. Default 3. The published weights are for blue, green, red.
        freeze_at (int): stages 0..freeze_at of the encoder learn nothing; -1 (default) freezes none, 3 all.
        freeze_norm (bool): batch norms use their stored statistics and do not learn. Default False.
        recompute (bool): gradient checkpointing of the HarDBlocks. Default False.
    """

    #: what it is for, in words
    task = "detection"

    def __init__(self, variant, num_classes=None, in_channels=3, freeze_at=-1, freeze_norm=False, recompute=False):
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
        self.deployed = None

    @property
    def model(self):
        """The name of the variant in `variants.CENTERNETS`, or an empty text."""
        return next((name for name, variant in CENTERNETS.items() if variant == self.variant), "")

    def last_linear(self):
        """The prefix of the keys of the layer that has num_classes outputs."""
        return "head.heatmap.2"

    def forward(self, x):
        """(N, in_channels, H, W), sides of 32 or more -> what `CenterNetHead` gives, at a quarter of the sides."""
        return self.head(self.neck(self.backbone(x)))

    def deploy(self, engine):
        """A copy for inference on `engine`, as `Network.deploy` makes of a backbone."""
        return deployed_copy(self, engine)
