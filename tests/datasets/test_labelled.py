"""Labelled pictures in folders and lists; tests/tasks/classification/test_layouts.py has the layouts on top of them."""

import pytest
from PIL import Image

from densebone import UserError
from densebone.datasets.imagenet import SYNSETS
from densebone.datasets.labelled import class_folders, read_folders, read_list, readable
from densebone.datasets.report import Report


@pytest.fixture
def folder(tmp_path):
    for name in ("cat/a.png", "cat/deep/b.PNG", "dog/c.png", ".cache/d.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), "red").save(path)
    (tmp_path / "cat" / "._a.png").write_text("a hidden file of macOS")
    return tmp_path


def test_hidden_folders_and_files_are_no_classes_and_no_pictures(folder):
    found = class_folders(folder)
    assert found == ["cat", "dog"]
    pictures = read_folders(folder, found, found, 2, "train", Report("X"))
    assert [name.rpartition("/")[2] for name in pictures.pictures] == ["a.png", "b.PNG", "c.png"]
    assert pictures.labels.tolist() == [0, 0, 1]
    assert pictures.read(2).size == (8, 6)


def test_labels_of_a_list_without_names_ignore_hidden_files(folder):
    (folder / "._x.jpg").write_text("a hidden file of macOS")
    Image.new("RGB", (8, 6)).save(folder / "x.jpg")
    (folder / "val.txt").write_text("1\n")
    pictures = read_list(folder / "val.txt", [folder], 2, None, in_order=folder)
    assert pictures.pictures == [str(folder / "x.jpg")]
    assert pictures.labels.tolist() == [1]


def test_a_part_of_imagenet_serves_a_network_of_all_of_it(folder):
    (folder / "cat").rename(folder / SYNSETS[281])
    pictures = read_folders(folder, [SYNSETS[281]], [SYNSETS[281]], 1000, "val", Report("X"))
    assert set(pictures.labels.tolist()) == {281}
    assert readable([SYNSETS[281], "dog"]) == ["tabby", "dog"]
    with pytest.raises(UserError, match=r"has 1 classes, and model\.num_classes is 10"):
        read_folders(folder, [SYNSETS[281]], [SYNSETS[281]], 10, "val", Report("X"))
