"""Formats of annotations: recognised by content, read to the same boxes, written and read again."""

import json
from itertools import chain
from pathlib import Path

import numpy as np
import own_data
import pytest
from PIL import Image

from densebone.datasets import conversion, formats, own
from densebone.datasets.formats import mask_pairs
from densebone.datasets.report import Report
from densebone.errors import UserError


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return own_data.write_scenes(tmp_path_factory.mktemp("scenes") / "coco")


@pytest.mark.parametrize("divided", [True, False], ids=["divided", "whole"])
@pytest.mark.parametrize("name", own_data.BOXED)
def test_every_format_gives_the_same_boxes(name, divided, scenes, tmp_path):
    folder = own_data.write_as(name, scenes, tmp_path / name, divided)
    data = own.open_data(folder)
    assert (data.source.format, data.task) == (name, "detection")
    assert sorted(data.classes) == sorted(own_data.CLASSES)
    right = own_data.boxes_of(own.open_data(scenes))
    found = own_data.boxes_of(data)
    if divided:
        assert found == right
    else:
        assert sorted(chain(*found.values())) == sorted(chain(*right.values()))
        assert sorted(found) == ["train", "val"] and min(len(data.pictures(part)) for part in found) >= 4


@pytest.mark.parametrize("name", [n for n in own_data.BOXED if "masks" in formats.FORMATS[n].holds])
def test_polygons_survive(name, tmp_path):
    own_data.write_coco(tmp_path / "scenes", train=3, val=1, seed=1, progress=False)
    data = own.open_data(tmp_path / "scenes")
    conversion.convert(data, name, tmp_path / name)
    again = own.open_data(tmp_path / name)
    for part, content in data.parts.items():
        polygons = list(content.masks)
        assert len(polygons) == len(content)
        for mine, theirs in zip(sorted(polygons), sorted(again.parts[part].masks)):
            assert len(mine) == len(theirs)
            for a, b in zip(mine, theirs):
                assert np.allclose(a, b, atol=0.01)
    assert not conversion.losses(data, name).lines()


def test_what_a_format_cannot_hold_is_named(tmp_path):
    scenes = own_data.write_scenes(tmp_path / "coco", train=4, val=2)
    file = scenes / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["iscrowd"] = 1
    content["annotations"][1]["segmentation"] = [[0, 0, 9, 0, 9, 9]]
    file.write_text(json.dumps(content))
    data = own.open_data(scenes)
    (crowd, mask) = conversion.losses(data, "voc").lines()
    assert "crowds of train, which Pascal VOC cannot hold" in crowd and "masks of train" in mask
    (crowd,) = conversion.losses(data, "voc", polygons=False).lines()
    assert not conversion.losses(data, "coco").lines()
    with pytest.raises(UserError, match="is not empty; give a new folder"):
        conversion.convert(data, "voc", scenes)


def test_yolo_without_names_and_with_an_older_machines_paths(tmp_path):
    folder = own_data.write_as("yolo", own_data.write_scenes(tmp_path / "c"), tmp_path / "yolo")
    text = (folder / "data.yaml").read_text()
    (folder / "data.yaml").write_text(
        text.replace("path: .", "path: /home/ann/data").replace("val: images", "val: ..\\images")
    )
    assert {part: len(own.open_data(folder).pictures(part)) for part in ("train", "val")} == {"train": 16, "val": 6}
    (folder / "data.yaml").unlink()
    data = own.open_data(folder)
    assert data.classes == [f"class {number}" for number in range(4)]
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in own_data.CLASSES))
    assert own.open_data(folder).classes == list(own_data.CLASSES)
    label = next((folder / "labels" / "train").iterdir())
    label.write_text("7 0.5 0.5 0.1 0.1\n")
    with pytest.raises(UserError, match=f"{label}, line 1 has class 7; classes.txt has 4 classes, 0 to 3"):
        own.open_data(folder)
    label.write_text("0 0.5 0.5 0.1\n")
    with pytest.raises(UserError, match=r"line 1 is '0 0\.5 0\.5 0\.1'; CLASS X Y WIDTH HEIGHT is expected"):
        formats.read(formats.recognise(folder, "yolo"), Report("x"))


