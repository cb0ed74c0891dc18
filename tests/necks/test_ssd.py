"""The extra maps of SSD and the maps of HarDNet-SSD512."""

import numpy as np
import paddle
import pytest

import densebone as db
from densebone.necks.ssd import HarDNetSSDMaps, L2Norm, SSDExtraMaps

ROWS_300 = [[256, 512, 2, 1], [128, 256, 2, 1], [128, 256, 1, 0]]
ROWS_512 = [[8, 16, 2, 1]] * 4


@pytest.mark.parametrize(
    ("model", "side", "rows", "sides"),
    [
        ("hardnet68", 300, ROWS_300, [37, 18, 9, 5, 3, 1]),
        ("hardnet39ds", 300, ROWS_300, [38, 19, 10, 5, 3, 1]),
        ("peleenet", 300, ROWS_300, [37, 18, 9, 5, 3, 1]),
        ("hardnet39ds", 512, ROWS_512, [64, 32, 16, 8, 4, 2, 1]),
    ],
)
def test_six_or_seven_maps(model, side, rows, sides):
    backbone = db.create_backbone(model, out_indices=(2, 3, 4))
    neck = SSDExtraMaps(backbone.channels, backbone.strides, rows)
    backbone.eval(), neck.eval()
    with paddle.no_grad():
        maps = neck(backbone(paddle.rand([1, 3, side, side])))
    assert [m.shape[2:] for m in maps] == [[s, s] for s in sides]
    assert [m.shape[1] for m in maps] == neck.channels == [*backbone.channels, *(row[1] for row in rows)]
    assert neck.strides[3:] == [64, 128, 128] if len(rows) == 3 else [64, 128, 256, 512]


@pytest.mark.parametrize("row", [[256, 512, 2], [256, 512, 3, 1], [256, 512, 2, 2], [0, 512, 2, 1]])
def test_a_wrong_row_is_named(row):
    with pytest.raises(db.UserError, match="each row is"):
        SSDExtraMaps([8], [32], [row])


def test_too_small_an_image_is_refused():
    neck = SSDExtraMaps([8], [32], ROWS_300)
    neck.eval()
    assert neck([paddle.rand([1, 8, 9, 9])])[-1].shape == [1, 256, 1, 1]
    with pytest.raises(db.UserError, match=r"one of 1 x 3 has no room .* give larger images or fewer extra_maps"):
        neck([paddle.rand([1, 8, 3, 9])])


def small_maps(side=64, channels=(6, 8), **options):
    """(the neck with few channels, inputs of two halving sides)."""
    rows = [[4, 5, 3, 2, 1]] * 4 + [[4, 5, 4, 1, 1]]
    neck = HarDNetSSDMaps(channels, [8, 16], **{"bridge_channels": 7, "extra_maps": rows, **options})
    sides = (side, side // 2)
    return neck, [paddle.rand([2, count, s, s]) for count, s in zip(channels, sides)]


@pytest.mark.parametrize(("side", "sides"), [(64, [64, 32, 16, 8, 4, 2, 1]), (34, [34, 17, 9, 5, 3, 2, 1])])
def test_seven_maps(side, sides):
    neck, inputs = small_maps(side)
    maps = neck(inputs)
    assert [m.shape for m in maps] == [[2, count, s, s] for count, s in zip(neck.channels, sides)]
    assert neck.channels == [6, 8, 5, 5, 5, 5, 5]
    assert neck.strides == [8, 16, 32, 64, 128, 256, 256]


def test_l2norm_is_the_formula():
    norm = L2Norm(5)
    weight = np.arange(1, 6, dtype="float32")
    assert norm.weight.numpy().tolist() == [20.0] * 5
    norm.weight.set_value(weight)
    x = np.random.default_rng(0).normal(size=(2, 5, 3, 4)).astype("float32")
    expected = np.zeros_like(x)
    for n in range(2):
        for i in range(3):
            for j in range(4):
                expected[n, :, i, j] = x[n, :, i, j] / np.sqrt((x[n, :, i, j] ** 2).sum()) * weight
    np.testing.assert_allclose(norm(paddle.to_tensor(x)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_l2norm_of_nothing_is_nothing_and_has_a_gradient():
    x = paddle.zeros([1, 5, 2, 2])
    x[0, :, 0, 0] = 1.0
    x.stop_gradient = False
    y = L2Norm(5)(x)
    assert np.array_equal(y.numpy()[0, :, 1, 1], np.zeros(5))
    y[0, 0].sum().backward()
    gradient = x.grad.numpy()[0, :, 0, 0]
    # of 20 x_0 / |x| at x = (1, 1, 1, 1, 1): 20 (1 / sqrt 5 - 1 / sqrt 125) and -20 / sqrt 125
    np.testing.assert_allclose(gradient, 20 * (np.eye(5)[0] / 5**0.5 - 1 / 125**0.5), rtol=1e-5)
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("dilation", [1, 4])
def test_every_layer_of_the_seven_maps_learns(dilation):
    paddle.seed(0)
    neck, inputs = small_maps(bridge_dilation=dilation)
    assert neck.bridge[1].weight.shape == [7, 8, 3, 3]
    assert neck.bridge[1]._dilation == [dilation, dilation]
    sum((m * paddle.randn(m.shape)).sum() for m in neck(inputs)).backward()
    learned = {name: p.grad.numpy() for name, p in neck.named_parameters() if not p.stop_gradient}
    assert len(learned) == 1 + 2 * 3 + 5 * 4
    for name, gradient in learned.items():
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, name


def test_the_extra_maps_have_bias_and_no_batch_norm():
    keys = small_maps()[0].state_dict()
    assert {key.split(".")[0] for key in keys if key.endswith("_mean")} == {"bridge"}
    extra = [key for key in keys if key.startswith("extra_maps.")]
    assert len(extra) == 5 * 4 and sum(key.endswith("bias") for key in extra) == 10
    assert keys["extra_maps.4.2.weight"].shape == [5, 4, 4, 4]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"extra_maps": [[4, 5, 2, 1]]}, "each row is"),
        ({"extra_maps": [[4, 5, 3, 3, 1]]}, "each row is"),
        ({"extra_maps": [[4, 5, 3, 2, 3]]}, "each row is"),
        ({"channels": (6, 8, 9)}, "starts from two maps, and the backbone returns 3"),
        ({"bridge_dilation": 0}, "bridge_dilation is 0"),
        ({"bridge_channels": 0}, "bridge_channels is 0"),
    ],
)
def test_wrong_options_of_the_seven_maps(options, words):
    with pytest.raises(db.UserError, match=words):
        small_maps(**options)


def test_seven_maps_need_room():
    neck, inputs = small_maps(32)
    with pytest.raises(db.UserError, match=r"one of 1 x 1 has no room .* give larger images"):
        neck(inputs)
