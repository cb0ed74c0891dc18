"""A part of a picture is computed as that part of the whole, as far as the network looks."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

import densebone as db
from densebone.backbones import layers
from densebone.backbones.windows import Whole

GRID, SEEN = 64, 512
HEIGHT, WIDTH = 77, 1901


@pytest.fixture(scope="module")
def network():
    paddle.seed(0)
    network = db.create_model("fchardnet70")
    network.eval()
    return network


@pytest.fixture(scope="module")
def picture():
    """(1, 3, HEIGHT, WIDTH) with shapes of many sizes."""
    coarse = np.random.default_rng(0).standard_normal((1, 3, HEIGHT // 8, WIDTH // 8)).astype("float32")
    return F.interpolate(paddle.to_tensor(coarse), size=[HEIGHT, WIDTH], mode="bilinear")


@pytest.fixture(scope="module")
def whole(network, picture):
    with paddle.no_grad():
        return network(picture).numpy()


def difference(found, expected):
    """The largest, relative to the largest value."""
    return abs(found - expected).max() / abs(expected).max()


@pytest.mark.parametrize("left", [0, 640])
def test_a_part_is_that_part_of_the_whole_where_the_network_does_not_see_its_borders(network, picture, whole, left):
    right = 1280 if left == 0 else WIDTH
    part = picture[:, :, :, left:right]
    core = slice(0 if left == 0 else left + SEEN, right if right == WIDTH else right - SEEN)
    inside = slice(core.start - left, core.stop - left)
    with paddle.no_grad():
        with Whole(network, (HEIGHT, WIDTH), 3, GRID).part(0, left):
            placed = network(part).numpy()
        alone = network(part).numpy()
    assert difference(placed[..., inside], whole[..., core]) < 1e-3
    assert difference(alone[..., inside], whole[..., core]) > 0.02
    assert (placed.argmax(1) == whole[..., left:right].argmax(1))[..., inside].mean() > 0.999


def test_the_whole_as_its_own_part_is_the_whole(network, picture, whole):
    with paddle.no_grad(), Whole(network, (HEIGHT, WIDTH), 3, GRID).part(0, 0):
        assert difference(network(picture).numpy(), whole) < 1e-4


def test_a_map_as_large_in_every_picture_is_resized_as_ever():
    """As the mean of a whole picture, and one of three cells."""
    x = paddle.rand([1, 2, 192, 256])

    def network(x):
        few = F.adaptive_avg_pool2d(x, (1, 3))
        return layers.resize_to(few, F.avg_pool2d(x, 32), True)

    with Whole(network, (192, 256), 2, GRID).part(0, 0):
        assert difference(network(x).numpy(), F.interpolate(
            F.adaptive_avg_pool2d(x, (1, 3)), size=[6, 8], mode="bilinear", align_corners=True
        ).numpy()) < 1e-6  # fmt: skip


def test_parts_tile_a_map_in_any_pieces():
    """A network that only resizes: the values of a part are those of the whole, but for the ones beside a border."""
    x = paddle.rand([1, 3, 64 * 7 + 5, 64 * 9 + 37])

    def network(x):
        return layers.resize_to(F.avg_pool2d(x, 16, ceil_mode=True), x, True)

    expected, whole = network(x).numpy(), Whole(network, x.shape[2:], 3, GRID)
    for top, left in ((0, 0), (128, 64), (192, 320)):
        with whole.part(top, left):
            found = network(x[:, :, top : top + 256, left : left + 256]).numpy()
        core = np.s_[..., 20:-20, 20:-20]
        assert difference(found[core], expected[..., top : top + 256, left : left + 256][core]) < 1e-5
