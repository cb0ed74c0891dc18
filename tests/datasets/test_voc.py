"""VOC's lists and annotations: what is written, what is read, and what is refused."""

import pytest
import tiny_voc

from densebone import UserError
from densebone.datasets import voc
from densebone.scripts.prepare import main


def test_prepare_writes_what_the_toolkit_reads(tmp_path, capsys):
    tiny_voc.write(tmp_path)
    assert main(["voc", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/trainval.txt: 4 pictures",
        f"{tmp_path}/test.txt: 2 pictures",
    ]
    lines = (tmp_path / "trainval.txt").read_text().splitlines()
    assert lines[0] == "VOCdevkit/VOC2007/JPEGImages/000005.jpg VOCdevkit/VOC2007/Annotations/000005.xml"
    assert lines[3] == "VOCdevkit/VOC2012/JPEGImages/2008_000003.jpg VOCdevkit/VOC2012/Annotations/2008_000003.xml"
    assert voc.read_classes(tmp_path / "label_list.txt") == list(voc.CLASSES)
    assert len(voc.CLASSES) == 20 and list(voc.CLASSES) == sorted(voc.CLASSES)
    pairs = voc.read_list(tmp_path / "test.txt", tmp_path)
    assert pairs[0][0] == "VOCdevkit/VOC2007/JPEGImages/000001.jpg"
    sheet = voc.read_annotation(tmp_path / pairs[0][1])
    assert sheet.filename == "000001.jpg" and min(sheet.size) >= 160
    assert [(name, difficult) for name, _, difficult in sheet.objects] == [("dog", False), ("person", True)]
    assert all(x2 - x1 == wide and y2 - y1 == 70 for (_, (x1, y1, x2, y2), _), wide in zip(sheet.objects, (60, 80)))


def test_our_classes_are_those_of_the_toolkit():
    pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
    from ppdet.data.source.voc import pascalvoc_label

    assert pascalvoc_label() == {name: number for number, name in enumerate(voc.CLASSES)}


def test_without_the_test_set_its_list_is_not_written(tmp_path, capsys):
    tiny_voc.write(tmp_path)
    (tmp_path / "VOCdevkit/VOC2007/ImageSets/Main/test.txt").unlink()
    assert main(["voc", str(tmp_path)]) == 0
    assert "note: test.txt is not written" in capsys.readouterr().out
    assert not (tmp_path / "test.txt").exists()


def test_a_folder_that_is_not_vocs(tmp_path, densebone):
    done = densebone("prepare", "voc", tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"densebone: {tmp_path} has no folder VOCdevkit; unpack VOCtrainval_06-Nov-2007.tar")
    (tmp_path / "VOCdevkit").mkdir()
    with pytest.raises(UserError, match=r"has no VOC2007/ImageSets/Main/trainval.txt or the like"):
        voc.write_lists(tmp_path)
    tiny_voc.write(tmp_path)
    gone = tmp_path / "VOCdevkit/VOC2012/Annotations/2008_000002.xml"
    gone.unlink()
    with pytest.raises(UserError, match=rf"trainval.txt names 2008_000002, but {gone} does not exist"):
        voc.write_lists(tmp_path)
    assert not (tmp_path / "trainval.txt").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no pictures"),
        ("a.jpg b.xml\na.jpg\n", r"line 2 is 'a.jpg'; \"PICTURE XML\" is expected"),
    ],
)
def test_lists_that_are_refused(text, words, tmp_path):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UserError, match=words):
        voc.read_list(tmp_path / "list.txt", tmp_path)
    with pytest.raises(UserError, match=r"gone\.txt does not exist; write VOC's lists with densebone prepare voc"):
        voc.read_list(tmp_path / "gone.txt", tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no class names"),
        ("dog\n\ncat\n", "line 2 is empty; remove it"),
        ("background\ndog\n", "line 1 is background, which is no class"),
        ("dog\ncat\ndog\n", "line 3 repeats dog"),
    ],
)
def test_class_names_that_are_refused(text, words, tmp_path):
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(UserError, match=words):
        voc.read_classes(tmp_path / "names.txt")
    with pytest.raises(UserError, match=r"class names .* do not exist"):
        voc.read_classes(tmp_path / "gone.txt")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not XML", "cannot be read as an annotation of VOC"),
        ("<html></html>", "has the root <html>; an annotation of VOC begins with <annotation>"),
    ],
)
def test_annotations_that_are_refused(text, words, tmp_path):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(UserError, match=words):
        voc.read_annotation(tmp_path / "a.xml")
