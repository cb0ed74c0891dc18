"""The curves of training runs: what is plotted, and what is refused."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from densebone.errors import UserError
from densebone.pictures import plots
from densebone.pictures.plots import check_curves, plot_training


def _train(count, **parts):
    return [
        {"kind": "train", "iteration": i, "epoch": i / 10, "loss": 5 - i / 40, "lr": 0.1, **parts} for i in range(count)
    ]


def _evals(count):
    return [{"kind": "eval", "iteration": 20 * i, "epoch": 2 * i, "AP": 0.1 * i, "AP50": 0.2 * i} for i in range(count)]


def _panels(monkeypatch, history, path):
    """Plot the history and return the axes of the figure."""
    figures = []
    original = plots.new_figure

    def keep(*args):
        figures.append(original(*args))
        return figures[-1]

    monkeypatch.setattr(plots, "new_figure", keep)
    plot_training(history, path)
    return figures[0].axes


@pytest.mark.parametrize(
    "history, panels",
    [
        (_train(100, loss_cls=1.0) + _evals(4), 2),
        (_train(100), 1),
        (_train(1), 1),
        (_evals(1), 1),
        (_train(1) + _evals(1), 2),
    ],
    ids=["both", "no eval", "one point", "one eval", "one of each"],
)
def test_curves(tmp_path, monkeypatch, history, panels):
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'detection'")
    axes = _panels(monkeypatch, history, tmp_path / "new" / "curve.png")
    assert len(axes) == panels
    assert all(panel.get_title() and panel.get_xlabel() and panel.get_ylabel() for panel in axes)
    with Image.open(tmp_path / "new" / "curve.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(10**6)) > 50
    assert os.listdir(tmp_path / "new") == ["curve.png"]


def test_curve_labels_and_values(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'detection'")
    history = _evals(4) + _train(100, loss_iou=2.0, loss_cls=1.0)[::-1]
    losses, precision = _panels(monkeypatch, history, tmp_path / "c.png")
    words = [text.get_text() for text in losses.get_legend().get_texts()]
    assert words == ["loss", "loss_cls", "loss_iou"]
    raw = losses.lines[0].get_xydata()
    np.testing.assert_allclose(raw[[0, -1]], [[0, 5], [99, 5 - 99 / 40]])
    assert [text.get_text() for text in precision.get_legend().get_texts()] == ["mAP @ 0.5", "mAP @ 0.5:0.95"]
    np.testing.assert_allclose(precision.lines[0].get_ydata(), [0, 0.2, 0.4, 0.6])
    assert "mAP @ 0.5 0.600" in precision.get_title()


def test_the_curve_of_a_segmentation_run(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib comes with the toolkits")
    history = [{"kind": "eval", "iteration": 10 * i, "mIoU": 0.3 * i, "accuracy": 0.9} for i in range(3)]
    _, scores = _panels(monkeypatch, _train(20) + history, tmp_path / "c.png")
    assert [text.get_text() for text in scores.get_legend().get_texts()] == ["mIoU"]
    np.testing.assert_allclose(scores.lines[0].get_xydata(), [[0, 0], [10, 0.3], [20, 0.6]])
    assert scores.get_title() == "Validation mIoU (best: mIoU 0.600)"
    assert scores.get_ylabel() == "mIoU"


def test_values_that_are_not_finite_or_missing(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'detection'")
    history = _train(10)
    history += [{"kind": "train", "iteration": 10, "loss": float("nan")}]
    history += [{"kind": "eval", "iteration": 10, "AP": None, "AP50": 0.5}, {"kind": "note"}]
    plot_training(history, tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 1000


def test_no_global_matplotlib_state(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'detection'")
    before = "matplotlib.pyplot" in sys.modules
    plot_training(_train(3), tmp_path / "c.png")
    assert ("matplotlib.pyplot" in sys.modules) is before


def test_moving_average_by_hand():
    np.testing.assert_allclose(plots._smooth(np.array([1.0, 2.0, 6.0, 7.0])), [1.5, 3, 5, 6.5])
    np.testing.assert_allclose(plots._smooth(np.array([1.0, np.nan, 5.0])), [1, 3, 5])
    assert np.isnan(plots._smooth(np.array([np.nan]))).all()


def test_plot_training_errors(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no row of kind 'train' with a loss or 'eval'"):
        plot_training([], tmp_path / "c.png")
    with pytest.raises(UserError, match="has no 'iteration'"):
        plot_training([{"kind": "train", "loss": 1.0}], tmp_path / "c.png")
    with pytest.raises(UserError, match=r"c\.pdf: the picture is written as PNG"):
        plot_training(_train(3), tmp_path / "c.pdf")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match="needs matplotlib; run: pip install matplotlib"):
        plot_training(_train(3), tmp_path / "c.png")
    assert os.listdir(tmp_path) == []
    with pytest.raises(UserError, match="needs matplotlib; run: pip install matplotlib"):
        check_curves()
