"""PeleeNet: its layers by hand, its published numbers, images of all kinds of sizes."""

import paddle
import pytest
import recipe
import tiny
from cost import count

import densebone as db
from densebone.backbones.peleenet import DenseBlock, PeleeNet, Stem
from densebone.backbones.variants import PELEENETS, PeleeNetVariant

TINY = PeleeNetVariant(stem_channels=4, growth_rate=8, layers=(1, 2, 1, 1), bottleneck_widths=(1, 1, 2, 2), dropout=0.0)


def build(seed=0, **options):
    paddle.seed(seed)
    return PeleeNet(TINY, **{"num_classes": 5, **options})


def test_parameters_macs_and_cio_are_the_published_ones():
    assert list(PELEENETS) == db.list_models("pelee*") == ["peleenet"]
    net = db.create_model("peleenet")
    net.eval()
    assert sum(int(p.size) for p in net.parameters() if not p.stop_gradient) == 2802248
    assert net.channels == [32, 128, 256, 512, 704]
    macs, cio = count(net, tiny.images((1, 3, 224, 224)))
    assert (round(macs / 1e9, 4), round(cio / 1e6, 3)) == (0.5078, 9.442)
    (official,) = [c for c in recipe.description("peleenet")["cost"] if c["input"] == [1, 3, 224, 224]]
    assert (macs, cio) == (official["macs"], official["cio"])


def test_a_block_by_hand():
    block = DenseBlock(10, growth_rate=8, layers=2, bottleneck_width=2)
    assert block.out_channels == 26
    for i, layer in enumerate(block.children()):
        shapes = {name: tuple(conv.conv.weight.shape) for name, conv in layer.named_children()}
        assert shapes == {
            "branch1a": (8, 10 + 8 * i, 1, 1),
            "branch1b": (4, 8, 3, 3),
            "branch2a": (8, 10 + 8 * i, 1, 1),
            "branch2b": (4, 8, 3, 3),
            "branch2c": (4, 4, 3, 3),
        }


def test_a_layer_appends_both_branches_to_its_input():
    (layer,) = DenseBlock(2, growth_rate=4, layers=1, bottleneck_width=2).children()
    for name, value in (("branch1b", 1.0), ("branch2c", 2.0)):
        getattr(layer, name).forward = lambda x, value=value: paddle.full([1, 2, 1, 1], value)
    assert layer(paddle.full([1, 2, 1, 1], 9.0)).flatten().tolist() == [9, 9, 1, 1, 2, 2]


def test_the_stem_concatenates_the_pool_before_the_convolution():
    stem = Stem(3, 4)
    stem.stem2b.forward = lambda x: paddle.zeros([1, 4, 2, 2])
    seen = []
    stem.stem3.forward = lambda x: seen.append(x) or x
    stem(paddle.ones([1, 4, 3, 3]))
    assert seen[0][0, :, 0, 0].tolist() == [1] * 4 + [0] * 4


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("side", [32, 33, 34, 35, 37, 38, 45, 49, 63, 65, 97])
def test_sides_of_every_kind(side, ceil_mode):
    net = build(out_indices=(0, 1, 2, 3, 4), ceil_mode=ceil_mode)
    net.eval()
    with paddle.no_grad():
        maps = net(tiny.images((1, 3, side, 64)))
    expected = [-(-side // 2), -(-side // 4)]
    for _ in range(3):
        expected.append(-(-expected[-1] // 2) if ceil_mode else expected[-1] // 2)
    assert [m.shape[2] for m in maps] == expected
    assert [m.shape[3] for m in maps] == [32, 16, 8, 4, 2]


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_recompute_changes_nothing_but_the_memory(ceil_mode):
    x = tiny.images()
    plain, again = build(ceil_mode=ceil_mode), build(ceil_mode=ceil_mode, recompute=True)
    (out,), gradients = tiny.step(plain, x)
    (out_again,), gradients_again = tiny.step(again, x)
    assert abs(out - out_again).max() < 1e-6
    assert gradients.keys() == gradients_again.keys()
    assert all(abs(gradients[key] - gradients_again[key]).max() < 1e-5 for key in gradients)
    after, after_again = tiny.snapshot(plain), tiny.snapshot(again)
    assert all(abs(after[key] - after_again[key]).max() < 1e-5 for key in after)


def test_a_backbone_of_the_first_stage_is_one_convolution():
    assert {key.rpartition(".")[0] for key in build(out_indices=(0,)).state_dict()} == {
        "features.stemblock.stem1.conv",
        "features.stemblock.stem1.norm",
    }
