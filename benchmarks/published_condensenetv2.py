"""CondenseNetV2 in its published form (converted weights), in PyTorch: a peer for the benchmark.

Written after the paper (Yang et al., arXiv 2104.04382) and what its authors' networks compute: index selection, then
grouped 1x1 convolutions, with channel shuffles as reshape and transpose, hard-swish as its formula, and SFR's index as
a matrix of zeros and ones that multiplies every pixel. The state dict has the official keys.
"""

import torch
import torch.nn.functional as F
from torch import nn

# Variant -> layers and growth rates of the five blocks, groups, width of the linear layer before the classifier.
VARIANTS = {
    "condensenetv2_a": ((1, 1, 4, 6, 8), (8, 8, 16, 32, 64), 8, 828),
    "condensenetv2_b": ((2, 4, 6, 8, 6), (6, 12, 24, 48, 96), 6, 1024),
    "condensenetv2_c": ((4, 6, 8, 10, 8), (8, 16, 32, 64, 128), 8, 1024),
}


class HardSwish(nn.Module):
    """x relu6(x + 3) / 6."""

    def forward(self, x):
        return x * F.relu6(x + 3) / 6


def shuffle(x, groups):
    """(N, C, H, W): channel i of group g moves to group i, place g."""
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class NormConv(nn.Module):
    """Batch norm, activation, convolution."""

    def __init__(self, in_channels, out_channels, side, groups, activation):
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.activation = activation
        self.conv = nn.Conv2d(in_channels, out_channels, side, padding=side // 2, groups=groups, bias=False)

    def forward(self, x):
        return self.conv(self.activation(self.norm(x)))


class GroupConv(NormConv):
    """The converted LGC: (N, in_channels, H, W) -> (N, out_channels, H, W)."""

    def __init__(self, in_channels, out_channels, groups, activation):
        super().__init__(in_channels, out_channels, 1, groups, activation)
        self.groups = groups
        self.register_buffer("index", torch.arange(in_channels))

    def forward(self, x):
        return shuffle(super().forward(torch.index_select(x, 1, self.index)), self.groups)


class Reactivation(NormConv):
    """The converted SFR: (N, in_channels, H, W) -> (N, out_channels, H, W)."""

    def __init__(self, in_channels, out_channels, groups, activation):
        super().__init__(in_channels, out_channels, 1, groups, activation)
        self.members = in_channels // groups
        self.register_buffer("index", torch.zeros(out_channels, out_channels))

    def forward(self, x):
        x = self.conv(shuffle(self.activation(self.norm(x)), self.members))
        n, c, h, w = x.shape
        pixels = x.reshape(n, c, h * w).transpose(1, 2)
        return torch.matmul(pixels, self.index).transpose(1, 2).reshape(n, c, h, w)


class SqueezeExcitation(nn.Module):
    """(N, channels, H, W) -> the same shape."""

    def __init__(self, channels, reduction):
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // reduction, bias=False),
            nn.ReLU(),
            nn.Linear(channels // reduction, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x):
        scale = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return x * scale[:, :, None, None]


class DenseLayer(nn.Module):
    """(N, in_channels, H, W) -> (N, in_channels + growth_rate, H, W)."""

    def __init__(self, in_channels, growth_rate, groups, activation, attention):
        super().__init__()
        self.conv_1 = GroupConv(in_channels, 4 * growth_rate, groups, activation)
        self.conv_2 = NormConv(4 * growth_rate, growth_rate, 3, groups, activation)
        self.sfr = Reactivation(growth_rate, in_channels, groups, activation)
        self.se = SqueezeExcitation(growth_rate, 1) if attention else nn.Identity()

    def forward(self, x):
        new = self.se(self.conv_2(self.conv_1(x)))
        return torch.cat([x + self.sfr(new), new], 1)


class PublishedCondenseNetV2(nn.Module):
    """The classifier: (N, 3, H, W) -> logits (N, 1000)."""

    def __init__(self, variant):
        super().__init__()
        layers, growth_rates, groups, fc_channels = VARIANTS[variant]
        width = 2 * growth_rates[0]
        self.features = nn.Sequential()
        self.features.add_module("init_conv", nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False))
        for number, (count, growth_rate) in enumerate(zip(layers, growth_rates)):
            if number:
                self.features.add_module(f"transition_{number}", nn.AvgPool2d(2, 2))
            block = nn.Sequential()
            for i in range(count):
                activation = HardSwish() if number >= 2 else nn.ReLU()
                layer = DenseLayer(width, growth_rate, groups, activation, attention=number >= 3)
                block.add_module(f"denselayer_{i + 1}", layer)
                width += growth_rate
            self.features.add_module(f"denseblock_{number + 1}", block)
        self.features.add_module("norm_last", nn.BatchNorm2d(width))
        self.features.add_module("relu_last", nn.ReLU())
        self.features.add_module("pool_last", nn.AdaptiveAvgPool2d(1))
        self.features.add_module("se_last", SqueezeExcitation(width, 16))
        self.fc, self.fc_act, self.classifier = nn.Linear(width, fc_channels), HardSwish(), nn.Linear(fc_channels, 1000)

    def forward(self, x):
        return self.classifier(self.fc_act(self.fc(self.features(x).flatten(1))))
