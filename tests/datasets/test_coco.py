"""COCO's annotation files: what is read, in which spellings, and what is refused in one line."""

import gzip
import json
import math

import numpy as np
import pytest

from densebone import UserError
from densebone.datasets import coco
from densebone.datasets.report import Report

CONTENT = {
    "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 50}],
    "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 5, "bbox": [10, 5, 20, 30]}],
}
TEXT = json.dumps(CONTENT)


def read(folder, content, masks=False):
    """(annotations, report lines) of a file with this content, a dict, a text or bytes."""
    file, report = folder / "a.json", Report("X")
    data = content if isinstance(content, (str, bytes)) else json.dumps(content)
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return coco.read(file, report, masks), report.lines()


def annotation(**changes):
    return {**CONTENT, "annotations": [{**CONTENT["annotations"][0], **changes}]}


@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        "\ufeff" + TEXT,
        gzip.compress(TEXT.encode()),
        TEXT.encode("utf-16"),
        TEXT + "\n",
        json.dumps(CONTENT, indent=2),
    ],
    ids=["plain", "byte-order mark", "gzip", "UTF-16", "newline", "indented"],
)
def test_a_good_file_in_every_packing(tmp_path, data):
    found, lines = read(tmp_path, data)
    assert (found.classes, found.category_ids, found.label.tolist()) == (["cat", "dog"], [3, 5], [1])
    assert [(p.id, p.name, p.width, p.height) for p in found.pictures] == [(7, "a.jpg", 100, 50)]
    assert found.boxes.tolist() == [[10, 5, 20, 30]] and not found.crowd.any()
    assert lines == ["X: annotations without an area, which is that of their mask, or else of their box: 1"]
    assert coco.read_categories(tmp_path / "a.json") == [(3, "cat"), (5, "dog")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[1]", "has no 'images'"),
        ('{"images": []}', "has no 'categories'"),
        ('{"images": [], "categories": []}', "lists no pictures"),
        ('{"images": {}, "categories": []}', "is not COCO's .*; a COCO annotation file is expected"),
        ('{"images": [5], "categories": []}', "is not COCO's"),
        (TEXT + "\n" + TEXT, "holds one JSON value in each line"),
        ("[" * 100_000, "has no 'images'"),
        ('{"images": [{"id": ' + "9" * 5000 + "}]}", "is not JSON"),
        (gzip.compress(TEXT.encode())[:-12], "cannot be read"),
    ],
)
def test_other_files_are_refused(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        read(tmp_path, text)
    with pytest.raises(UserError, match=r"gone\.json does not exist; set TrainDataset.anno_path"):
        coco.read(tmp_path / "gone.json", Report("TrainDataset"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"category_id": 4}, r"has category 4, .* it defines 3 \(cat\), 5 \(dog\)"),
        ({"category_id": None}, "has category None"),
        ({"image_id": 8}, "annotations of pictures that .* does not list, left out: 1 .*; no annotation can be used"),
    ],
)
def test_annotations_that_are_refused(tmp_path, change, words):
    with pytest.raises(UserError, match=words):
        read(tmp_path, annotation(**change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"images": [*CONTENT["images"], {"id": 7, "file_name": "b.jpg"}]},
            "two pictures with the id 7, a.jpg and b.jpg",
        ),
        ({"images": [{"id": 7}]}, "picture 7 has the file_name None"),
        ({"images": [{"file_name": "a.jpg"}]}, "a picture with the id None"),
        ({"categories": [{"id": 3, "name": "cat"}, {"id": 3, "name": "dog"}]}, "two categories with the id 3"),
        ({"categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "cat "}]}, "two categories with the name 'cat'"),
    ],
)
def test_lists_that_contradict_themselves(tmp_path, change, words):
    with pytest.raises(UserError, match=words):
        read(tmp_path, {**CONTENT, **change})


@pytest.mark.parametrize(
    ("image_id", "category_id"),
    [("7", "5"), (7.0, 5.0), ("7", 5.0)],
)
def test_ids_of_other_types_are_understood(tmp_path, image_id, category_id):
    found, _ = read(tmp_path, annotation(image_id=image_id, category_id=category_id))
    assert (found.picture.tolist(), found.label.tolist()) == ([0], [1])


def test_texts_with_zeros_in_front_are_ids_of_their_own(tmp_path):
    images = [{"id": "007", "file_name": "a.jpg"}, {"id": "7", "file_name": "b.jpg"}]
    found, _ = read(tmp_path, {**annotation(image_id="7"), "images": images})
    assert found.picture.tolist() == [1]


@pytest.mark.parametrize(
    ("value", "is_crowd"),
    [(0, False), (1, True), (True, True), ("0", False), ("1", True), ("false", False), (None, False)],
)
def test_spellings_of_iscrowd(tmp_path, value, is_crowd):
    assert read(tmp_path, annotation(iscrowd=value))[0].crowd.tolist() == [is_crowd]
    assert read(tmp_path, annotation(ignore=value))[0].crowd.tolist() == [is_crowd]


