"""The sample set in ImageNet's layout."""

import hashlib
import json

import pytest
from PIL import Image

from densebone.datasets.generated import MARKER, imagenet, write_imagenet
from densebone.datasets.imagenet import NAMES, SYNSETS
from densebone.errors import UserError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_imagenet(tmp_path_factory.mktemp("sets") / "things", train=20, val=10, size=48, progress=False)


def test_classes_are_imagenets():
    assert list(imagenet.SYNSETS) == sorted(imagenet.SYNSETS)
    assert [NAMES[SYNSETS.index(synset)] for synset in imagenet.SYNSETS] == list(imagenet.CLASSES)


def test_layout(made):
    files = sorted(path.relative_to(made.folder).as_posix() for path in made.folder.rglob("*.JPEG"))
    assert len(files) == 30
    assert files[:2] == ["train/n02747177/n02747177_0.JPEG", "train/n02747177/n02747177_10.JPEG"]
    assert files[-1] == "val/n06874185/ILSVRC2012_val_00000010.JPEG"
    assert (made.pictures, made.boxes, made.present) == ({"train": 20, "val": 10}, {}, False)


def test_sizes_differ_and_the_shorter_side_is_given(made):
    sizes = [Image.open(path).size for path in made.folder.rglob("*.JPEG")]
    assert {min(size) for size in sizes} == {48}
    assert all(48 <= max(size) <= 64 for size in sizes)
    assert any(width > height for width, height in sizes) and any(width < height for width, height in sizes)


def _digests(folder):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*.JPEG"))]


def test_same_arguments_same_bytes(made, tmp_path):
    again = write_imagenet(tmp_path / "again", train=20, val=10, size=48, progress=False)
    assert _digests(again.folder) == _digests(made.folder)
    other = write_imagenet(tmp_path / "other", train=20, val=10, size=48, seed=1, progress=False)
    assert not set(_digests(other.folder)) & set(_digests(made.folder))


def test_every_picture_is_another(made):
    assert len(set(_digests(made.folder))) == 30


def test_a_finished_set_is_kept_and_a_damaged_one_refused(made):
    assert write_imagenet(made.folder, train=20, val=10, size=48, progress=False).present
    assert json.loads((made.folder / MARKER).read_text())["arguments"]["layout"] == "imagenet"
    with pytest.raises(UserError, match="a set made with train=20"):
        write_imagenet(made.folder, train=30, val=10, size=48, progress=False)
    lost = next(made.folder.glob("val/*/*.JPEG"))
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(UserError, match="lost files of val"):
        write_imagenet(made.folder, train=20, val=10, size=48, progress=False)
    lost.write_bytes(content)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"size": 16}, "from 32 to 1024"),
        ({"size": 48.0}, "whole number of pixels"),
        ({"train": 9}, "at least 10"),
        ({"seed": -1}, "at least 0"),
    ],
)
def test_arguments(tmp_path, arguments, words):
    with pytest.raises(UserError, match=words):
        write_imagenet(tmp_path / "x", progress=False, **arguments)
