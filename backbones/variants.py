"""The variants of the three families, as data: one table per family. Does not import Paddle.

`registry` builds the networks from these rows. To add a variant, add a row here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class HarDNetVariant:
    """One row of the table below.

    Args:
        stem_channels: widths of the stem convolutions: two, which halve the image once, or four, which halve it twice.
        growth_rates: of each block (`k` in the paper).
        layers: number of layers in each block.
        channels: of the 1x1 convolution after each block; None for no convolution.
        downsample_after: for each block, whether the resolution is halved after that convolution.
        growth_multiplier: multiplies a layer's width once per link after the first (`m` in the paper).
        depthwise: each 3x3 convolution becomes 1x1 then depthwise 3x3, and pools become depthwise convolutions.
        activation: "relu6" or "relu", after every batch norm that has one.
        average_pool: average pools instead of max pools. The stem's pool counts the zeros of its padding.
        ceil_first_pool: the first pool between blocks rounds odd sides up; the others round down.
        dropout: rate before the classifier's linear layer.
        inner_dropout: rate before the last 1x1 convolution.
    """

    stem_channels: tuple[int, ...]
    growth_rates: tuple[int, ...]
    layers: tuple[int, ...]
    channels: tuple[int | None, ...]
    downsample_after: tuple[bool, ...]
    growth_multiplier: float = 1.7
    depthwise: bool = False
    activation: str = "relu6"
    average_pool: bool = False
    ceil_first_pool: bool = False
    dropout: float = 0.1
    inner_dropout: float = 0.0


# Numbers from the paper's table 2 and the authors' networks. hardnet70 is the encoder of their FC-HarDNet-70,
# centernet_hardnet85_base that of their CenterNet-HarDNet-85, which ends at stride 16.
HARDNETS: dict[str, HarDNetVariant] = {
    "hardnet39ds": HarDNetVariant(
        stem_channels=(24, 48),
        growth_rates=(16, 20, 64, 160),
        layers=(4, 16, 8, 4),
        channels=(96, 320, 640, 1024),
        downsample_after=(True, True, True, False),
        growth_multiplier=1.6,
        depthwise=True,
        dropout=0.05,
    ),
    "hardnet68ds": HarDNetVariant(
        stem_channels=(32, 64),
        growth_rates=(14, 16, 20, 40, 160),
        layers=(8, 16, 16, 16, 4),
        channels=(128, 256, 320, 640, 1024),
        downsample_after=(True, False, True, True, False),
        depthwise=True,
        dropout=0.05,
    ),
    "hardnet68": HarDNetVariant(
        stem_channels=(32, 64),
        growth_rates=(14, 16, 20, 40, 160),
        layers=(8, 16, 16, 16, 4),
        channels=(128, 256, 320, 640, 1024),
        downsample_after=(True, False, True, True, False),
    ),
    "hardnet85": HarDNetVariant(
        stem_channels=(48, 96),
        growth_rates=(24, 24, 28, 36, 48, 256),
        layers=(8, 16, 16, 16, 16, 4),
        channels=(192, 256, 320, 480, 720, 1280),
        downsample_after=(True, False, True, False, True, False),
        dropout=0.2,
        inner_dropout=0.1,
    ),
    "hardnet70": HarDNetVariant(
        stem_channels=(16, 24, 32, 48),
        growth_rates=(10, 16, 18, 24, 32),
        layers=(4, 4, 8, 8, 8),
        channels=(64, 96, 160, 224, 320),
        downsample_after=(True, True, True, True, False),
        activation="relu",
        average_pool=True,
    ),
    "centernet_hardnet85_base": HarDNetVariant(
        stem_channels=(48, 96),
        growth_rates=(24, 24, 28, 36, 48),
        layers=(8, 16, 16, 16, 16),
        channels=(192, 256, 320, 480, None),
        downsample_after=(True, False, True, False, False),
        activation="relu",
        average_pool=True,
        ceil_first_pool=True,
        dropout=0.2,
    ),
}


@dataclass(frozen=True)
class PeleeNetVariant:
    """One row of the table below.

    Args:
        stem_channels: width of the stem.
        growth_rate: channels that each dense layer adds, half of them from each of its two branches (`k` in the paper).
        layers: number of dense layers in each block.
        bottleneck_widths: for each block: a branch's 1x1 convolution has bottleneck_width * growth_rate / 2 channels.
        dropout: rate before the classifier's linear layer.
    """

    stem_channels: int = 32
    growth_rate: int = 32
    layers: tuple[int, ...] = (3, 4, 8, 6)
    bottleneck_widths: tuple[int, ...] = (1, 2, 4, 4)
    dropout: float = 0.05


# Numbers from the paper's table 1 and the authors' network.
PELEENETS: dict[str, PeleeNetVariant] = {"peleenet": PeleeNetVariant()}


@dataclass(frozen=True)
class CondenseNetV2Variant:
    """One row of the table below. Blocks are counted from 0.

    Args:
        layers: number of layers in each of the five blocks.
        growth_rates: for each block, the channels that a layer adds (`k` in the paper).
        groups: of every convolution of a layer. Training prunes 1 - 1/groups of a learned convolution's weights (`G`
            and `C` in the paper). All numbers of channels are multiples of it.
        fc_channels: of the linear layer before the classifier.
        bottleneck: a layer's first convolution has bottleneck * growth_rate channels.
        hard_swish_from: the first block with hard-swish; earlier blocks have ReLU.
        attention_from: the first block whose layers have squeeze-and-excitation.
        last_reduction: reduction of the squeeze-and-excitation in the head.
    """

    layers: tuple[int, ...]
    growth_rates: tuple[int, ...]
    groups: int
    fc_channels: int
    bottleneck: int = 4
    hard_swish_from: int = 2
    attention_from: int = 3
    last_reduction: int = 16


# Numbers from the paper's table 2 and the authors' networks.
CONDENSENETS: dict[str, CondenseNetV2Variant] = {
    "condensenetv2_a": CondenseNetV2Variant(
        layers=(1, 1, 4, 6, 8), growth_rates=(8, 8, 16, 32, 64), groups=8, fc_channels=828
    ),
    "condensenetv2_b": CondenseNetV2Variant(
        layers=(2, 4, 6, 8, 6), growth_rates=(6, 12, 24, 48, 96), groups=6, fc_channels=1024
    ),
    "condensenetv2_c": CondenseNetV2Variant(
        layers=(4, 6, 8, 10, 8), growth_rates=(8, 16, 32, 64, 128), groups=8, fc_channels=1024
    ),
}
