"""What training does to pictures."""

import numpy as np
import pytest
from PIL import Image

from densebone.tasks.classification.schema import build_typed
from densebone.tasks.classification.transforms import (
    AFTER_NORMALIZING,
    OPERATIONS,
    TRANSFORMS,
    ColorJitter,
    PadAndCrop,
    RandAugment,
    RandomErasing,
    RandomFlip,
    RandomResizedCrop,
    Resize,
)


@pytest.fixture
def image():
    rows, columns = np.mgrid[0:60, 0:90]
    return Image.fromarray(
        np.stack([rows * 4, columns * 2, 200 - rows - columns + 55 * (rows % 2)], 2).astype(np.uint8)
    )


def rng(seed=0):
    return np.random.default_rng(seed)


def same(first, second):
    return np.array_equal(np.asarray(first), np.asarray(second))


@pytest.mark.parametrize("name", [name for name, kind in TRANSFORMS.items() if kind not in AFTER_NORMALIZING])
def test_the_generator_alone_decides(image, name):
    step = build_typed(TRANSFORMS, {"type": name, **({"size": 32} if name in SIZED else {})}, "")
    before = image.copy()
    first, again = step(image, rng(5)), step(image, rng(5))
    assert same(first, again) and same(image, before)
    assert first.mode == "RGB"
    if name in SIZED:
        assert first.size == (32, 32)


SIZED = ("Resize", "RandomResizedCrop", "PadAndCrop")


def test_crops_have_the_areas_and_shapes_that_are_asked_for():
    step = RandomResizedCrop(size=8, scale=(0.25, 0.5), ratio=(0.5, 2.0))
    parts = np.array([step._part(100, 200, rng(seed)) for seed in range(400)])
    left, top, width, height = parts.T
    assert left.min() >= 0 and top.min() >= 0 and (left + width).max() <= 100 and (top + height).max() <= 200
    area = width * height / 20000
    assert 0.24 < area.min() < 0.28 and 0.42 < area.max() < 0.51
    assert 0.48 < (width / height).min() < 0.6 and (width / height).max() < 2.05
    assert len({tuple(part) for part in parts}) > 390


def test_a_crop_of_a_picture_of_one_line_is_in_it():
    step = RandomResizedCrop(size=8)
    assert step._part(100, 1, rng()) == (49, 0, 1, 1)
    assert step(Image.new("RGB", (100, 1)), rng()).size == (8, 8)


def test_all_of_a_picture(image):
    step = RandomResizedCrop(size=30, scale=(1.0, 1.0), ratio=(1.5, 1.5), interpolation="bicubic")
    assert same(step(image, rng()), image.resize((30, 30), Image.Resampling.BICUBIC))
    assert same(Resize(size=30)(image, rng()), image.resize((30, 30), Image.Resampling.BILINEAR))


def test_flips(image):
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert same(RandomFlip(prob=1)(image, rng()), mirrored)
    assert same(RandomFlip(prob=0)(image, rng()), image)
    assert 30 < sum(same(RandomFlip()(image, rng(seed)), mirrored) for seed in range(100)) < 70


def test_padding(image):
    small = image.crop((0, 0, 32, 32))
    padded = np.pad(np.asarray(small), ((4, 4), (4, 4), (0, 0)))
    windows = [padded[top : top + 32, left : left + 32] for top in range(9) for left in range(9)]
    found = [PadAndCrop(size=32)(small, rng(seed)) for seed in range(20)]
    assert all(any(same(picture, window) for window in windows) for picture in found)
    assert len({picture.tobytes() for picture in found}) > 10
    assert PadAndCrop(size=64, padding=0)(small, rng()).size == (64, 64)


def test_colours(image):
    assert same(ColorJitter()(image, rng()), image)
    brighter = np.asarray(ColorJitter(brightness=0.5)(image, rng(1)), float)
    ratio = (brighter / np.maximum(np.asarray(image), 1))[20:30, 20:30, 0]
    assert np.ptp(ratio) < 0.05 and 0.5 <= ratio.mean() <= 1.5
    turned = ColorJitter(hue=0.5)(Image.new("RGB", (4, 4), (200, 40, 40)), rng(2))
    assert np.ptp(np.asarray(turned).reshape(-1, 3), axis=0).max() == 0
    assert sorted(np.asarray(turned)[0, 0])[-1] == 200  # the value stays, the hue does not
    assert not same(turned, Image.new("RGB", (4, 4), (200, 40, 40)))


@pytest.mark.parametrize("number", range(len(OPERATIONS)))
def test_operations_get_stronger(image, number):
    weak, strong = (np.asarray(OPERATIONS[number](image, level, 1), float) for level in (0.1, 0.9))
    assert weak.shape == strong.shape == (60, 90, 3)
    before = np.asarray(image, float)
    if number > 2:  # those without a magnitude
        assert np.abs(weak - before).mean() < np.abs(strong - before).mean()
    if number > 6:  # those with a direction
        assert not np.array_equal(strong, np.asarray(OPERATIONS[number](image, 0.9, -1)))


def test_randaugment_draws_operations(image):
    assert same(RandAugment(prob=0.0)(image, rng()), image)
    assert same(RandAugment(count=0, prob=1.0)(image, rng()), image)
    found = {RandAugment(prob=1.0, std=0.5)(image, rng(seed)).tobytes() for seed in range(30)}
    assert len(found) > 25


def test_erasing():
    values = np.zeros((3, 40, 60), np.float32) + 5
    assert RandomErasing(prob=0)(values, rng()) is values
    areas = []
    for seed in range(100):
        erased = RandomErasing(prob=1, scale=(0.1, 0.2))(values, rng(seed)) != 5
        assert (erased[0] == erased[1]).all()
        rows, columns = np.flatnonzero(erased[0].any(1)), np.flatnonzero(erased[0].any(0))
        assert erased[0].sum() == len(rows) * len(columns) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        areas.append(erased[0].mean())
    assert (values == 5).all()
    assert 0.09 < min(areas) < 0.12 and 0.17 < max(areas) < 0.21
    noise = RandomErasing(prob=1, scale=(0.5, 0.5), ratio=(1, 1))(values, rng())
    noise = noise[noise != 5]
    assert abs(noise.mean()) < 0.1 and abs(noise.std() - 1) < 0.1
    zero = RandomErasing(prob=1, mode="zero")(values, rng())
    assert set(np.unique(zero)) == {0.0, 5.0}
