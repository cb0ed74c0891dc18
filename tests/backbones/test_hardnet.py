"""HarDNet against the paper's rule and its published figures."""

import paddle
import pytest
import recipe
import tiny
from cost import count

import densebone as db
from densebone.backbones.hardnet import HarDBlock, layer_width, links
from densebone.backbones.variants import HARDNETS

# Parameters; GMACs and millions of convolution inputs and outputs (CIO) for one 3x224x224 image; channels at
# strides 2..32.
PUBLISHED = {
    "hardnet39ds": (3488228, 0.4295, 9.818, [48, 96, 320, 640, 1024]),
    "hardnet68ds": (4180602, 0.7753, 17.324, [64, 128, 320, 640, 1024]),
    "hardnet68": (17565348, 4.2461, 11.469, [64, 128, 320, 640, 1024]),
    "hardnet85": (36670212, 9.0741, 17.469, [96, 192, 320, 720, 1280]),
}


def test_no_variant_is_missing():
    encoders = ["hardnet70", "centernet_hardnet85_base"]  # only the whole networks have published numbers: tests/necks
    assert [*PUBLISHED, *encoders] == list(HARDNETS)
    assert sorted([*PUBLISHED, "hardnet70"]) == db.list_models("hardnet*")


@pytest.mark.parametrize(
    "layer, expected",
    [
        (1, [0]),
        (2, [1, 0]),
        (3, [2]),
        (4, [3, 2, 0]),
        (5, [4]),
        (6, [5, 4]),
        (8, [7, 6, 4, 0]),
        (12, [11, 10, 8]),
        (16, [15, 14, 12, 8, 0]),
    ],
)
def test_links(layer, expected):
    assert links(layer) == expected


@pytest.mark.parametrize(
    "layer, growth_rate, multiplier, expected",
    [
        (1, 14, 1.7, 14),
        (7, 15, 1.7, 16),  # 15 -> the even number above
        (2, 14, 1.7, 24),  # 23.8
        (4, 14, 1.7, 40),  # 40.46
        (8, 14, 1.7, 68),  # 68.78
        (16, 16, 1.7, 134),  # 133.63
        (2, 16, 1.6, 26),  # 25.6
        (4, 20, 1.6, 52),  # 51.2: 52.2 cut to 52
        (16, 20, 1.6, 132),  # 131.07
        (4, 160, 1.7, 462),  # 462.4: 463 halved is 231.5, cut to 231
        (6, 64, 1.6, 102),  # 102.4
    ],
)
def test_layer_width(layer, growth_rate, multiplier, expected):
    assert layer_width(layer, growth_rate, multiplier) == expected


def test_a_block_by_hand():
    block = HarDBlock(10, 8, 5, 1.7, depthwise=False)
    # widths 10 | 8, 14, 8, 24, 8; inputs: 0; 1+0; 2; 3+2+0; 4; outputs: 1, 3, 5
    assert [tuple(layer.conv.weight.shape[:2]) for layer in block.layers] == [
        (8, 10),
        (14, 18),
        (8, 14),
        (24, 32),
        (8, 24),
    ]
    assert block.out_channels == 24
    # an even number of layers: the last one is an output too
    assert HarDBlock(10, 8, 4, 1.7, depthwise=False).out_channels == 8 + 8 + 24


def test_a_block_concatenates_newest_first_and_returns_in_ascending_order():
    block = HarDBlock(1, 2, 4, 1.0, depthwise=False)
    read = []
    for i, layer in enumerate(block.layers, start=1):
        layer.forward = lambda x, i=i: read.append(x[0, :, 0, 0].tolist()) or paddle.full([1, 2, 1, 1], float(i))
    out = block(paddle.full([1, 1, 1, 1], 9.0))
    assert read == [[9], [1, 1, 9], [2, 2], [3, 3, 2, 2, 9]]
    assert out[0, :, 0, 0].tolist() == [1, 1, 3, 3, 4, 4]


@pytest.mark.parametrize("model", PUBLISHED)
def test_parameters_macs_and_cio_are_the_published_ones(model):
    parameters, gmacs, mcio, channels = PUBLISHED[model]
    net = db.create_model(model)
    net.eval()
    assert sum(int(p.size) for p in net.parameters() if not p.stop_gradient) == parameters
    assert net.channels == channels
    macs, cio = count(net, tiny.images((1, 3, 224, 224)))
    assert (round(macs / 1e9, 4), round(cio / 1e6, 3)) == (gmacs, mcio)
    official = next(c for c in recipe.description(model)["cost"] if c["input"] == [1, 3, 224, 224])
    assert (macs, cio) == (official["macs"], official["cio"])