@pytest.mark.parametrize(
    ("box", "right"),
    [
        ([10, 5, "20", 30], [10, 5, 20, 30]),
        ([10, 5, 20], None),
        (None, None),
        ("10 5 20 30", None),
        ([10, 5, None, 30], [10, 5, math.nan, 30]),
        ({"x": 1}, None),
    ],
)
def test_boxes_that_are_no_four_numbers_are_nan(tmp_path, box, right):
    (found,) = read(tmp_path, annotation(bbox=box))[0].boxes
    np.testing.assert_array_equal(found, [math.nan] * 4 if right is None else right)


def test_not_a_number_as_python_writes_it(tmp_path):
    found, _ = read(tmp_path, TEXT.replace("[10, 5, 20, 30]", "[NaN, 5, 20, Infinity]"))
    assert not np.isfinite(found.boxes).all()


SQUARE = [10, 5, 30, 5, 30, 35, 10, 35]


@pytest.mark.parametrize(
    ("segmentation", "mask", "area"),
    [
        ([SQUARE], [SQUARE], 600),
        (SQUARE, [SQUARE], 600),
        ([SQUARE, [1, 2, 3, 4]], [SQUARE], 600),  # two points are no polygon
        ([], None, math.nan),
        (None, None, math.nan),
        ([[1, 2, 3, 4]], None, math.nan),
        ({"size": [50, 100], "counts": [500, 20, 4480]}, {"size": [50, 100], "counts": [500, 20, 4480]}, 20),
        ({"size": [4, 4], "counts": "448"}, {"size": [4, 4], "counts": "448"}, 4),
        ({"counts": "448"}, None, math.nan),
    ],
)
def test_masks_and_their_areas(tmp_path, segmentation, mask, area):
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        pytest.importorskip("pycocotools", reason="packed masks need pycocotools: pip install pycocotools")
    found, _ = read(tmp_path, annotation(segmentation=segmentation), masks=True)
    assert found.masks == [mask]
    np.testing.assert_array_equal(found.area, [area])
    np.testing.assert_array_equal(read(tmp_path, annotation(segmentation=segmentation))[0].area, [area])


@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        ([SQUARE], [10, 5, 20, 30]),
        ({"size": [4, 4], "counts": [4, 4, 8]}, [1, 0, 1, 4]),
        ({"size": [4, 4], "counts": "448"}, [1, 0, 1, 4]),
    ],
)
@pytest.mark.parametrize("masks", [True, False])
def test_without_a_box_it_is_that_of_the_mask(tmp_path, segmentation, box, masks):
    if isinstance(segmentation, dict):
        pytest.importorskip("pycocotools", reason="RLE needs pycocotools: pip install pycocotools")
    for missing in (None, []):
        found, lines = read(tmp_path, annotation(bbox=missing, area=9, segmentation=segmentation), masks)
        assert found.boxes.tolist() == [box] and (found.masks is not None) == masks
        assert lines == ["X: annotations without a box, which is that of their mask: 1"]


def test_ids_of_more_than_64_bits(tmp_path):
    images = [{"id": 10**30, "file_name": "a.jpg"}]
    found, _ = read(tmp_path, {**annotation(image_id=10**30), "images": images})
    assert found.picture.tolist() == [0] and coco.whole_ids([10**30]) == [1]


def test_the_area_of_the_file_counts_where_it_has_one(tmp_path):
    assert read(tmp_path, annotation(area=7, segmentation=[SQUARE]))[0].area.tolist() == [7]


def test_a_list_of_pictures_without_annotations(tmp_path):
    content = {key: CONTENT[key] for key in ("images", "categories")}
    assert not read(tmp_path, content)[0].has_truth
    assert not read(tmp_path, {**content, "annotations": None})[0].has_truth
    assert read(tmp_path, {**content, "annotations": []})[0].has_truth


def test_what_is_written_is_read_by_pycocotools_and_by_us(tmp_path):
    pycocotools = pytest.importorskip("pycocotools.coco", reason="needs pycocotools: pip install pycocotools")
    content = annotation(image_id="img", area=300.5, id=0)
    content["images"] = [{"id": "img", "file_name": "a.jpg", "width": 100, "height": 50}]
    written = coco.content_of(read(tmp_path, content)[0])
    (tmp_path / "b.json").write_text(json.dumps(written))
    theirs = pycocotools.COCO(str(tmp_path / "b.json"))
    (row,) = theirs.loadAnns(theirs.getAnnIds(imgIds=[1]))
    assert (row["id"], row["image_id"], row["category_id"], row["iscrowd"], row["area"]) == (1, 1, 5, 0, 300.5)
    assert row["bbox"] == [10, 5, 20, 30]


def test_ids_stay_where_the_toolkits_can_hold_them():
    assert coco.whole_ids([3, 0, 9]) == [3, 0, 9]
    assert coco.whole_ids(["a", 4]) == coco.whole_ids([-1, 4]) == coco.whole_ids([2**60, 4]) == [1, 2]
