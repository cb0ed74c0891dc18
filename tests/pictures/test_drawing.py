"""Drawings on pictures, looked at pixel by pixel."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from densebone.errors import UserError
from densebone.pictures import drawing
from densebone.pictures.drawing import class_colours, draw_boxes, draw_labels, fit_text

GRAY = np.full((120, 160, 3), 128, np.uint8)
SHAPES = ["circle", "square", "triangle", "star"]


def _changed(drawn, image=GRAY):
    """(top, left, bottom, right) of the pixels that differ from the image, bottom and right exclusive."""
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
    """The plate lies completely inside the picture, with all of its letters."""
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


def test_a_text_of_several_lines_is_drawn_as_one():
    draw = ImageDraw.Draw(Image.new("RGB", (200, 40)))
    assert fit_text(draw, "two\nlines", 12, 200)[0] == "two\\nlines"
