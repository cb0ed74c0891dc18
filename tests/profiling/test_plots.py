"""Plots of costs: memory-bound layers are marked, and names do not cover each other."""

import itertools

import numpy as np
import pytest
from PIL import Image

from densebone.errors import UserError
from densebone.pictures.plots import name_points, new_figure
from densebone.profiling import plots
from densebone.profiling.results import LayerCost, Profile

ORANGE, BLUE = (255, 127, 14), (31, 119, 180)


def layer(macs, size=(1, 8, 4, 4)):
    cio = 0 if len(size) == 2 else 100
    return LayerCost("conv", "conv 1x1", size, size, 10, 4, macs=macs, cio=cio, elements=100, calls=1)


def colours(path):
    with Image.open(path) as picture:
        return {tuple(pixel) for pixel in np.asarray(picture.convert("RGB")).reshape(-1, 3)[::3]}


def test_memory_bound_layers_have_a_colour_of_their_own(tmp_path):
    layers = [layer(10), layer(10**6), layer(10**5, (1, 8, 2, 2)), layer(100, (1, 8))]
    for balance, expected in ((11, {ORANGE, BLUE}), (1e-3, {BLUE})):
        path = tmp_path / f"{balance}.png"
        costs = Profile("net", (1, 3, 32, 32), "fp32", balance, 40, layers)
        plots.plot_layers(costs, path)
        drawn = colours(path)
        assert BLUE in drawn
        assert len(costs.memory_bound) == (2 if ORANGE in expected else 0)
    only_bound = Profile("net", (1, 3, 32, 32), "fp32", 1e9, 40, layers)
    plots.plot_layers(only_bound, tmp_path / "bound.png")
    assert ORANGE in colours(tmp_path / "bound.png")


def test_names_of_near_points_do_not_cover_each_other():
    axes = new_figure(6, 4).subplots()
    points = [(1.0, 1.0, "condensenetv2_b"), (1.02, 1.01, "hardnet39ds"), (0.98, 1.01, "peleenet"), (2, 2, "hardnet85")]
    axes.plot(*zip(*[point[:2] for point in points]), "o")
    axes.margins(0.4)
    name_points(axes, points)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert sorted(text.get_text() for text in axes.texts) == sorted(name for *_, name in points)
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))


def test_models_without_accuracy_are_left_out(tmp_path):
    rows = [
        {"name": name, "top1": top1, "cio": 10**7, "macs": 10**9, "input_shape": (1, 3, 224, 224)}
        for name, top1 in (("hardnet68", 76.5), ("peleenet", 72.0), ("hardnet70", None))
    ]
    plots.plot_models(rows, tmp_path / "models.png")
    with Image.open(tmp_path / "models.png") as picture:
        assert picture.width > picture.height
    with pytest.raises(UserError, match="no accuracy is published"):
        plots.plot_models(rows[2:], tmp_path / "none.png")
    with pytest.raises(UserError, match=r"ends in \.png"):
        plots.plot_models(rows, tmp_path / "models.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["models.png"]
