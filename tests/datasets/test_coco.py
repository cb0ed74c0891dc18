"""COCO's annotation files: what is read, and what is refused in one line."""

import json

import pytest

from densebone import UserError
from densebone.datasets.coco import check_annotations, check_box, few, read_annotations

CONTENT = {
    "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 50}],
    "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 5, "bbox": [10, 5, 20, 30]}],
}


def test_a_good_file_is_read_and_passes(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps(CONTENT))
    content = read_annotations(file)
    assert content == CONTENT
    check_annotations(content, file, num_classes=2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[1]", "has no 'images'"),
        ('{"images": []}', "has no 'categories'"),
        ('{"images": [], "categories": []}', "lists no pictures"),
    ],
)
def test_other_files_are_refused(tmp_path, text, words):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=words):
        read_annotations(tmp_path / "a.json", "TrainDataset")
    with pytest.raises(UserError, match=r"gone\.json does not exist; set TrainDataset.anno_path"):
        read_annotations(tmp_path / "gone.json", "TrainDataset")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_id": 8}, "belongs to picture 8, which the file does not list"),
        ({"category_id": 4}, r"has category 4, .* it defines 3 \(cat\), 5 \(dog\)"),
        ({"bbox": [10, 5, 200, 30]}, "outside its picture of 100 x 50 pixels"),
        ({"bbox": [10, 5, 20]}, r"has the box \[10, 5, 20\]; \[x, y, width, height\] in pixels is expected"),
    ],
)
def test_annotations_that_are_refused(change, words):
    content = {**CONTENT, "annotations": [{**CONTENT["annotations"][0], **change}]}
    with pytest.raises(UserError, match=words):
        check_annotations(content, "a.json", num_classes=2)


def test_more_categories_than_classes():
    with pytest.raises(UserError, match=r"a\.json has 2 categories but num_classes is 1; -o num_classes=2"):
        check_annotations(CONTENT, "a.json", num_classes=1)


def test_a_box_may_overhang_by_two_pixels_or_two_percent():
    check_box([-2, -2, 104, 54], (100, 50), "a")
    check_box([-20, 0, 1040, 10], (1000, 50), "a")
    with pytest.raises(UserError, match="outside its picture"):
        check_box([-2.1, 0, 10, 10], (100, 50), "a")


def test_a_long_list_is_cut():
    assert few(["a", "b", "c"], 2) == "a, b, ..."
    assert few(["a", "b"], 2) == "a, b"
