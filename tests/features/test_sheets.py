"""Sheets of feature maps, looked at pixel by pixel."""

import numpy as np
import pytest
from PIL import Image

from densebone.errors import UserError
from densebone.features import sheets
from densebone.pictures.preparing import prepare
from densebone.weights.catalog import find

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install densebone[features]")


def test_the_picture_comes_back():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("hardnet68.official", "fchardnet70.official"):  # RGB and BGR
        recipe = find(name).preprocessing
        whole = type(recipe)(None, None, None, "pil", recipe.channels, recipe.mean, recipe.std)
        np.testing.assert_array_equal(sheets.picture_of(prepare(picture, whole), whole), picture)


def test_strongest():
    maps = np.zeros((5, 2, 2), np.float32)
    maps[1], maps[3, 0], maps[4, 0, 0], maps[2] = 1, 2, 9, 5
    assert sheets.strongest(maps, 3) == [4, 3, 2]  # by variation, then by mean
    assert sheets.strongest(maps, 9) == [4, 3, 2, 1, 0]


def test_colours_go_from_dark_to_bright():
    palette = sheets.colours().astype(float)
    light = palette @ (0.299, 0.587, 0.114)
    assert palette.shape == (256, 3) and (np.diff(light) > -1).all() and light[-1] - light[0] > 150


def test_a_sheet(tmp_path):
    palette = sheets.colours()
    maps = [np.zeros((10, 4, 6), np.float32), np.zeros((3, 2, 3), np.float32)]
    maps[0][7, 1, 2] = 4.0
    picture = np.full((64, 96, 3), (200, 30, 30), np.uint8)
    sheets.draw_sheet(tmp_path / "sheet.png", "a.png", picture, maps, [16, 32], count=4)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert (sheet == (200, 30, 30)).all(2).sum() == 2 * 136 * 2 * 91  # the picture, twice as large as a map
    bright = (sheet == palette[255]).all(2)
    cell = (136 / 6) * (91 / 4)  # one of 4 x 6, right of the scale: in the mean and in channel 7
    assert 1.9 * cell < bright[:, 300:].sum() < 2.1 * cell


def test_maps_of_one_value_and_of_one_cell(tmp_path):
    maps = [np.full((2, 1, 1), 3.0, np.float32), np.zeros((1, 7, 7), np.float32)]
    sheets.draw_sheet(tmp_path / "sheet.png", "x" * 500, np.zeros((32, 32, 3), np.uint8), maps, [32, 4])
    assert Image.open(tmp_path / "sheet.png").size[0] > 1000
    with pytest.raises(UserError, match="written as PNG"):
        sheets.draw_sheet(tmp_path / "sheet.jpg", "x", np.zeros((32, 32, 3), np.uint8), maps, [32, 4])
