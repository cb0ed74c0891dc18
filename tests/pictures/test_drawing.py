"""Every picture we draw, looked at pixel by pixel."""

import os
import sys

import numpy as np
import pytest
from PIL import Image, ImageFont

from densebone.errors import UserError
from densebone.pictures import drawing, plots
from densebone.pictures.drawing import class_colours, draw_boxes, draw_labels
from densebone.pictures.plots import check_curves, plot_training
from densebone.pictures.sheets import plot_sheet

GRAY = np.full((120, 160, 3), 128, np.uint8)
SHAPES = ["circle", "square", "triangle", "star"]


def _changed(drawn, image=GRAY):
    """(top, left, bottom, right) of what differs from the image, bottom and right exclusive."""
    rows, columns = np.nonzero((np.asarray(drawn) != image).any(axis=2))
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


# colours


def test_class_colours_are_distinct_and_repeat():
    names = [f"class {number}" for number in range(80)]
    colours = class_colours(names)
    assert list(colours) == names
    assert len(set(colours.values())) == 80
    assert all(type(part) is int and 0 <= part <= 255 for colour in colours.values() for part in colour)
    assert class_colours(names) == colours
    first = np.array(list(colours.values())[:12], int)
    apart = np.abs(first[:, None] - first).sum(axis=2) + 999 * np.eye(12, dtype=int)
    assert apart.min() > 60


def test_colour_without_palette_depends_on_the_name_only():
    alone = np.asarray(draw_boxes(GRAY, [[50, 60, 90, 100]], ["star"]))
    among = np.asarray(draw_boxes(GRAY, [[2, 20, 20, 40], [50, 60, 90, 100]], ["circle", "star"]))
    assert among[99, 70].tolist() == alone[99, 70].tolist()
    assert len({drawing._colour_of(name, None) for name in SHAPES}) == 4


# draw_boxes


def test_line_lies_on_the_outermost_pixels_of_the_box():
    colour = (10, 200, 30)
    drawn = np.asarray(draw_boxes(GRAY, [[50, 60, 90, 100]], ["star"], palette={"star": colour}))
    edge = np.concatenate([drawn[99, 50:90], drawn[60:100, 50], drawn[60:100, 89], drawn[98, 50:90]])
    assert (edge == colour).all()
    outside = np.concatenate([drawn[100, 40:100], drawn[62:110, 49], drawn[62:110, 90]])
    assert (outside == 128).all()
    assert (drawn[64:96, 54:86] == 128).all()


def test_image_is_not_changed():
    for image in (GRAY.copy(), Image.fromarray(GRAY)):
        drawn = draw_boxes(image, [[50, 60, 90, 100]], ["star"])
        assert (np.asarray(image) == 128).all()
        assert drawn.size == (160, 120)
        assert drawn.mode == "RGB"
    assert draw_boxes(Image.new("L", (64, 48)), [], []).mode == "RGB"


def test_no_boxes():
    for boxes in ([], np.zeros((0, 4))):
        assert (np.asarray(draw_boxes(GRAY, boxes, [], [])) == 128).all()


def test_plate_carries_name_and_score(monkeypatch):
    written = []
    monkeypatch.setattr(drawing, "_draw_plate", lambda draw, corner, text, *rest: written.append((corner, text)))
    draw_boxes(GRAY, [[50, 60, 90, 100], [1, 2, 30, 40]], ["star", "circle"], [0.5, 0.256])
    assert written == [((1, 2), "circle 0.26"), ((50, 60), "star 0.50")]
    draw_boxes(GRAY, [[50, 60, 90, 100]], ["star"])
    assert written[-1] == ((50, 60), "star")


CORNERS = {
    "top left": (0, 0, 20, 20),
    "top right": (140, 0, 160, 20),
    "bottom left": (0, 100, 20, 120),
    "bottom right": (140, 100, 160, 120),
    "beyond every side": (-50, -50, 300, 300),
    "thin at the top": (150, 0, 152, 2),
}


@pytest.mark.parametrize("box", CORNERS.values(), ids=CORNERS)
@pytest.mark.parametrize("name", ["star", "a class with a name that is much longer than the picture is wide"])
def test_plate_stays_in_the_picture(monkeypatch, box, name):
    """Drawn on a larger canvas: nothing may reach the margin, and all of the plate must be there."""
    plates = []
    original = drawing.ImageDraw.ImageDraw.rectangle

    def record(self, edges, fill=None, **options):
        if fill is not None:
            plates.append(edges)
        return original(self, edges, fill=fill, **options)

    monkeypatch.setattr(drawing.ImageDraw.ImageDraw, "rectangle", record)
    drawn = np.asarray(draw_boxes(GRAY, [box], [name], [0.9], palette={name: (255, 255, 0)}))
    left, top, right, bottom = plates[0]
    assert 0 <= left < right <= 159
    assert 0 <= top < bottom <= 119
    plate = drawn[top : bottom + 1, left : right + 1]
    assert (plate == (255, 255, 0)).all(axis=2).mean() > 0.4
    assert (plate.max(axis=2) < 60).any()  # black letters on yellow
    assert (plate[:, -1] == (255, 255, 0)).all()  # and none cut off at the right


