"""Sample sets in the layout of COCO: layout, repeatability, exact boxes, no half sets."""

import json
import os
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from densebone.datasets.generated import CATEGORIES, MARKER, MAX_BOX_IOU, coco, write_coco
from densebone.errors import UserError

ARGUMENTS = {"train": 8, "val": 4, "size": (96, 160), "seed": 3, "progress": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "coco"
    write_coco(folder, **ARGUMENTS)
    return folder


def _annotations(folder, split):
    return json.loads((folder / "annotations" / f"instances_{split}2017.json").read_text())


def _files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _all_objects(folder):
    """(image row, annotation) of both splits."""
    for split in ("train", "val"):
        content = _annotations(folder, split)
        images = {image["id"]: image for image in content["images"]}
        for row in content["annotations"]:
            yield images[row["image_id"]], row


def test_layout(folder):
    names = [f"train2017/{number:012d}.jpg" for number in range(1, 9)]
    names += [f"val2017/{number:012d}.jpg" for number in range(9, 13)]
    names += ["annotations/instances_train2017.json", "annotations/instances_val2017.json", MARKER]
    assert sorted(_files(folder)) == sorted(names)
    assert os.listdir(folder.parent) == ["coco"]


def test_summary(tmp_path, folder):
    summary = write_coco(tmp_path / "set", train=2, val=1, size=64, progress=False)
    assert summary.folder == tmp_path / "set"
    assert summary.pictures == {"train": 2, "val": 1}
    assert summary.boxes == {
        split: len(_annotations(tmp_path / "set", split)["annotations"]) for split in ("train", "val")
    }
    assert summary.classes == ("circle", "square", "triangle", "star")
    assert summary.present is False
    with Image.open(tmp_path / "set" / "val2017" / "000000000003.jpg") as picture:
        assert picture.size == (64, 64)


@pytest.mark.parametrize("split", ["train", "val"])
def test_fields_are_those_of_coco(folder, split):
    content = _annotations(folder, split)
    assert list(content) == ["info", "licenses", "images", "annotations", "categories"]
    assert [(row["id"], row["name"], row["supercategory"]) for row in content["categories"]] == list(CATEGORIES)
    for image in content["images"]:
        with Image.open(folder / f"{split}2017" / image["file_name"]) as picture:
            assert picture.format == "JPEG"
            assert picture.mode == "RGB"
            assert picture.size == (image["width"], image["height"])
        assert 96 <= min(picture.size) <= max(picture.size) <= 160
        assert image["license"] == content["licenses"][0]["id"]
    per_image = np.bincount([row["image_id"] for row in content["annotations"]])
    assert all(1 <= per_image[image["id"]] <= 5 for image in content["images"])
    fields = {"segmentation", "area", "iscrowd", "image_id", "bbox", "category_id", "id"}
    assert all(set(row) == fields and row["iscrowd"] == 0 for row in content["annotations"])


def test_identifiers_are_unique_over_both_splits(folder):
    rows = [row["id"] for _, row in _all_objects(folder)]
    assert rows == list(range(1, len(rows) + 1))


def test_pictures_differ_in_size_and_content(folder):
    sizes = {(image["width"], image["height"]) for image, _ in _all_objects(folder)}
    assert len(sizes) > 6
    pictures = [content for name, content in _files(folder).items() if name.endswith(".jpg")]
    assert len(set(pictures)) == 12


def test_boxes_lie_in_the_picture_and_fit_the_polygon(folder):
    for image, row in _all_objects(folder):
        x, y, width, height = row["bbox"]
        assert all(type(value) is float for value in row["bbox"])
        assert x >= 0 and y >= 0 and x + width <= image["width"] and y + height <= image["height"]
        points = np.reshape(row["segmentation"][0], (-1, 2))
        extent = [*points.min(axis=0), *points.max(axis=0)]
        np.testing.assert_allclose([x, y, x + width, y + height], extent, atol=0.2)
        relative = max(width, height) / min(image["width"], image["height"])
        assert 0.14 < relative < 0.47


def test_boxes_and_areas_fit_a_mask_drawn_another_way(folder):
    """A half-plane test on 8 sub-pixels per side, not Pillow, fills the polygon."""
    for image, row in list(_all_objects(folder))[:12]:
        points = np.reshape(row["segmentation"][0], (-1, 2))
        x, y = ((np.arange(8 * image[side]) + 0.5) / 8 for side in ("width", "height"))
        mask = _inside(points, x, y)
        columns, rows = x[mask.any(axis=0)], y[mask.any(axis=1)]
        left, top, width, height = row["bbox"]
        seen = [columns[0], rows[0], columns[-1], rows[-1]]
        np.testing.assert_allclose([left, top, left + width, top + height], seen, atol=0.5)
        np.testing.assert_allclose(mask.sum() / 64, row["area"], rtol=0.02)


def _inside(points, x, y):
    """Even-odd rule for all (y, x): count the edges that a ray to the left crosses."""
    inside = np.zeros((len(y), len(x)), bool)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0)):
        spans = (y1 > y) != (y2 > y)
        crossing = x1 + (y[spans] - y1) * (x2 - x1) / (y2 - y1)
        inside[spans] ^= x[None, :] > crossing[:, None]
    return inside


