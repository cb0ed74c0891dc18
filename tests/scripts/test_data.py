"""`densebone data`: check, stats, show, split, convert."""

import json

import own_data
import pytest
from PIL import Image

from densebone.datasets import own
from densebone.scripts import main


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return own_data.write_scenes(tmp_path_factory.mktemp("scenes") / "coco")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_check(scenes, tmp_path, capsys):
    data = own_data.write_as("yolo", scenes, tmp_path / "yolo")
    status = main(["data", "check", str(data), "--json", "found.json"])
    clean = json.loads((tmp_path / "found.json").read_text())
    assert status == 0 and all(row["level"] != "stops" for row in clean)
    picture = sorted((data / "images" / "train").iterdir())[0]
    picture.write_text("no picture")
    assert main(["data", "check", str(data), "--json", "found.json"]) == 1
    said = capsys.readouterr().out
    assert f"files that are no pictures: 1 (images/train/{picture.name}" in said
    (worst, *_) = json.loads((tmp_path / "found.json").read_text())
    assert worst["kind"] == "files that are no pictures" and worst["count"] == 1


def test_stats_and_show(scenes, tmp_path, capsys):
    assert main(["data", "stats", str(scenes), "-O", "stats.png", "--json", "stats.json"]) == 0
    counted = json.loads((tmp_path / "stats.json").read_text())
    content = own.open_data(scenes).parts["train"]
    assert counted["parts"]["train"]["objects"] == len(content) == sum(counted["parts"]["train"]["per_class"].values())
    assert Image.open(tmp_path / "stats.png").size > (600, 400)
    assert main(["data", "show", str(scenes), "-n", "4", "--part", "val", "-O", "sheet.png"]) == 0
    assert Image.open(tmp_path / "sheet.png").width > 1000
    masks = own_data.write_masks(scenes, tmp_path / "masks")
    assert main(["data", "stats", str(masks), "-O", "masks.png"]) == 0
    assert main(["data", "show", str(masks), "-n", "2"]) == 0
    classes = own_data.write_classes(tmp_path / "pets")
    assert main(["data", "stats", str(classes), "-O", "classes.png"]) == 0
    assert main(["data", "show", str(classes), "-n", "2"]) == 0
    assert main(["data", "show", str(classes), "--part", "test"]) == 2
    assert "--part is 'test'; the data has train, val" in capsys.readouterr().err


def test_split(tmp_path, capsys):
    classes = own_data.write_classes(tmp_path / "pets", count=20)
    assert main(["data", "split", str(classes), "-O", "lists", "--val", "0.25", "--test", "0.25"]) == 0
    lines = {part: (tmp_path / "lists" / f"{part}.txt").read_text().splitlines() for part in ("train", "val", "test")}
    assert {part: len(rows) for part, rows in lines.items()} == {"train": 20, "val": 10, "test": 10}
    assert len({row for rows in lines.values() for row in rows}) == 40
    assert all(rows.count("\t") == 1 for rows in lines["train"])


def test_convert(scenes, tmp_path, capsys):
    assert main(["data", "convert", str(scenes), "--to", "yolo", "-O", "yolo"]) == 0
    assert own_data.boxes_of(own.open_data(tmp_path / "yolo")) == own_data.boxes_of(own.open_data(scenes))
    assert next((tmp_path / "yolo" / "images" / "train").rglob("*.jpg")).is_symlink()
    assert main(["data", "convert", str(tmp_path / "yolo"), "--to", "masks", "-O", "masks", "--pictures", "copy"]) == 0
    data = own.open_data(tmp_path / "masks")
    assert data.classes == ["background", *own_data.CLASSES]
    assert main(["data", "convert", str(tmp_path / "masks"), "--to", "voc", "-O", "voc"]) == 2
    assert "has segmentation data; into voc go boxes alone" in capsys.readouterr().err
