"""The table of Cityscapes, its file names, and the labelTrainIds pictures that its archives lack."""

import shutil
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densebone.datasets import cityscapes
from densebone.datasets.cityscapes import (
    BY_NAME,
    CLASS_NAMES,
    ID_OF_TRAIN_ID,
    IDS,
    LABELS,
    PALETTE,
    TRAIN_ID_OF_ID,
    frame_name,
    image_file,
    label_file,
    read_ids,
    write_train_ids,
)
from densebone.errors import UserError

NAME = "aachen_000000_000019"
# The classes in the order of the paper's tables, with their ids on the evaluation server.
SCORED = (
    ("road", 7), ("sidewalk", 8), ("building", 11), ("wall", 12), ("fence", 13), ("pole", 17), ("traffic light", 19),
    ("traffic sign", 20), ("vegetation", 21), ("terrain", 22), ("sky", 23), ("person", 24), ("rider", 25), ("car", 26),
    ("truck", 27), ("bus", 28), ("train", 31), ("motorcycle", 32), ("bicycle", 33),
)  # fmt: skip


def _save(folder, split, name, ids):
    path = folder / label_file(split, name, "labelIds")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(ids)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Three small label pictures. The first two hold every id of the table."""
    folder = tmp_path / "city"
    every = np.resize(np.array(IDS, np.uint8), (6, 6))
    _save(folder, "train", NAME, every)
    _save(folder, "train", "zurich_000121_000019", every[::-1])
    _save(folder, "val", "lindau_000001_000019", np.zeros((4, 6), np.uint8))
    return folder


# table


def test_rows():
    assert len(LABELS) == 35
    assert [label.id for label in LABELS] == [*range(34), -1]
    assert len({label.name for label in LABELS}) == 35
    assert len({label.category for label in LABELS}) == 8
    assert LABELS[-1] == cityscapes.Label("license plate", -1, -1, "vehicle", False, True, (0, 0, 142))
    assert list(IDS) == list(range(34))


def test_scored_classes():
    assert list(CLASS_NAMES) == [name for name, _ in SCORED]
    assert [BY_NAME[name].train_id for name in CLASS_NAMES] == list(range(19))
    assert [BY_NAME[name].id for name in CLASS_NAMES] == [number for _, number in SCORED]
    assert [label.name for label in LABELS if not label.ignored] == list(CLASS_NAMES)


def test_instances_are_those_of_people_and_vehicles():
    counted = [label.name for label in LABELS if label.has_instances]
    assert counted == [
        "person", "rider", "car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle",
    ]  # fmt: skip


def test_palette():
    assert PALETTE.shape == (19, 3)
    assert PALETTE.dtype == np.uint8
    assert PALETTE[[0, 10, 13, 18]].tolist() == [[128, 64, 128], [70, 130, 180], [0, 0, 142], [119, 11, 32]]
    assert len({tuple(row) for row in PALETTE.tolist()}) == 19
    with pytest.raises(ValueError, match="read-only"):
        PALETTE[0] = 0


def test_lookups_are_each_other_s_inverse():
    assert TRAIN_ID_OF_ID.dtype == ID_OF_TRAIN_ID.dtype == np.uint8
    assert TRAIN_ID_OF_ID.shape == ID_OF_TRAIN_ID.shape == (256,)
    assert [(int(TRAIN_ID_OF_ID[number]), int(ID_OF_TRAIN_ID[row])) for row, (_, number) in enumerate(SCORED)] == [
        (row, number) for row, (_, number) in enumerate(SCORED)
    ]
    assert (TRAIN_ID_OF_ID != 255).sum() == 19
    assert ID_OF_TRAIN_ID[255] == 0
    with pytest.raises(ValueError, match="read-only"):
        TRAIN_ID_OF_ID[0] = 0


def test_table_is_that_of_cityscapesscripts():
    """The checksum was taken over `labels` in cityscapesScripts 2.3.0, without the numbers of the categories."""
    rows = [
        (row.name, row.id, row.train_id, row.category, row.has_instances, row.ignored, row.colour) for row in LABELS
    ]
    assert zlib.crc32(repr(rows).encode()) == 2412533582


def test_file_names():
    assert frame_name("aachen", 0, 19) == NAME
    assert image_file("train", NAME) == Path("leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png")
    endings = ("labelIds.png", "instanceIds.png", "color.png", "polygons.json", "labelTrainIds.png")
    for kind, ending in zip(cityscapes.KINDS, endings):
        assert label_file("val", NAME, kind) == Path(f"gtFine/val/aachen/aachen_000000_000019_gtFine_{ending}")


# labelTrainIds


def test_train_ids_are_written_beside_the_ids(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert write_train_ids(folder) == {"train": (2, 0), "val": (1, 0)}
    assert "label pictures" in capsys.readouterr().err
    with Image.open(folder / label_file("train", NAME, "labelTrainIds")) as picture:
        assert (picture.format, picture.mode) == ("PNG", "L")
        train_ids = np.array(picture)
    # The picture holds the 34 ids in the order of the table, then the first two again.
    assert train_ids.ravel().tolist() == [label.train_id for label in LABELS[:34]] + [255, 255]
    with Image.open(folder / label_file("val", "lindau_000001_000019", "labelTrainIds")) as picture:
        assert set(np.array(picture).ravel()) == {255}


def test_what_is_there_is_kept_and_the_rest_completed(folder, capsys):
    write_train_ids(folder, progress=False)
    kept = folder / label_file("train", NAME, "labelTrainIds")
    kept.write_bytes(b"mine")
    (folder / label_file("val", "lindau_000001_000019", "labelTrainIds")).unlink()
    assert write_train_ids(str(folder), progress=False) == {"train": (0, 2), "val": (1, 0)}
    assert kept.read_bytes() == b"mine"
    assert capsys.readouterr().err == ""


def test_interrupted_writing_leaves_whole_files(folder, monkeypatch):
    calls, save = [], Image.Image.save

    def interrupted(self, path, *arguments, **options):
        calls.append(path)
        if len(calls) == 2:
            Path(path).write_bytes(b"half")
            raise KeyboardInterrupt
        return save(self, path, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_train_ids(folder, progress=False)
    assert len(list((folder / "gtFine").rglob("*TrainIds*"))) == 1
    assert not list((folder / "gtFine").rglob(".*"))
    monkeypatch.undo()
    assert write_train_ids(folder, progress=False) == {"train": (1, 1), "val": (1, 0)}


def _palette(path):
    Image.new("P", (4, 4)).save(path)


def _sixteen_bits(path):
    Image.fromarray(np.full((4, 4), 26000, np.uint16)).save(path)


def _colours(path):
    Image.new("RGBA", (4, 4)).save(path)


def _jpeg(path):
    Image.new("L", (4, 4)).save(path, format="JPEG")


def _train_ids(path):
    Image.new("L", (4, 4), 255).save(path)


def _web_page(path):
    path.write_text("<!DOCTYPE html>")


def _cut_short(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 34, (64, 64), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:900])


@pytest.mark.parametrize(
    "make, words",
    [
        (_palette, "is a PNG of mode P; label pictures of Cityscapes are 8-bit gray PNG"),
        (_sixteen_bits, "is a PNG of mode I"),
        (_colours, "is a PNG of mode RGBA"),
        (_jpeg, "is a JPEG of mode L"),
        (_train_ids, "holds the value 255; the ids of Cityscapes are 0 to 33"),
        (_web_page, "cannot be read as a picture"),
        (_cut_short, "cannot be read as a picture"),
    ],
)
def test_a_label_picture_that_is_none(folder, make, words):
    path = folder / label_file("val", "lindau_000001_000019", "labelIds")
    make(path)
    with pytest.raises(UserError) as caught:
        write_train_ids(folder, progress=False)
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not path.with_name(path.name.replace("labelIds", "labelTrainIds")).exists()
    with pytest.raises(UserError):
        read_ids(path)


def test_folder_that_is_not_laid_out_so(folder, tmp_path):
    for given, words in (
        (tmp_path / "gone", "gone is no folder; give the folder of Cityscapes"),
        (tmp_path, f"has no folder gtFine; give {folder}"),
        (folder / "gtFine", f"has no folder gtFine; give {folder}"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            write_train_ids(given, progress=False)
        assert "\n" not in str(caught.value)
    (tmp_path / "empty" / "leftImg8bit").mkdir(parents=True)
    with pytest.raises(UserError, match=r"has no folder gtFine; unpack gtFine_trainvaltest.zip there"):
        write_train_ids(tmp_path / "empty", progress=False)
    shutil.rmtree(folder / "gtFine" / "train")
    shutil.rmtree(folder / "gtFine" / "val" / "lindau")
    with pytest.raises(UserError, match=r"gtFine holds no label pictures; gtFine/train/CITY/\*_gtFine_labelIds.png"):
        write_train_ids(folder, progress=False)