def test_letters_contrast_with_their_plate():
    for colour, ink in (((255, 255, 0), 0), ((90, 0, 120), 255)):
        drawn = np.asarray(draw_boxes(GRAY, [[50, 60, 90, 100]], ["HHHH"], palette={"HHHH": colour}))
        plate = drawn[40:60, 50:90].reshape(-1, 3)
        assert (np.abs(plate.astype(int) - ink).max(axis=1) < 60).any()


def test_lines_and_letters_grow_with_the_picture():
    heights, widths = [], []
    for side in (100, 1000):
        image = np.full((side, side, 3), 128, np.uint8)
        box = np.array([0.5, 0.5, 0.9, 0.9]) * side
        drawn = np.asarray(draw_boxes(image, [box], ["star"]))
        heights.append(side // 2 - _changed(drawn, image)[0])
        column = drawn[side * 7 // 10 :, side * 7 // 10]
        widths.append((column != 128).any(axis=1).sum())
    assert heights[1] > 1.8 * heights[0] > 18
    assert widths == [2, 4]


def test_high_scores_lie_on_top():
    palette = {"low": (0, 0, 255), "high": (255, 0, 0)}
    box = [50, 60, 90, 100]
    for labels, scores in ((["high", "low"], [0.9, 0.2]), (["low", "high"], [0.2, 0.9])):
        drawn = np.asarray(draw_boxes(GRAY, [box, box], labels, scores, palette))
        assert drawn[99, 70].tolist() == [255, 0, 0]


def test_boxes_are_cut_or_left_out():
    assert (np.asarray(draw_boxes(GRAY, [[200, 10, 220, 30], [-9, 5, 0, 9]], ["a", "b"])) == 128).all()
    drawn = np.asarray(draw_boxes(GRAY, [[100, 60, 500, 500]], ["star"], palette={"star": (1, 2, 3)}))
    assert (drawn[60:, 159] == (1, 2, 3)).all()
    assert (drawn[119, 100:] == (1, 2, 3)).all()


def test_degenerate_boxes_are_drawn():
    drawn = draw_boxes(GRAY, [[50, 60, 50, 60], [90.2, 100, 80, 90]], ["point", "reversed"])
    assert (np.asarray(drawn) != 128).any()


def test_tiny_picture():
    assert draw_boxes(np.zeros((8, 8, 3), np.uint8), [[0, 0, 8, 8]], ["triangle"], [0.5]).size == (8, 8)


def test_pillow_without_sized_font(monkeypatch):
    small = ImageFont.load_default_imagefont() if hasattr(ImageFont, "load_default_imagefont") else None
    if small is None:
        pytest.skip("this Pillow has only the old font: every test runs with it")

    def old(*args, **options):
        if options:
            raise TypeError("load_default() got an unexpected keyword argument 'size'")
        return small

    monkeypatch.setattr(ImageFont, "load_default", old)
    drawn = draw_boxes(GRAY, [[50, 60, 90, 100]], ["star \u2605"], [0.5], {"star \u2605": (255, 255, 0)})
    assert (np.asarray(drawn)[50:60, 52:90].max(axis=2) == 0).any()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((GRAY, [[1, 2, 3]], ["a"]), r"boxes have shape \(1, 3\); must be \(N, 4\)"),
        ((GRAY, [[1, 2, 3, np.nan]], ["a"]), "not finite"),
        ((GRAY, [[1, 2, 3, 4]], ["a", "b"]), "1 boxes, but 2 labels; give one"),
        ((GRAY, [[1, 2, 3, 4]], ["a"], []), "1 boxes, but 1 labels and 0 scores"),
        ((GRAY.astype(float), [], []), r"image is float64 \(120, 160, 3\); give a uint8"),
        ((GRAY[..., 0], [], []), r"image is uint8 \(120, 160\)"),
    ],
)
def test_draw_boxes_errors(arguments, message):
    with pytest.raises(UserError, match=message):
        draw_boxes(*arguments)


# draw_labels

PALETTE = np.zeros((256, 3), np.uint8)
PALETTE[:4] = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]
HALVES = np.zeros((120, 160), np.uint8)
HALVES[:, 60:] = 2
HALVES[100:] = 255


def test_colours_are_mixed_and_borders_are_full():
    drawn = np.asarray(draw_labels(GRAY, HALVES, SHAPES, PALETTE, opacity=0.25))
    assert (drawn[:99, :59] == (158, 96, 96)).all()  # 128 + a quarter of the way to 250, 0, 0
    assert (drawn[:99, 61:160] == (96, 96, 158)).all()
    assert (drawn[:100, 59] == PALETTE[0]).all()
    assert (drawn[:100, 60] == PALETTE[2]).all()
    assert (drawn[99, :60] == PALETTE[0]).all()
    assert (drawn[100:120, :160] == 128).all()  # ignored, at the border too
    full = np.asarray(draw_labels(GRAY, HALVES, SHAPES, PALETTE, opacity=1))
    assert (full[:100, :160] == PALETTE[HALVES[:100]]).all()
    other = np.asarray(draw_labels(GRAY, HALVES, SHAPES, PALETTE, opacity=1, ignore_index=2))
    assert (other[:, 61:][:100] == 128).all()
    assert (other[100:120, :160] == PALETTE[255]).all()


def test_a_class_one_pixel_wide_is_seen_in_its_colour():
    labels = np.zeros((48, 64), int)
    labels[:, 30] = 3
    drawn = np.asarray(draw_labels(GRAY[:48, :64], labels, SHAPES, PALETTE, opacity=0.1))
    assert (drawn[:48, 30] == PALETTE[3]).all()
    assert (drawn[:48, 32] != PALETTE[0]).any()


def test_borders_grow_with_the_picture():
    widths = []
    for side in (64, 1400, 2800):
        labels = np.zeros((8, 2 * side - 8), np.uint8)
        labels[:, side:] = 1
        drawn = np.asarray(draw_labels(np.zeros((*labels.shape, 3), np.uint8), labels, SHAPES, PALETTE, opacity=0))
        widths.append(int((drawn[5].max(axis=1) > 0).sum()))
    assert widths == [2, 4, 8]


@pytest.mark.parametrize("size", [(128, 64), (32, 32), (1500, 700), (60, 400)])
def test_every_class_is_in_the_legend_in_letters_that_can_be_read(monkeypatch, size):
    written = []
    original = drawing.ImageDraw.ImageDraw.text

    def record(self, corner, text, *args, **options):
        written.append((text, getattr(options["font"], "size", 11), corner, self.textlength(text, options["font"])))
        return original(self, corner, text, *args, **options)

    monkeypatch.setattr(drawing.ImageDraw.ImageDraw, "text", record)
    width, height = size
    labels = np.arange(width * height).reshape(height, width) * 5 // (width * height) // 2  # 2/5, 2/5, 1/5
    labels[0, 0] = 7
    picture = np.full((height, width, 3), 90, np.uint8)
    drawn = draw_labels(picture, labels, ["road", "traffic light", "sky"], PALETTE)
    assert [text for text, *_ in written] == ["traffic light", "road", "sky", "class 7"]  # largest first
    assert drawn.width >= width
    assert drawn.height > height
    legend = np.asarray(drawn)[height:]
    for _, letters, (left, top), length in written:
        assert letters >= 11
        assert 0 < left < left + length < drawn.width
        assert 0 <= top < top + letters <= legend.shape[0]
    for colour in PALETTE[:3]:
        assert (legend == colour).all(axis=2).sum() >= 80
    assert (picture == 90).all()


def test_long_names_are_cut_before_the_edge(monkeypatch):
    drawn = draw_labels(GRAY[:32, :32], HALVES[:32, :32], ["abcdefgh " * 30], PALETTE)
    assert 100 < drawn.width < 300
    assert (np.asarray(drawn)[32:, -2:] == 255).all()


def test_nothing_but_ignored_pixels():
    drawn = draw_labels(Image.fromarray(GRAY), np.full((120, 160), 255), SHAPES, PALETTE)
    assert (np.asarray(drawn) == 128).all()
    assert drawn.size == (160, 120)


def test_label_errors():
    with pytest.raises(UserError, match=r"labels are uint8 \(120, 100\); give whole numbers of the picture's size"):
        draw_labels(GRAY, HALVES[:, :100], SHAPES, PALETTE)
    with pytest.raises(UserError, match="labels are float64"):
        draw_labels(GRAY, HALVES / 2, SHAPES, PALETTE)
    with pytest.raises(UserError, match=r"labels go from 0 to 2; the palette has colours for 0\.\.1"):
        draw_labels(GRAY, HALVES, SHAPES, PALETTE[:2])
    with pytest.raises(UserError, match="opacity is 2; it must be from 0 to 1"):
        draw_labels(GRAY, HALVES, SHAPES, PALETTE, opacity=2)


# plot_training


def _train(count, **parts):
    return [
        {"kind": "train", "iteration": i, "epoch": i / 10, "loss": 5 - i / 40, "lr": 0.1, **parts} for i in range(count)
    ]


def _evals(count):
    return [{"kind": "eval", "iteration": 20 * i, "epoch": 2 * i, "AP": 0.1 * i, "AP50": 0.2 * i} for i in range(count)]


def _panels(monkeypatch, history, path):
    """The axes that were drawn."""
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


# plot_sheet


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
