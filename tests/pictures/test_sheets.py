"""Contact sheets, looked at pixel by pixel."""

import os

import numpy as np
import pytest
from PIL import Image

from densebone.errors import UserError
from densebone.pictures.sheets import plot_sheet

GRAY = np.full((120, 160, 3), 128, np.uint8)


def test_sheet(tmp_path):
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    sizes = [(50, 100), (100, 50), (30, 30)]
    pictures = [np.full((*size, 3), colour, np.uint8) for size, colour in zip(sizes, colours)]
    plot_sheet(
        pictures,
        ["a", "b", "a title that is far too long for the cell that it stands over"],
        tmp_path / "s.png",
        columns=2,
        cell=100,
    )
    with Image.open(tmp_path / "s.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (8 + 2 * (100 + 14 + 8), 8 + 2 * 108, 3)
    for colour, (height, width) in zip(colours, [(50, 100), (100, 50), (100, 100)]):
        assert (pixels == colour).all(axis=2).sum() == height * width
    assert (pixels[:, :8] == 255).all()
    assert (pixels[:, -8:] == 255).all()
    assert (pixels[8:22, 8:108].min(axis=2) < 100).any()  # the first title
    assert os.listdir(tmp_path) == ["s.png"]


def test_sheet_with_fewer_pictures_than_columns(tmp_path):
    plot_sheet([Image.fromarray(GRAY)], ["one"], tmp_path / "s.png")
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.width == 256 + 16


def test_sheet_errors(tmp_path):
    with pytest.raises(UserError, match="0 pictures and 0 titles; give at least one"):
        plot_sheet([], [], tmp_path / "s.png")
    with pytest.raises(UserError, match="1 pictures and 2 titles"):
        plot_sheet([GRAY], ["a", "b"], tmp_path / "s.png")
    with pytest.raises(UserError, match="columns must be at least 1"):
        plot_sheet([GRAY], ["a"], tmp_path / "s.png", columns=0)
    with pytest.raises(UserError, match=r"ends in \.png"):
        plot_sheet([GRAY], ["a"], tmp_path / "s.jpg")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write into the folder"):
        plot_sheet([GRAY], ["a"], tmp_path / "file" / "s.png")
