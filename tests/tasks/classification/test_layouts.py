"""The layouts of data that classification reads, and what is said of those that are wrong."""

import pickle
import re
import tarfile

import numpy as np
import paddle
import pytest
from tiny_pictures import SYNSETS, cifar, picture, tree

from densebone.datasets.imagenet import NAMES
from densebone.datasets.imagenet import SYNSETS as ALL_SYNSETS
from densebone.datasets.report import Report
from densebone.errors import UserError
from densebone.tasks.classification.layouts import Cifar10, Cifar100, Folder, ImageNetFolder, ListFile


def labels(pictures):
    """(name of the picture, label)."""
    return [(re.split(r"[/\\]", path)[-1], int(label)) for path, label in zip(pictures.pictures, pictures.labels)]


# ImageNet's names


def test_the_thousand_classes():
    assert len(NAMES) == len(set(NAMES)) == len(ALL_SYNSETS) == 1000
    assert list(ALL_SYNSETS) == sorted(ALL_SYNSETS)
    # places that everybody knows of
    assert {0: "tench", 1: "goldfish", 207: "golden retriever", 285: "Egyptian cat", 817: "sports car"}.items() <= dict(
        enumerate(NAMES)
    ).items()
    assert (NAMES[999], NAMES[134], NAMES[517]) == ("toilet tissue", "crane (bird)", "crane (machine)")


# folders