def test_the_object_is_where_its_polygon_is(folder):
    """Inside and outside of the outline differ in colour, in the JPEG that was written."""
    strength = []
    for split in ("train", "val"):
        content = _annotations(folder, split)
        names = {image["id"]: image["file_name"] for image in content["images"]}
        for row in content["annotations"]:
            with Image.open(folder / f"{split}2017" / names[row["image_id"]]) as picture:
                pixels = np.asarray(picture, float)
            inner, outer = (_outline_mask(row, pixels.shape, scale) for scale in (0.7, 1.35))
            around = outer & ~_outline_mask(row, pixels.shape, 1.15)
            strength.append(np.abs(np.median(pixels[inner], axis=0) - np.median(pixels[around], axis=0)).sum())
    assert np.median(strength) > 120
    assert np.mean(np.array(strength) > 60) > 0.9


def _outline_mask(row, shape, scale):
    points = np.reshape(row["segmentation"][0], (-1, 2))
    middle = points.mean(axis=0)
    mask = Image.new("1", (shape[1], shape[0]))
    ImageDraw.Draw(mask).polygon([tuple(point) for point in middle + scale * (points - middle)], fill=1)
    return np.asarray(mask)


def test_boxes_overlap_little(folder):
    for split in ("train", "val"):
        boxes = {}
        for row in _annotations(folder, split)["annotations"]:
            others = boxes.setdefault(row["image_id"], [])
            assert all(coco._box_iou(row["bbox"], other) < MAX_BOX_IOU for other in others)
            others.append(row["bbox"])


def test_box_iou_by_hand():
    assert coco._box_iou((0, 0, 4, 4), (2, 2, 4, 4)) == pytest.approx(4 / 28)
    assert coco._box_iou((0, 0, 4, 4), (4, 0, 4, 4)) == 0
    assert coco._box_iou((1, 2, 3, 4), (1, 2, 3, 4)) == 1


def _square(left, top, side):
    corners = [(left, top), (left + side, top), (left + side, top + side), (left, top + side)]
    return coco._rasterise(np.array(corners, float), "square", 64, 64)


def test_drawn_square_by_hand():
    shape = _square(10.5, 20, 8)
    assert shape.box == pytest.approx((10.5, 20, 8, 8), abs=0.25)
    assert shape.coverage[24, 14] == 1
    assert shape.coverage[24, 10] == pytest.approx(0.5, abs=0.26)
    assert shape.coverage.sum() == pytest.approx(64, rel=0.1)


def test_what_may_lie_behind_what():
    large = _square(10, 10, 30)
    assert coco._fits(large, [])
    assert coco._fits(large, [_square(20, 20, 8)])
    triangle = coco._rasterise(np.array([(10, 40), (50, 40), (30, 10.0)]), "triangle", 64, 64)
    assert coco._fits(triangle, [_square(25, 25, 10)])
    assert not coco._fits(triangle, [_square(24, 24, 12)])  # hides 144 of its 600 pixels
    assert not coco._fits(_square(30, 20, 15), [large])  # the box would shrink
    assert not coco._fits(large, [_square(14, 14, 29)])  # boxes too much alike


def test_pycocotools_loads_it(folder, capsys):
    module = pytest.importorskip("pycocotools.coco", reason="pycocotools comes with the extra 'detection'")
    loaded = module.COCO(str(folder / "annotations" / "instances_val2017.json"))
    assert loaded.getCatIds() == [1, 3, 7, 18]
    assert loaded.getImgIds() == [9, 10, 11, 12]
    for row in loaded.loadAnns(loaded.getAnnIds()):
        mask = loaded.annToMask(row)
        assert mask.sum() == pytest.approx(row["area"], rel=0.08)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y, width, height = row["bbox"]
        seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose([x, y, x + width, y + height], seen, atol=1.5)


def test_same_arguments_same_bytes(folder, tmp_path):
    write_coco(tmp_path / "again", **ARGUMENTS)
    assert _files(tmp_path / "again") == _files(folder)


