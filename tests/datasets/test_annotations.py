"""What the checks of boxes do, step by step, on sets of one or two pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densebone import UserError
from densebone.datasets.annotations import Annotations, Picture, check_boxes, locate, match_classes
from densebone.datasets.report import Report, few


def annotations(boxes, size=(100, 50), labels=None, areas=None, masks=None, names=("a.jpg",)):
    """Boxes on the first picture, of classes cat and dog in turn."""
    count = len(boxes)
    return Annotations(
        "a.json",
        [Picture(number, name, *size) for number, name in enumerate(names)],
        ["cat", "dog"],
        [3, 5],
        np.zeros(count, int),
        np.array([number % 2 for number in range(count)] if labels is None else labels, int),
        np.array(boxes, float).reshape(-1, 4),
        np.array([np.nan] * count if areas is None else areas, float),
        np.zeros(count, bool),
        np.zeros(count, bool),
        np.array([f"annotation {number}" for number in range(count)], object),
        masks,
    )


def save(folder, name="a.jpg", size=(100, 50), orientation=None):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.new("RGB", size).save(path, exif=exif)
    return path


def test_a_box_may_overhang_by_two_pixels_or_two_percent():
    found, report = annotations([[-2, -2, 104, 54], [0, 0, 102, 10]]), Report("X")
    check_boxes(found, report)
    assert found.boxes.tolist() == [[-2, -2, 104, 54], [0, 0, 102, 10]] and report.lines() == []


def test_a_box_that_overhangs_by_more_is_cut():
    found, report = annotations([[60, 20, 60, 60], [-10, 5, 40, 20]]), Report("X")
    check_boxes(found, report)
    assert found.boxes.tolist() == [[60, 20, 40, 30], [0, 5, 30, 20]] and found.area.tolist() == [1200, 600]
    assert report.lines() == [
        "X: boxes that reach beyond their pictures, cut at the edge: 2 (annotation 0 of a.jpg [60, 20, 60, 60], "
        "annotation 1 of a.jpg [-10, 5, 40, 20])"
    ]


def test_a_box_whose_centre_is_outside_is_left_out():
    found, report = annotations([[90, 20, 30, 10], [10, 10, 20, 20]]), Report("X")
    check_boxes(found, report)
    assert found.boxes.tolist() == [[10, 10, 20, 20]]
    with pytest.raises(
        UserError, match=r"X: boxes outside their pictures, left out: 1 .*; mend the data, or leave out"
    ):
        report.refuse_drops()


def test_nothing_left_is_refused():
    with pytest.raises(UserError, match=r"zero or negative size, left out: 2 .*; no box of a.json can be used"):
        check_boxes(annotations([[1, 1, 0, 5], [1, 1, 5, -5]]), Report("X"))


def test_areas_are_kept_where_there_are_some():
    found = annotations([[1, 1, 10, 10], [2, 2, 10, 10], [3, 3, 10, 10]], areas=[42, np.nan, 0])
    check_boxes(found, Report("X"))
    assert found.area.tolist() == [42, 100, 100]


def test_two_equal_boxes_of_different_classes_stay():
    found, report = annotations([[1, 1, 10, 10]] * 4, labels=[0, 1, 0, 0]), Report("X")
    check_boxes(found, report)
    assert found.label.tolist() == [0, 1]
    assert "repeat another one, left out: 2" in report.lines()[0]


def test_boxes_without_a_mask_where_masks_are_learned():
    found, report = annotations([[1, 1, 10, 10], [2, 2, 10, 10]], masks=[None, [[1, 1, 2, 2, 3, 1]]]), Report("X")
    check_boxes(found, report)
    assert len(found) == len(found.masks) == 1 and "without a usable mask, left out: 1" in report.lines()[0]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_are_turned_as_pillow_turns_the_picture(tmp_path, orientation):
    """A white rectangle in the stored picture is where the turned box says in the picture as it is shown."""
    from PIL import ImageDraw, ImageOps

    picture = Image.new("L", (100, 60))
    ImageDraw.Draw(picture).rectangle([10, 20, 39, 29], fill=255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.jpg", exif=exif, quality=100)
    polygon = [[10, 20, 40, 20, 40, 30, 10, 30]]
    found, report = annotations([[10, 20, 30, 10]], size=(100, 60), areas=[300], masks=[polygon]), Report("X")
    locate(found, [tmp_path], report)
    assert (found.pictures[0].width, found.pictures[0].height) == (60, 100)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))) > 128
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    right = [columns[0], rows[0], len(columns), len(rows)]
    assert found.boxes.tolist() == [right] and found.area.tolist() == [300]
    points = np.reshape(found.masks[0][0], (-1, 2))
    assert [*points.min(0), *np.ptp(points, 0)] == right
    assert "whose boxes are turned with them: 1 (a.jpg)" in report.lines()[0]


def test_boxes_drawn_on_the_picture_as_shown_stay(tmp_path):
    save(tmp_path, size=(60, 100), orientation=6)
    found, report = annotations([[10, 20, 30, 10]], size=(100, 60)), Report("X")
    locate(found, [tmp_path], report)
    assert found.boxes.tolist() == [[10, 20, 30, 10]] and report.lines() == []


def test_a_picture_that_exif_mirrors_is_named(tmp_path):
    save(tmp_path, orientation=3)
    found, report = annotations([[10, 20, 30, 10]]), Report("X")
    locate(found, [tmp_path], report)
    assert "taken as of the picture as it is shown: 1 (a.jpg)" in report.lines()[0]


def test_a_picture_in_another_size_than_its_annotations(tmp_path):
    save(tmp_path, size=(50, 25))
    found, report = annotations([[10, 20, 30, 10]], areas=[300], masks=[[[10, 20, 40, 20, 40, 30]]]), Report("X")
    locate(found, [tmp_path], report)
    assert found.boxes.tolist() == [[5, 10, 15, 5]] and found.area.tolist() == [75]
    assert found.masks == [[[5, 10, 20, 10, 20, 15]]]
    assert report.lines() == [
        "X: pictures of another size than their boxes were drawn on, which are scaled: 1 (a.jpg 100 x 50, is 50 x 25)"
    ]


@pytest.mark.parametrize(
    ("listed", "stored"),
    [
        ("sub/a.jpg", "sub/a.jpg"),
        ("sub\\a.jpg", "sub/a.jpg"),
        ("C:\\pictures\\a.jpg", "a.jpg"),
        ("/home/somebody/a.jpg", "sub/a.jpg"),
        ("A.JPG", "a.jpg"),
        ("caf\u0065\u0301.jpg", "caf\u00e9.jpg"),
        ("my picture (1).jpg", "my picture (1).jpg"),
        ("my%20picture%20%281%29.jpg", "my picture (1).jpg"),
        ("100%.jpg", "100%.jpg"),
    ],
)
def test_spellings_of_a_picture_that_are_found(tmp_path, listed, stored):
    path = save(tmp_path, stored)
    found = annotations([[1, 1, 5, 5]], names=(listed,))
    locate(found, [tmp_path], Report("X"))
    assert found.pictures[0].path.samefile(path)


def test_a_name_that_two_files_have_is_not_guessed(tmp_path):
    save(tmp_path, "x/a.jpg"), save(tmp_path, "y/a.jpg"), save(tmp_path, "b.jpg")
    found, report = annotations([[1, 1, 5, 5]], names=("a.jpg", "b.jpg")), Report("X")
    locate(found, [tmp_path], report)
    assert [picture.name for picture in found.pictures] == ["b.jpg"] and not len(found)
    assert report.lines() == [f"X: pictures that are not in {tmp_path} and are left out: 1 (a.jpg)"]


def test_two_names_that_would_be_one_file_are_not_guessed(tmp_path):
    save(tmp_path, "a.jpg"), save(tmp_path, "b.jpg")
    found, report = annotations([[1, 1, 5, 5]], names=("x/a.jpg", "y/a.jpg", "b.jpg")), Report("X")
    locate(found, [tmp_path], report)
    assert [picture.name for picture in found.pictures] == ["b.jpg"]


def test_a_format_that_the_toolkits_do_not_read_is_named(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "a.jpg", "GIF")
    with pytest.raises(UserError, match=r"a.jpg is a GIF, whatever its name .*; convert it to JPEG or PNG"):
        locate(annotations([]), [tmp_path], Report("X"))


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "a.jpg").write_text("text")
    with pytest.raises(
        UserError, match=r"a.jpg is not a picture \(one of 1 such files\); mend it, or take it out of a.json"
    ):
        locate(annotations([]), [tmp_path], Report("X"))
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"none of the 1 pictures that a.json lists is in .* \(a.jpg\)"):
        locate(annotations([]), [tmp_path], Report("X"))


@pytest.mark.parametrize(
    ("classes", "labels", "ids"),
    [
        (["dog", "cat"], [1, 0], [5, 3]),
        (["Dog", "CAT "], [1, 0], [5, 3]),
        (["cow", "cat", "dog"], [1, 2], [6, 3, 5]),
    ],
)
def test_classes_are_matched_by_name(classes, labels, ids):
    found = annotations([[1, 1, 5, 5], [2, 2, 5, 5]])
    match_classes(found, classes, Report("X"))
    assert (found.label.tolist(), found.classes, found.category_ids) == (labels, classes, ids)


def test_an_exact_name_goes_before_one_in_another_case():
    found = annotations([[1, 1, 5, 5], [2, 2, 5, 5]])
    found.classes = ["cat", "Cat"]
    match_classes(found, ["Cat", "cat"], Report("X"))
    assert found.label.tolist() == [1, 0]


def test_boxes_of_unknown_classes_are_left_out():
    found, report = annotations([[1, 1, 5, 5], [2, 2, 5, 5]]), Report("X")
    match_classes(found, ["dog"], report)
    assert found.label.tolist() == [0] and found.boxes.tolist() == [[2, 2, 5, 5]]
    assert report.lines() == ["X: boxes of class 'cat', which the network does not know, left out: 1"]
    with pytest.raises(
        UserError, match="has the classes cat, dog, and the network was trained on cow; none is in both"
    ):
        match_classes(annotations([]), ["cow"], Report("X"))


def test_a_report_is_short():
    report = Report("X")
    report.note("odd", range(100))
    report.drop("bad", ["a", "b"])
    report.note("none", [])
    assert report.lines() == ["X: bad: 2 (a, b)", "X: odd: 100 (0, 1, 2, ...)"]
    assert few(["a", "b", "c"], 2) == "a, b, ..." and few(["a", "b"], 2) == "a, b"


def test_paths_of_listed_pictures_are_searched_in_several_folders(tmp_path):
    path = save(tmp_path / "val2017")
    found = annotations([], names=("val2017/a.jpg",))
    locate(found, [tmp_path / "val2017", Path(tmp_path)], Report("X"))
    assert found.pictures[0].path == path