def test_imagenet_folders(tmp_path):
    tree(tmp_path)
    train = ImageNetFolder(root=str(tmp_path)).open("train", 3)
    assert labels(train) == [(f"{i}.png", i // 2) for i in range(6)]
    assert train.classes == ["tench", "goldfish", "great white shark"]
    assert train.read(0).size == (36, 40)
    assert labels(ImageNetFolder(root=str(tmp_path)).open("val", 3)) == [(f"{i}.png", i // 2 - 3) for i in range(6, 12)]


def test_validation_has_the_classes_of_training(tmp_path):
    tree(tmp_path, parts=("train",))
    picture(tmp_path / "val" / SYNSETS[2] / "a.JPEG")
    assert labels(ImageNetFolder(root=str(tmp_path)).open("val", 3)) == [("a.JPEG", 2)]
    picture(tmp_path / "val" / "n99999999" / "b.JPEG")
    report = Report("val_dataset")
    assert labels(ImageNetFolder(root=str(tmp_path)).open("val", 3, None, report)) == [("a.JPEG", 2)]
    (line,) = report.lines()
    assert line.startswith("val_dataset: pictures of 'n99999999', which is no class of the training pictures, left out")
    (tmp_path / "val" / SYNSETS[2] / "a.JPEG").unlink()
    (tmp_path / "val" / SYNSETS[2]).rmdir()
    with pytest.raises(UserError, match="folder 'n99999999', which is no class of the training pictures"):
        ImageNetFolder(root=str(tmp_path)).open("val", 3)


def test_a_part_of_imagenet_for_a_network_of_all_of_it(tmp_path):
    tree(tmp_path, classes=("n02099601", "n04285008"), each=1)
    pictures = ImageNetFolder(root=str(tmp_path)).open("val", 1000)
    assert [label for _, label in labels(pictures)] == [207, 817]
    assert pictures.classes[817] == "sports car"


@pytest.mark.parametrize(
    "lines, name",
    [
        (["a.JPEG 2", "b.JPEG 0"], "val.txt"),
        (["val/a.JPEG 2", "", "val/b.JPEG 0"], "val_list.txt"),
        ([f"a.JPEG {SYNSETS[2]}", f"b.JPEG {SYNSETS[0]}"], "val.txt"),
        ([SYNSETS[2], SYNSETS[0]], "val.txt"),
    ],
)
def test_a_flat_validation_folder_with_a_list(tmp_path, lines, name):
    tree(tmp_path, parts=("train",))
    for number, file in enumerate(("b.JPEG", "a.JPEG")):
        picture(tmp_path / "val" / file, number)
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    pictures = ImageNetFolder(root=str(tmp_path)).open("val", 3)
    assert labels(pictures) == [("a.JPEG", 2), ("b.JPEG", 0)]
    assert pictures.read(0).size == (36, 40)


def test_a_flat_validation_folder_without_one(tmp_path):
    tree(tmp_path, parts=("train",))
    picture(tmp_path / "val" / "a.JPEG")
    with pytest.raises(UserError, match=r"no folders of classes, and there is no .*val\.txt or .*val_list\.txt"):
        ImageNetFolder(root=str(tmp_path)).open("val", 3)
    (tmp_path / "val.txt").write_text(f"{SYNSETS[0]}\n{SYNSETS[1]}\n")
    with pytest.raises(UserError, match=r"2 lines of one word, and .* has 1 pictures"):
        ImageNetFolder(root=str(tmp_path)).open("val", 3)


def test_any_folder_of_classes(tmp_path):
    for name in ("b", "a", ".hidden"):
        picture(tmp_path / "x" / name / "deep" / "1.jpg")
    picture(tmp_path / "x" / "a" / ".2.jpg")
    (tmp_path / "x" / "a" / "notes.txt").touch()
    pictures = Folder(root=str(tmp_path), part="x").open("train", 2)
    assert pictures.classes == ["a", "b"]
    assert [label for _, label in labels(pictures)] == [0, 1]


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*gone; give"):
        Folder(root=str(tmp_path / "gone")).open("train", 2)
    with pytest.raises(UserError, match="has no folders; a folder for each class"):
        Folder(root=str(tmp_path)).open("train", 2)
    tree(tmp_path, classes=("a", "b"), parts=("train",))
    with pytest.raises(UserError, match=r"has 2 classes, and model\.num_classes is 3; set it to 2"):
        Folder(root=str(tmp_path / "train")).open("train", 3)
    (tmp_path / "train" / "c").mkdir()
    assert Folder(root=str(tmp_path / "train")).open("train", 3).folders == ["a", "b", "c"]
    assert Folder(root=str(tmp_path / "train")).open("train", 2).folders == ["a", "b"]  # c is empty and one too many
    for file in (tmp_path / "train").rglob("*.png"):
        file.unlink()
    with pytest.raises(UserError, match="hold no pictures"):
        Folder(root=str(tmp_path / "train")).open("train", 3)


# lists


def test_a_list(tmp_path):
    for name in ("a.png", "with space/b.png"):
        picture(tmp_path / name)
    (tmp_path / "list.txt").write_text("\ufeffa.png\t4\n\nwith space/b.png 0 \n", encoding="utf-8")
    pictures = ListFile(list=str(tmp_path / "list.txt")).open("train", 5)
    assert labels(pictures) == [("a.png", 4), ("b.png", 0)]
    assert pictures.read(1).size == (36, 40)
    assert pictures.classes is None
    moved = ListFile(list="list.txt", root=str(tmp_path)).open("train", 5)
    assert moved.pictures == pictures.pictures


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is empty; give PATH LABEL"),
        ("a.png 5\n", "line 1: the label is '5'; a number from 0 to 4"),
        ("a.png 1\nb.png -1\n", "line 2: the label is '-1'"),
        ("a.png cat\n", "line 1: the label is 'cat'"),
        ("a.png\n", "line 1: 'a.png' is not PATH LABEL, two words with a space between them"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path, text, words):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UserError, match=re.escape(words)):
        ListFile(list=str(tmp_path / "list.txt")).open("train", 5)


def test_no_list_and_no_text(tmp_path):
    with pytest.raises(UserError, match=r"list .*gone does not exist"):
        ListFile(list=str(tmp_path / "gone")).open("train", 5)
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UserError, match="is not text in UTF-8"):
        ListFile(list=str(tmp_path / "list.txt")).open("train", 5)


# CIFAR


@pytest.mark.parametrize("classes, kind", [(10, Cifar10), (100, Cifar100)])
@pytest.mark.parametrize("part, mode", [("train", "train"), ("val", "test")])
def test_cifar_is_what_paddle_reads(tmp_path, classes, kind, part, mode):
    archive = cifar(tmp_path, classes)
    theirs = getattr(paddle.vision.datasets, kind.__name__)(str(archive), mode=mode, download=False, backend="pil")
    with tarfile.open(archive) as members:
        members.extractall(tmp_path / "unpacked")
    for root in (archive, tmp_path, tmp_path / "unpacked", next((tmp_path / "unpacked").iterdir())):
        ours = kind(root=str(root)).open(part, classes)
        assert len(ours) == len(theirs) == (20 if part == "train" and classes == 10 else 4)
        for index, (image, label) in enumerate(theirs):
            np.testing.assert_array_equal(np.asarray(ours.read(index)), np.asarray(image))
            assert ours.labels[index] == label
        assert ours.classes == [f"name{i}" for i in range(classes)]
    assert kind(root=str(tmp_path)).class_names() == ours.classes
    assert "picture 1 of" in ours.name(1)


class Hostile:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return print, ("executed",)


def test_cifar_executes_nothing(tmp_path, capsys):
    archive = cifar(tmp_path, 10, hostile=pickle.dumps(Hostile(), 2))
    with pytest.raises(UserError, match=r"test_batch in .* is refused: it asks for .*print"):
        Cifar10(root=str(archive)).open("val", 10)
    assert "executed" not in capsys.readouterr().out


def test_cifar_that_cannot_be_used(tmp_path):
    with pytest.raises(UserError, match=r"no CIFAR-10 in .*give cifar-10-python\.tar\.gz, or the folder"):
        Cifar10(root=str(tmp_path)).open("val", 10)
    archive = cifar(tmp_path, 10)
    with pytest.raises(UserError, match=r"CIFAR-10 has 10 classes; set model\.num_classes to 10"):
        Cifar10(root=str(archive)).open("val", 100)
    with pytest.raises(UserError, match=r"cifar-100-python/test in .* is missing or damaged"):
        Cifar100(root=str(archive)).open("val", 100)
    archive.write_bytes(archive.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"is missing or damaged|no tar archive"):
        Cifar10(root=str(archive)).open("val", 10)
    archive.write_bytes(b"no archive")
    with pytest.raises(UserError, match="is no tar archive"):
        Cifar10(root=str(archive)).open("val", 10)
    assert Cifar10(root=str(archive)).class_names() is None
