"""Input sizes, against small cases computed by hand and against Pillow."""

import numpy as np
import pytest
from PIL import Image

from densebone.errors import UserError
from densebone.features.sizes import SizePolicy
from densebone.pictures.preparing import Preprocessing, prepare
from densebone.weights.catalog import find

IMAGENET = find("hardnet68.official").preprocessing
BGR = find("fchardnet70.official").preprocessing  # neither resized nor cropped
PICTURE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
MEAN, STD = (np.array(values, np.float32)[:, None, None] for values in (IMAGENET.mean, IMAGENET.std))


def normal(pixels):
    return (np.asarray(pixels, np.float32).transpose(2, 0, 1) / 255 - MEAN) / STD


def test_crop_is_what_the_weights_want():
    policy = SizePolicy("crop")
    np.testing.assert_array_equal(policy.apply(PICTURE, IMAGENET), prepare(PICTURE, IMAGENET))
    assert policy.fixed(IMAGENET) == (224, 224)
    assert policy.fixed(BGR) is None
    assert policy.apply(PICTURE, BGR).shape == (3, 60, 90)


def test_resize():
    policy = SizePolicy("resize", (40, 64))
    expected = Image.fromarray(PICTURE).resize((64, 40), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(policy.apply(PICTURE, IMAGENET), normal(expected), atol=1e-5)
    assert policy.fixed(IMAGENET) == policy.fixed(None) == (40, 64)


def test_resize_keeps_the_interpolation_and_the_order_of_colours():
    cubic = Preprocessing(256, 224, "bicubic", "pil", "bgr", IMAGENET.mean[::-1], IMAGENET.std[::-1])
    expected = Image.fromarray(PICTURE).resize((64, 40), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(
        SizePolicy("resize", (40, 64)).apply(PICTURE, cubic), normal(expected)[::-1], atol=1e-5
    )  # fmt: skip


def test_letterbox():
    inputs = SizePolicy("letterbox", (64, 64)).apply(PICTURE, IMAGENET)  # 60 x 90 becomes 43 x 64
    expected = normal(Image.fromarray(PICTURE).resize((64, 43), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(inputs[:, 10:53], expected, atol=1e-5)
    assert not inputs[:, :10].any() and not inputs[:, 53:].any()


def test_letterbox_of_a_line():
    inputs = SizePolicy("letterbox", (32, 64)).apply(PICTURE[:, :1], IMAGENET)
    assert inputs.shape == (3, 32, 64) and [bool(inputs[:, :, x].any()) for x in (30, 31, 32)] == [False, True, False]


@pytest.mark.parametrize("multiple, shape", [(1, (60, 90)), (32, (64, 96)), (30, (60, 90))])
def test_native(multiple, shape):
    policy = SizePolicy("native", multiple=multiple)
    inputs = policy.apply(PICTURE, IMAGENET)
    assert inputs.shape == (3, *shape) and policy.fixed(IMAGENET) is None
    np.testing.assert_allclose(inputs[:, :60, :90], normal(PICTURE), atol=1e-5)
    assert not inputs[:, 60:].any() and not inputs[:, :, 90:].any()


def test_too_small():
    with pytest.raises(UserError, match=r"31 x 90 pixels \(height x width\) is too small, at least 32 each side"):
        SizePolicy("native").apply(PICTURE[:31], IMAGENET)
    assert SizePolicy("native", multiple=32).apply(PICTURE[:31], IMAGENET).shape == (3, 32, 96)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["stretch"], "size_mode is 'stretch'; give one of crop, resize, letterbox, native"),
        (["crop", (224, 224)], "size is (224, 224), which size_mode 'crop' does not take"),
        (["native", (224, 224)], "size is (224, 224), which size_mode 'native' does not take"),
        (["resize"], "size is None; size_mode 'resize' takes (height, width) in pixels, both 32 or more"),
        (["letterbox", (16, 64)], "size is (16, 64); size_mode 'letterbox' takes"),
        (["resize", (64.0, 64)], "size is (64.0, 64); size_mode 'resize' takes"),
    ],
    ids=str,
)
def test_what_is_not_a_size(arguments, message):
    with pytest.raises(UserError) as raised:
        SizePolicy(*arguments)
    assert str(raised.value).startswith(message)