def test_more_pictures_begin_with_the_same(folder, tmp_path):
    write_coco(tmp_path / "more", **{**ARGUMENTS, "train": 9})
    first, more = _files(folder), _files(tmp_path / "more")
    assert first["train2017/000000000008.jpg"] == more["train2017/000000000008.jpg"]
    assert first["val2017/000000000009.jpg"] == more["val2017/000000000010.jpg"]


def test_another_seed_other_pictures(folder, tmp_path):
    write_coco(tmp_path / "other", **{**ARGUMENTS, "seed": 4})
    first, other = _files(folder), _files(tmp_path / "other")
    pictures = [name for name in first if name.endswith(".jpg")]
    assert not {first[name] for name in pictures} & {other[name] for name in pictures}


def test_all_classes_appear(folder):
    assert {row["category_id"] for _, row in _all_objects(folder)} == {1, 3, 7, 18}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_interrupted_run_leaves_nothing(tmp_path, monkeypatch, error):
    draw = coco._draw_scene
    drawn = []

    def interrupted(rng, sides):
        drawn.append(1)
        if len(drawn) == 10:
            raise error
        return draw(rng, sides)

    monkeypatch.setattr(coco, "_draw_scene", interrupted)
    with pytest.raises(error):
        write_coco(tmp_path / "a" / "coco", **ARGUMENTS)
    assert len(drawn) == 10
    assert os.listdir(tmp_path / "a") == []
    monkeypatch.undo()
    assert write_coco(tmp_path / "a" / "coco", **ARGUMENTS).present is False


def test_present_set_is_kept(folder, monkeypatch):
    before = _files(folder)
    monkeypatch.setattr(coco, "_draw_scene", lambda *args: pytest.fail("drew again"))
    summary = write_coco(str(folder), **ARGUMENTS)
    assert summary.present is True
    assert summary.boxes == {split: len(_annotations(folder, split)["annotations"]) for split in ("train", "val")}
    assert _files(folder) == before


def test_empty_folder_is_taken(tmp_path):
    (tmp_path / "coco").mkdir()
    write_coco(tmp_path / "coco", train=1, val=1, size=32, progress=False)
    assert (tmp_path / "coco" / MARKER).is_file()


def test_progress_bar_is_optional(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    write_coco(tmp_path / "quiet", train=1, val=1, size=32, progress=False)
    assert capsys.readouterr().err == ""
    write_coco(tmp_path / "loud", train=1, val=1, size=32)
    assert "sample pictures" in capsys.readouterr().err


def test_folder_with_something_else(tmp_path, folder):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"exists and is not empty, and holds no set .*give another folder"):
        write_coco(tmp_path, **ARGUMENTS)
    assert os.listdir(tmp_path) == ["notes.txt"]
    with pytest.raises(UserError, match=r"a set made with train=8, seed=3; give another"):
        write_coco(folder, **{**ARGUMENTS, "train": 7, "seed": 5})
    (tmp_path / MARKER).write_text("[]")
    with pytest.raises(UserError, match="holds no set that densebone made"):
        write_coco(tmp_path, **ARGUMENTS)


@pytest.mark.parametrize("lost", ["val2017/000000000002.jpg", "annotations/instances_val2017.json"])
def test_set_that_lost_files(tmp_path, lost):
    arguments = {"train": 1, "val": 1, "size": 32, "progress": False}
    write_coco(tmp_path / "coco", **arguments)
    (tmp_path / "coco" / lost).unlink()
    with pytest.raises(UserError, match=r"lost files of val2017; delete it and write it again"):
        write_coco(tmp_path / "coco", **arguments)


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file, and a data set needs a folder"):
        write_coco(tmp_path / "file", **ARGUMENTS)
    with pytest.raises(UserError, match=r"cannot write into the folder .*file \("):
        write_coco(tmp_path / "file" / "coco", **ARGUMENTS)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"train": 0}, r"train=0: .*at least 1"),
        ({"val": -1}, r"val=-1: .*at least 1"),
        ({"val": 2.5}, r"val=2\.5: .*whole number"),
        ({"train": True}, r"train=True"),
        ({"size": 31}, r"size=31: .*from 32 to 4096"),
        ({"size": (20, 64)}, r"size=\(20, 64\)"),
        ({"size": (64, 48)}, r"size=\(64, 48\): .*\(smallest, largest\)"),
        ({"size": (64, 64, 64)}, r"size=\(64, 64, 64\)"),
        ({"size": "big"}, r"size='big'"),
        ({"seed": -1}, r"seed=-1: .*at least 0"),
        ({"seed": "x"}, r"seed='x'"),
    ],
)
def test_arguments_out_of_range(tmp_path, wrong, message):
    with pytest.raises(UserError, match=message) as caught:
        write_coco(tmp_path / "coco", **{**ARGUMENTS, **wrong})
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []
