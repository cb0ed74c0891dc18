"""From pictures to inputs and back, against Pillow, OpenCV and NumPy."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from densebone.errors import UserError
from densebone.pictures.preparing import denormalize, normalize, prepare
from densebone.pictures.reading import read_image
from densebone.weights import catalog

IMAGENET = catalog.find("hardnet68.official").preprocessing


# prepare


def _gray(pixels, path):
    Image.fromarray(pixels[..., 0]).save(path)


def _cmyk(pixels, path):
    Image.fromarray(pixels).convert("CMYK").save(path)


def _palette(pixels, path):
    Image.fromarray(pixels).quantize(64).save(path)


def _turned(pixels, path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif, quality=90)


def _plain(pixels, path):
    Image.fromarray(pixels).save(path)


PICTURES = {  # what is written, and its height and width
    "rgb.png": (_plain, 301, 433),
    "upright.jpg": (_plain, 400, 257),
    "gray.png": (_gray, 90, 75),
    "cmyk.jpg": (_cmyk, 320, 261),
    "palette.png": (_palette, 130, 257),
    "turned.jpg": (_turned, 270, 411),
    "line.png": (_plain, 1, 3),
    "column.png": (_plain, 9, 1),
    "square.png": (_plain, 256, 256),
}


def _by_hand(path, resize, crop, method):
    """Pillow and NumPy alone: shorter side to `resize`, middle `crop`, ImageNet's mean and std."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    if resize:
        width, height = image.size
        if width <= height:
            image = image.resize((resize, int(resize * height / width)), method)
        else:
            image = image.resize((int(resize * width / height), resize), method)
    width, height = image.size
    canvas = Image.new("RGB", (max(width, crop), max(height, crop)))
    canvas.paste(image, (max(crop - width, 0) // 2, max(crop - height, 0) // 2))
    left, top = round((canvas.width - crop) / 2), round((canvas.height - crop) / 2)
    values = np.asarray(canvas.crop((left, top, left + crop, top + crop)), np.float32) / 255
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    return ((values - mean) / std).transpose(2, 0, 1)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize, crop", [(256, 224), (235, 224), (64, 96), (None, 80)])
@pytest.mark.parametrize("name", PICTURES)
def test_prepare_equals_pillow_and_numpy_bit_for_bit(tmp_path, name, resize, crop, method):
    write, height, width = PICTURES[name]
    write(np.random.default_rng(len(name)).integers(0, 256, (height, width, 3), dtype=np.uint8), tmp_path / name)
    recipe = replace(IMAGENET, resize=resize, crop=crop, interpolation=method)
    prepared = prepare(read_image(tmp_path / name, min_side=1), recipe)
    expected = _by_hand(tmp_path / name, resize, crop, Image.Resampling[method.upper()])
    assert prepared.dtype == np.float32 and prepared.flags.c_contiguous and prepared.shape == (3, crop, crop)
    np.testing.assert_array_equal(prepared, expected)


def test_prepare_with_opencv_equals_it_bit_for_bit():
    cv2 = pytest.importorskip("cv2", reason="OpenCV comes with the toolkits")
    pixels = np.random.default_rng(3).integers(0, 256, (300, 411, 3), dtype=np.uint8)
    prepared = prepare(pixels, catalog.find("hardnet68.paddleclas").preprocessing)
    resized = cv2.resize(pixels, (round(411 * (256 / 300)), 256), interpolation=cv2.INTER_LINEAR)
    assert resized.shape == (256, 351, 3)
    cropped = resized[16:240, 63:287].astype(np.float32) / 255  # (351 - 224) // 2 = 63
    expected = (cropped - np.float32(IMAGENET.mean)) / np.float32(IMAGENET.std)
    np.testing.assert_array_equal(prepared, expected.transpose(2, 0, 1))


def test_prepare_orders_channels_and_takes_both_sides():
    pixels = np.zeros((30, 40, 3), np.uint8) + np.uint8([255, 0, 51])
    recipe = replace(IMAGENET, resize=[20, 10], crop=None, channels="bgr", mean=[0.1, 0.2, 0.3], std=[1, 2, 4])
    prepared = prepare(pixels, recipe)
    assert prepared.shape == (3, 10, 20)
    np.testing.assert_allclose(prepared[:, 5, 5], [0.2 - 0.1, (0 - 0.2) / 2, (1 - 0.3) / 4], rtol=1e-6)


def test_prepare_leaves_opencv_alone_without_need():
    code = (
        "import sys, numpy; from densebone.pictures.preparing import prepare; from densebone.weights import catalog\n"
        "prepare(numpy.zeros((40, 50, 3), 'uint8'), catalog.find('hardnet68.official').preprocessing)\n"
        "assert 'cv2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_prepare_refuses_what_would_fill_the_memory():
    with pytest.raises(UserError, match=r"9000 x 1 pixels become 2304000 x 256 .* crop the picture"):
        prepare(np.zeros((1, 9000, 3), np.uint8), IMAGENET)


# denormalize


@pytest.mark.parametrize("name", ["hardnet68.official", "fchardnet70.official"])  # RGB and BGR
def test_denormalize_undoes_normalize(name):
    recipe = catalog.find(name).preprocessing
    pixels = np.arange(256 * 3, dtype=np.int64).astype(np.uint8).reshape(16, 16, 3)  # every value
    image = denormalize(normalize(pixels, recipe.channels, recipe.mean, recipe.std), recipe)
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    np.testing.assert_array_equal(image, pixels)


def test_denormalize_rounds_and_clips_by_hand():
    recipe = replace(IMAGENET, channels="bgr", mean=[0.5, 0.5, 0.0], std=[0.5, 0.25, 1.0])
    values = np.float32([[[-1, 9]], [[1, -9]], [[0.2525, 0.2455]]])  # blue, green, red of two pixels
    # red: 255 * 0.2525 = 64.4, 255 * 0.2455 = 62.6; green: 255 * 0.75 = 191.25, and below black; blue: 0, and above 1
    assert denormalize(values, recipe).tolist() == [[[64, 191, 0], [63, 0, 255]]]
