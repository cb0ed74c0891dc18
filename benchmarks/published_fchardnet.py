"""FC-HarDNet-70 in its authors' form, in PyTorch: a peer for the benchmark.

Written after the paper (Chao et al., arXiv 1909.00948) and what the authors' network computes: convolution, batch norm
and ReLU one after the other, average pools, bilinear resizing with aligned corners, and as many concatenations as a
HarDBlock has layers. The state dict has the official keys.
"""

import torch
import torch.nn.functional as F
from torch import nn

STEM = ((3, 16, 2), (16, 24, 1), (24, 32, 2), (32, 48, 1))
GROWTH_RATES, LAYERS, WIDTHS, MULTIPLIER = (10, 16, 18, 24, 32), (4, 4, 8, 8, 8), (64, 96, 160, 224, 320), 1.7


class ConvLayer(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, in_channels, out_channels, side, stride=1):
        super().__init__()
        conv = nn.Conv2d(in_channels, out_channels, side, stride=stride, padding=side // 2, bias=False)
        self.add_module("conv", conv)
        self.add_module("norm", nn.BatchNorm2d(out_channels))
        self.add_module("relu", nn.ReLU(inplace=True))


class HarDBlock(nn.Module):
    """Layer k reads the layers k - 2^n for every 2^n that divides k. (N, C, H, W) -> (N, out_channels, H, W)."""

    def __init__(self, in_channels, growth_rate, count):
        super().__init__()
        self.links = [[k - 2**n for n in range(k.bit_length()) if k % 2**n == 0] for k in range(1, count + 1)]
        widths = [in_channels]
        for links in self.links:
            width = growth_rate
            for _ in links[1:]:
                width *= MULTIPLIER
            widths.append(int(int(width + 1) / 2) * 2)
        self.kept = [k for k in range(1, count + 1) if k % 2 or k == count]
        self.out_channels = sum(widths[k] for k in self.kept)
        self.layers = nn.ModuleList(
            ConvLayer(sum(widths[link] for link in links), widths[k], 3) for k, links in enumerate(self.links, 1)
        )

    def forward(self, x):
        made = [x]
        for links, layer in zip(self.links, self.layers):
            made.append(layer(torch.cat([made[link] for link in links], 1) if links[1:] else made[links[0]]))
        return torch.cat([made[k] for k in self.kept], 1)


class PublishedFCHarDNet70(nn.Module):
    """The segmentation network: (N, 3, H, W) -> logits (N, 19, H, W)."""

    def __init__(self):
        super().__init__()
        self.base = nn.ModuleList(ConvLayer(a, b, 3, stride) for a, b, stride in STEM)
        self.skips, width, skip_widths = [], STEM[-1][1], []
        for number, (growth_rate, count, out) in enumerate(zip(GROWTH_RATES, LAYERS, WIDTHS)):
            block = HarDBlock(width, growth_rate, count)
            self.base.extend([block, ConvLayer(block.out_channels, out, 1)])
            width = out
            if number < len(WIDTHS) - 1:
                self.skips.append(len(self.base) - 2)
                skip_widths.append(block.out_channels)
                self.base.append(nn.AvgPool2d(2, 2))
        self.conv1x1_up, self.denseBlocksUp = nn.ModuleList(), nn.ModuleList()
        for growth_rate, count, skip in reversed(list(zip(GROWTH_RATES, LAYERS, skip_widths))):
            half = (width + skip) // 2
            self.conv1x1_up.append(ConvLayer(width + skip, half, 1))
            self.denseBlocksUp.append(HarDBlock(half, growth_rate, count))
            width = self.denseBlocksUp[-1].out_channels
        self.finalConv = nn.Conv2d(width, 19, 1)

    def forward(self, x):
        size, kept = x.shape[2:], []
        for number, layer in enumerate(self.base):
            x = layer(x)
            if number in self.skips:
                kept.append(x)
        for reduce, block in zip(self.conv1x1_up, self.denseBlocksUp):
            skip = kept.pop()
            x = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=True)
            x = block(reduce(torch.cat([x, skip], 1)))
        return F.interpolate(self.finalConv(x), size=size, mode="bilinear", align_corners=True)