def write_csv(folder, text):
    folder.mkdir()
    for name in ("a b.png", "ü.png"):
        Image.new("RGB", (100, 50)).save(folder / name)
    (folder / "boxes.csv").write_text(text, encoding="utf-8-sig")
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "filename,width,height,class,xmin,ymin,xmax,ymax\na b.png,100,50,cat,10,5,30,25\nü.png,100,50,dog,0,0,50,50\n",
        "a b.png,10,5,30,25,cat\nü.png,0,0,50,50,dog\n",
        'image;label;x;y;width;height\n\n"a b.png";cat;10;5;20;20\nü.png;dog;0;0;50;50\n',
        "Image_Path\tClass\tx_min\ty_min\tx_max\ty_max\n"
        "C:\\data\\a b.png\tcat\t0.1\t0.1\t0.3\t0.5\nü.png\tdog\t0\t0\t0.5\t1\n",
    ],
    ids=["tensorflow", "no header", "semicolons", "windows and shares"],
)
def test_csv(text, tmp_path):
    data = own.open_data(write_csv(tmp_path / "csv", text), division=own.Division(val=0.5))
    rows = sorted(chain(*own_data.boxes_of(data).values()))
    assert rows == [("a b.png", "cat", 10.0, 5.0, 20.0, 20.0), ("ü.png", "dog", 0.0, 0.0, 50.0, 50.0)]


def test_classes_of_pictures(tmp_path):
    folder = own_data.write_classes(tmp_path / "pets")
    data = own.open_data(folder)
    assert (data.task, data.classes) == ("classification", ["cat", "dog"])
    (folder / "empty").mkdir()
    assert "class folders without a picture, passed over: 1 (empty)" in own.open_data(folder).report.lines()[0]
    table = "".join(f"cat/{i}.png,a\ndog/{i}.png,b\n" for i in range(8))
    (folder / "labels.csv").write_text(f"file,label\n{table}")
    data = own.open_data(folder)
    assert (data.source.format, data.classes, sum(map(len, map(data.pictures, data.parts)))) == (
        "labels",
        ["a", "b"],
        16,
    )
    own_data.write_classes(tmp_path / "parts", parts=("train", "val"))
    assert {p: len(own.open_data(tmp_path / "parts").pictures(p)) for p in ("train", "val")} == {"train": 16, "val": 16}


@pytest.mark.parametrize(
    ("options", "classes", "facts"),
    [
        ({}, [f"class {i}" for i in range(5)], "values of 0 to 4"),
        ({"values": [0, 255, 255, 255, 255]}, ["background", "object"], "masks of 0 and 255"),
        (
            {"values": [0, 60, 120, 180, 240]},
            ["value 0", "value 60", "value 120", "value 180", "value 240"],
            "each a class",
        ),
        ({"values": [255, 0, 1, 2, 3]}, [f"class {i}" for i in range(4)], "255 does not count"),
    ],
    ids=["numbers", "binary", "gray levels", "ignored"],
)
def test_label_pictures_by_their_values(options, classes, facts, scenes, tmp_path):
    data = own.open_data(own_data.write_masks(scenes, tmp_path / "set", **options))
    train = data.parts["train"]
    assert (data.task, data.classes) == ("segmentation", classes) and facts in train.facts
    values = {value for _, label in train.pairs for value in np.unique(train.numbers(data.source.root / label))}
    assert values <= {*range(len(classes)), 255} and len(values) >= 2


COLOURS = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("class_dict.csv", "name,r,g,b\nvoid,0,0,0\na,128,0,0\nb,0,128,0\nc,128,128,0\nd,0,0,128\n"),
        ("label_colors.txt", "0 0 0\tVoid\n128 0 0\ta\n0 128 0\tb\n128 128 0\tc\n0 0 128\td\n"),
        (
            "labelmap.txt",
            "# label:color_rgb:parts:actions\nvoid:0,0,0::\na:128,0,0::\nb:0,128,0::\nc:128,128,0::\nd:0,0,128::\n",
        ),
    ],
)
def test_coloured_label_pictures_with_a_class_table(name, text, scenes, tmp_path):
    folder = own_data.write_masks(scenes, tmp_path / "set", colours=COLOURS)
    assert own.open_data(folder).classes[:2] == ["colour #000000", "colour #000080"]
    (folder / name).write_text(text)
    data = own.open_data(folder)
    train = data.parts["train"]
    assert data.classes == ["a", "b", "c", "d"]
    path = folder / train.pairs[0][1]
    numbers = train.numbers(path)
    assert np.array_equal(train.label_map.write_back(numbers), np.asarray(Image.open(path)))
    (folder / name).write_text(text.replace("128 0 0\ta\n", "").replace("a,128,0,0\n", "").replace("a:128,0,0::\n", ""))
    with pytest.raises(UserError, match=f"#800000, which {name} does not list"):
        own.open_data(folder)


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (60, 40)])
@pytest.mark.parametrize("most", [1, 2, 300])
def test_values_are_counted_by_their_runs(shape, most):
    values = np.random.default_rng(0).integers(0, most, shape)
    expected = zip(*(part.tolist() for part in np.unique(values, return_counts=True)))
    assert mask_pairs._distinct(values) == list(expected)


