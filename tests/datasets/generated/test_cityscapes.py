"""Sample sets in the layout of Cityscapes: layout, consistent labels, repeatability."""

import json
import os

import numpy as np
import pytest
from PIL import Image, ImageDraw

from densebone.datasets import cityscapes
from densebone.datasets.cityscapes import BY_NAME, CLASS_NAMES, LABELS, TRAIN_ID_OF_ID
from densebone.datasets.generated import MARKER, painting, street, things, write_cityscapes
from densebone.datasets.generated import cityscapes as sample
from densebone.errors import UserError

ARGUMENTS = {"train": 5, "val": 3, "test": 1, "size": (64, 128), "seed": 3, "progress": False}
VIEW = painting.View(height=256, width=512, middle=256.0, horizon=100.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "city"
    write_cityscapes(folder, **ARGUMENTS)
    return folder


def _files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _frames(folder, *splits):
    """Yields (split, name) of every picture."""
    for split in splits:
        for path in sorted((folder / "leftImg8bit" / split).glob("*/*.png")):
            yield split, path.name.removesuffix("_leftImg8bit.png")


def _read(folder, split, name, kind):
    with Image.open(folder / cityscapes.label_file(split, name, kind)) as picture:
        return np.array(picture)


def _objects(folder, split, name):
    return json.loads((folder / cityscapes.label_file(split, name, "polygons")).read_text())


# layout


def test_layout_is_that_of_the_archives(folder):
    wanted = {MARKER}
    places = [
        ("train", "aachen", 0), ("train", "bremen", 0), ("train", "darmstadt", 0), ("train", "hamburg", 0),
        ("train", "aachen", 1), ("val", "frankfurt", 0), ("val", "lindau", 0), ("val", "munster", 0),
        ("test", "berlin", 0),
    ]  # fmt: skip
    for split, city, sequence in places:
        name = f"{city}_{sequence:06d}_000019"
        wanted.add(f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png")
        for ending in ("labelIds.png", "instanceIds.png", "color.png", "polygons.json", "labelTrainIds.png"):
            wanted.add(f"gtFine/{split}/{city}/{name}_gtFine_{ending}")
    assert set(_files(folder)) == wanted
    assert os.listdir(folder.parent) == ["city"]


def test_kinds_of_the_pictures(folder):
    modes = {"labelIds": ("L",), "labelTrainIds": ("L",), "instanceIds": ("I", "I;16"), "color": ("RGBA",)}
    for split, name in _frames(folder, "train", "val", "test"):
        with Image.open(folder / cityscapes.image_file(split, name)) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (128, 64))
        for kind, allowed in modes.items():
            path = folder / cityscapes.label_file(split, name, kind)
            with Image.open(path) as picture:
                assert (picture.format, picture.size) == ("PNG", (128, 64))
                assert picture.mode in allowed
            assert path.read_bytes()[24] == (16 if kind == "instanceIds" else 8)  # bits per value, in the PNG's header
        content = _objects(folder, split, name)
        assert list(content) == ["imgHeight", "imgWidth", "objects"]
        assert (content["imgHeight"], content["imgWidth"]) == (64, 128)


def test_summary(folder):
    summary = write_cityscapes(folder, **ARGUMENTS)
    assert summary.pictures == {"train": 5, "val": 3, "test": 1}
    assert summary.classes == CLASS_NAMES
    assert summary.boxes == {}


# labels


def test_polygons_drawn_over_each_other_give_the_ids(folder):
    for split, name in _frames(folder, "train", "val", "test"):
        canvas = Image.new("L", (128, 64))
        for row in _objects(folder, split, name)["objects"]:
            points = [tuple(point) for point in row["polygon"]]
            assert len(points) >= 3
            assert all(type(x) is int and type(y) is int and 0 <= x < 128 and 0 <= y < 64 for x, y in points)
            if row["label"] != "license plate":
                ImageDraw.Draw(canvas).polygon(points, fill=BY_NAME[row["label"]].id)
        np.testing.assert_array_equal(np.asarray(canvas), _read(folder, split, name, "labelIds"))


def test_the_other_pictures_follow_from_the_ids(folder):
    colours = {label.id: label.colour for label in LABELS}
    for split, name in _frames(folder, "train", "val", "test"):
        ids = _read(folder, split, name, "labelIds")
        np.testing.assert_array_equal(_read(folder, split, name, "labelTrainIds"), TRAIN_ID_OF_ID[ids])
        coloured = _read(folder, split, name, "color")
        assert (coloured[..., 3] == 255).all()
        for number in np.unique(ids):
            assert (coloured[ids == number, :3] == colours[number]).all()


def test_instances(folder):
    people = 0
    for split, name in _frames(folder, "train", "val"):
        ids, instances = (_read(folder, split, name, kind).astype(int) for kind in ("labelIds", "instanceIds"))
        counted = np.isin(ids, [label.id for label in LABELS if label.has_instances])
        np.testing.assert_array_equal(instances[~counted], ids[~counted])
        np.testing.assert_array_equal(instances[counted] // 1000, ids[counted])
        labels = [row["label"] for row in _objects(folder, split, name)["objects"]]
        for number in np.unique(instances[counted]):
            assert number % 1000 < labels.count(cityscapes.LABELS[number // 1000].name)
        people += len(np.unique(instances[ids == BY_NAME["person"].id]))
    assert people > 8


def test_label_pictures_by_hand():
    square = [(1, 1), (3, 1), (3, 3), (1, 3)]
    objects = [("sky", [(0, 0), (5, 0), (5, 4), (0, 4)]), ("car", square), ("car", [(x + 2, y) for x, y in square])]
    ids, instances = sample.label_pictures([*objects, ("license plate", square)], 5, 6)
    car = np.zeros((5, 6), int)
    car[1:4, 1:6] = 26
    np.testing.assert_array_equal(ids, np.where(car, car, 23))
    assert instances.dtype == np.uint16
    assert instances[2].tolist() == [23, 26000, 26000, 26001, 26001, 26001]


def test_labels_of_the_test_pictures_are_void(folder):
    (place,) = _frames(folder, "test")
    assert set(np.unique(_read(folder, *place, "labelIds"))) == {0, 1, 2, 3}
    assert set(np.unique(_read(folder, *place, "labelTrainIds"))) == {255}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_class_is_seen_often_enough_at_the_defaults(seed):
    """Every class covers more than 1 / 2000, 66 pixels of 256x512, of at least 4 pictures in 20."""
    shown = np.zeros(19, int)
    for index in range(20):
        scene, frame = street.lay_out(np.random.default_rng([seed, 1, index]), 256, 512, index)
        objects = [(piece.label, piece.outline) for piece in scene + frame if piece.label]
        ids, _ = sample.label_pictures(objects, 256, 512)
        shown += np.bincount(TRAIN_ID_OF_ID[ids].ravel(), minlength=256)[:19] > 256 * 512 / 2000
        assert 0.01 < (TRAIN_ID_OF_ID[ids] == 255).mean() < 0.3
    assert dict(zip(CLASS_NAMES, shown >= 4)) == dict.fromkeys(CLASS_NAMES, True)


def test_what_is_labelled_is_what_is_painted(folder):
    """Colours change much more along the outlines of people, vehicles and signs than elsewhere."""
    along, elsewhere = [], []
    for split, name in _frames(folder, "train", "val"):
        with Image.open(folder / cityscapes.image_file(split, name)) as picture:
            pixels = np.asarray(picture, float)
        ids = _read(folder, split, name, "labelIds").astype(int)
        step = np.abs(np.diff(pixels, axis=1)).sum(axis=2)
        change = np.diff(ids, axis=1) != 0
        things = np.isin(ids, [label.id for label in LABELS if label.category in ("human", "vehicle", "object")])
        edge = change & (things[:, 1:] | things[:, :-1])
        along.append(step[edge].mean())
        elsewhere.append(step[~change].mean())
    assert np.mean(along) > 2.5 * np.mean(elsewhere)


# the parts of a scene


def test_view_by_hand():
    assert VIEW.metre == pytest.approx(0.34 * 256)
    assert VIEW.at(0, 1) == (256, 256)
    assert VIEW.at(2, 0.5) == (256 + 87.04, 178)
    assert VIEW.at(2, 0.5, 1)[1] == pytest.approx(178 - 43.52)


def test_polygons_are_cut_at_the_edge_of_the_picture():
    (square,) = painting.part(VIEW, "car", [(-10, 10), (10, 10), (10, 20), (-10, 20)], painting.solid((0, 0, 0)))
    assert sorted(square.outline) == [(0, 10), (0, 20), (10, 10), (10, 20)]
    assert painting.part(VIEW, "car", [(-10, 10), (-5, 10), (-5, 20)], painting.solid((0, 0, 0))) == []


@pytest.mark.parametrize(
    "make, labels",
    [
        (things.person, ["person"]), (things.bicycle, ["bicycle"]), (things.cyclist, ["bicycle", "rider"]),
        (things.motorcycle, ["motorcycle"]), (things.motorcyclist, ["motorcycle", "rider"]), (things.bus, ["bus"]),
        (things.car, ["car", "license plate"]), (things.truck, ["truck"]), (things.tram, ["train"]),
        (things.lamp_post, ["pole"]), (things.traffic_light, ["pole", "traffic light"]), (things.bush, ["vegetation"]),
        (things.traffic_sign, ["pole", "traffic sign"]), (things.tree, ["vegetation"]), (things.dustbin, ["static"]),
    ],
)  # fmt: skip
def test_things_stand_on_the_ground(make, labels):
    pieces = [piece for piece in make(np.random.default_rng(0), VIEW, 1.2, 0.4) if piece.label]
    assert [piece.label for piece in pieces] == labels
    foot = max(y for piece in pieces for _, y in piece.outline)
    assert foot == pytest.approx(VIEW.at(1.2, 0.4)[1], abs=1.5)


def test_poles_are_six_pixels_wide_or_more():
    for t in (0.3, 0.45, 0.6):
        (pole,) = things.lamp_post(np.random.default_rng(0), VIEW, 1.2, t)
        columns = [x for x, _ in pole.outline]
        assert 6 <= max(columns) - min(columns) <= 10


# repeatability and folders


def test_same_arguments_same_bytes(folder, tmp_path):
    write_cityscapes(tmp_path / "again", **ARGUMENTS)
    assert _files(tmp_path / "again") == _files(folder)


def test_more_pictures_begin_with_the_same(folder, tmp_path):
    write_cityscapes(tmp_path / "more", **{**ARGUMENTS, "train": 7, "val": 4})
    first, more = _files(folder), _files(tmp_path / "more")
    assert {name: content for name, content in more.items() if name in first and name != MARKER} == {
        name: content for name, content in first.items() if name != MARKER
    }


def test_another_seed_other_pictures(folder, tmp_path):
    write_cityscapes(tmp_path / "other", **{**ARGUMENTS, "seed": 4})
    first, other = _files(folder), _files(tmp_path / "other")
    pictures = [name for name in first if name.endswith(("leftImg8bit.png", "polygons.json"))]
    scenes = [name for name in pictures if "gtFine/test" not in name]  # labels of test show only the camera's car
    assert len({first[name] for name in scenes} | {other[name] for name in scenes}) == 2 * len(scenes)


def test_present_set_is_kept(folder, monkeypatch):
    before = _files(folder)
    monkeypatch.setattr(sample, "lay_out", lambda *args: pytest.fail("drew again"))
    assert write_cityscapes(str(folder), **ARGUMENTS).present is True
    assert _files(folder) == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_interrupted_run_leaves_nothing(tmp_path, monkeypatch, error):
    lay_out, drawn = sample.lay_out, []

    def interrupted(*arguments):
        drawn.append(1)
        if len(drawn) == 4:
            raise error
        return lay_out(*arguments)

    monkeypatch.setattr(sample, "lay_out", interrupted)
    with pytest.raises(error):
        write_cityscapes(tmp_path / "a" / "city", **ARGUMENTS)
    assert len(drawn) == 4
    assert os.listdir(tmp_path / "a") == []


def test_folder_with_something_else(folder, tmp_path):
    with pytest.raises(UserError, match=r"a set made with train=5, size=\[64, 128\]; give another"):
        write_cityscapes(folder, **{**ARGUMENTS, "train": 6, "size": (64, 64)})
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"exists and is not empty, and holds no set .*give another folder"):
        write_cityscapes(tmp_path, **ARGUMENTS)
    assert os.listdir(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("kind", ["polygons", "instanceIds"])
def test_set_that_lost_files(tmp_path, kind):
    arguments = {"train": 1, "val": 1, "test": 0, "size": (64, 64), "progress": False}
    write_cityscapes(tmp_path / "city", **arguments)
    (tmp_path / "city" / cityscapes.label_file("val", "frankfurt_000000_000019", kind)).unlink()
    with pytest.raises(UserError, match=r"lost files of val; delete it and write it again"):
        write_cityscapes(tmp_path / "city", **arguments)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"train": 0}, r"train=0: .*at least 1"),
        ({"val": 2.5}, r"val=2\.5: .*whole number"),
        ({"test": -1}, r"test=-1: .*at least 0"),
        ({"size": 64}, r"size=64: must be \(height, width\)"),
        ({"size": (64, 63)}, r"size=\(64, 63\): .*from 64 to 4096"),
        ({"size": (64, 5000)}, r"size=\(64, 5000\)"),
        ({"size": (64, 64.0)}, r"size=\(64, 64\.0\)"),
        ({"seed": -1}, r"seed=-1: .*at least 0"),
    ],
)
def test_arguments_out_of_range(tmp_path, wrong, message):
    with pytest.raises(UserError, match=message) as caught:
        write_cityscapes(tmp_path / "city", **{**ARGUMENTS, **wrong})
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [(64, 64), (200, 64), (65, 301)])
def test_other_sizes(tmp_path, size):
    write_cityscapes(tmp_path / "city", train=1, val=1, test=0, size=size, progress=False)
    assert _read(tmp_path / "city", "val", "frankfurt_000000_000019", "labelIds").shape == size


def test_paddleseg_loads_it(folder):
    pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
    from paddleseg.datasets import Cityscapes
    from paddleseg.transforms import Normalize

    train = Cityscapes(transforms=[Normalize()], dataset_root=str(folder), mode="train")
    val = Cityscapes(transforms=[Normalize()], dataset_root=str(folder), mode="val")
    assert (len(train), len(val), train.num_classes) == (5, 3, 19)
    assert train[0]["img"].shape == (3, 64, 128)
    for (split, name), row in zip(_frames(folder, "val"), range(3)):
        np.testing.assert_array_equal(np.squeeze(val[row]["label"]), _read(folder, split, name, "labelTrainIds"))


def test_command(densebone, tmp_path):
    done = densebone("sample-data", "cityscapes", "city", "--train", 2, "--val", 1, "--size", "64x96", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "city now holds 2 train pictures, 1 val pictures, 2 test pictures; classes road, sidewalk" in done.stdout
    with Image.open(tmp_path / "city" / cityscapes.image_file("val", "frankfurt_000000_000019")) as picture:
        assert picture.size == (96, 64)
    done = densebone("sample-data", "cityscapes", "other", "--size", "big", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "densebone: --size big is no size; give HEIGHTxWIDTH in pixels, such as 256x512\n"
