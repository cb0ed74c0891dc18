"""Class names come in the order in which PaddleDetection numbers the classes."""

import json

import pytest

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")

from densebone.tasks.detection.classes import categories_of


def test_categories_are_in_the_order_of_the_file_as_the_toolkit_has_them(tmp_path):
    from ppdet.data.source.category import get_categories

    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}],
        "annotations": [],
        "categories": [{"id": 9, "name": "dog"}, {"id": 2, "name": "cat"}],
    }
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content))
    ours = categories_of({"TestDataset": {"dataset_dir": str(tmp_path), "anno_path": "a.json"}})
    class_to_category, names = get_categories("COCO", str(file))
    assert ours == [(class_to_category[i], names[class_to_category[i]]) for i in range(2)] == [(9, "dog"), (2, "cat")]


def test_without_a_file_the_80_of_coco_or_numbers(capsys):
    ours = categories_of({"num_classes": 80})
    assert (len(ours), ours[0], ours[-1]) == (80, (1, "person"), (90, "toothbrush"))
    assert categories_of({"num_classes": 2}) == [(0, "class 0"), (1, "class 1")]
    assert "class names are unknown" in capsys.readouterr().err


def test_a_text_file_of_names(tmp_path):
    (tmp_path / "labels.txt").write_text("background\ncat\ndog\n")
    ours = categories_of({"TestDataset": {"dataset_dir": str(tmp_path), "anno_path": "labels.txt"}})
    assert ours == [(0, "cat"), (1, "dog")]