def test_values_that_a_list_of_names_numbers_from_1(scenes, tmp_path):
    folder = own_data.write_masks(scenes, tmp_path / "set")
    (folder / "classes.txt").write_text("a\nb\nc\nd\n")
    data = own.open_data(folder)
    assert data.classes == ["a", "b", "c", "d"] and "from 1 on; 0 does not count" in data.parts["train"].facts
    assert data.parts["train"].label_map.as_settings() == {0: "ignore", 1: 0, 2: 1, 3: 2, 4: 3}


def test_layouts_of_cityscapes_and_camvid(tmp_path):
    from densebone.datasets.generated import write_cityscapes

    city = tmp_path / "city"
    write_cityscapes(city, train=2, val=1, test=0, size=(64, 128), progress=False)
    data = own.open_data(city)
    assert len(data.classes) == 19 and data.parts["train"].label_map is None
    ids = city / "gtFine"
    for file in ids.rglob("*labelTrainIds.png"):
        file.unlink()
    again = own.open_data(city)
    assert again.parts["train"].label_map.entries[7] == 0 and again.parts["train"].label_map.entries[0] is None
    cam = tmp_path / "camvid"
    for part in ("train", "val", "test"):
        for place in (part, f"{part}annot"):
            (cam / place).mkdir(parents=True)
        Image.new("RGB", (48, 36)).save(cam / part / "0001.png")
        Image.fromarray(np.arange(48 * 36).reshape(36, 48).astype(np.uint8) % 12).save(
            cam / f"{part}annot" / "0001.png"
        )
    data = own.open_data(cam)
    assert sorted(data.parts) == ["test", "train", "val"] and len(data.classes) == 11
    assert data.parts["train"].label_map.as_settings() == {11: "ignore"}


def test_what_is_refused(scenes, tmp_path):
    folder = own_data.write_as("voc", scenes, tmp_path / "mix")
    (folder / "more.csv").write_text("filename,class,xmin,ymin,xmax,ymax\n000000000001.jpg,cat,1,1,5,5\n")
    with pytest.raises(UserError, match=r"holds annotations of several formats: voc \(22 XML.*csv.*--format voc"):
        own.open_data(folder)
    assert own.open_data(folder, "voc").source.format == "voc"
    alone = tmp_path / "alone"
    alone.mkdir()
    Image.new("RGB", (64, 64)).save(alone / "a.png")
    (alone / "notes.json").write_text('{"hello": 1}')
    with pytest.raises(
        UserError, match=r"has no annotations in a format that is known .*1 pictures, files 1 .json, such as notes"
    ):
        own.open_data(alone)
    with pytest.raises(UserError, match="does not exist; give the folder"):
        own.open_data(tmp_path / "gone")
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        own.open_data(tmp_path / "none")
    with pytest.raises(UserError, match="there is no format 'yolov5'"):
        own.open_data(alone, "yolov5")
    table = "filename,class,xmin,ymin,xmax,ymax\na.png,Cat,1,1,5,5\na.png,cat,1,1,9,9\n"
    (alone / "boxes.csv").write_text(table)
    with pytest.raises(UserError, match="the classes 'Cat' and 'cat' differ in upper and lower case alone"):
        own.open_data(alone)
    (alone / "boxes.csv").write_text(table.replace("Cat", "cat"))
    with pytest.raises(UserError, match="1 pictures in 1 groups cannot be divided into train and val"):
        own.open_data(alone)


def test_the_main_file_of_the_annotations_may_be_named(scenes):
    data = own.open_data(scenes / "annotations" / "instances_val2017.json")
    assert sum(len(data.pictures(part)) for part in data.parts) == 6
    assert data.source.root == scenes.resolve()


def test_names_with_windows_paths_and_missing_pictures(scenes, tmp_path):
    folder = own_data.write_as("labelme", scenes, tmp_path / "labelme", divided=False)
    files = sorted(folder.rglob("*.json"))
    content = json.loads(files[0].read_text())
    files[0].write_text(json.dumps({**content, "imagePath": f"C:\\data\\{content['imagePath']}"}))
    Path(files[1].with_suffix(".jpg")).unlink()
    data = own.open_data(folder)
    assert sum(len(data.pictures(part)) for part in data.parts) == 21
    assert any("pictures that are not in" in line and files[1].stem in line for line in data.report.lines())
