"""`densebone init`: from a folder of one's own pictures to a project that trains, for every format."""

import json
from pathlib import Path

import numpy as np
import own_data
import pytest
import yaml
from PIL import Image

from densebone.datasets import own
from densebone.scripts import main


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("DENSEBONE_OFFLINE", "1")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return own_data.write_scenes(tmp_path_factory.mktemp("scenes") / "coco")


@pytest.fixture
def live(densebone, tmp_path, monkeypatch):
    """init, train, eval and predict, without an edit; a function that returns (history, evaluation, predictions)."""
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path / "home"))

    def run(data, folder, *options):
        def do(*command):
            done = densebone(*command, cwd=folder)
            assert done.returncode == 0, (done.stdout, done.stderr)

        before = state(data)
        do("init", data, "-O", "project", "--epochs", "1", "--batch", "4", *options)
        do("train", "-c", "project/config.yml", "--eval", "--seed", "0")
        do("eval", "-c", "project/config.yml")
        picture = next(path for path in sorted(Path(data).rglob("*")) if path.suffix in (".jpg", ".png"))
        do("predict", "-c", "project/config.yml", "-O", "drawn", picture)
        assert state(data) == before
        output = folder / "project" / "output" / "config"
        history = [json.loads(line) for line in (output / "history.jsonl").read_text().splitlines()]
        evaluation = json.loads((output / "evaluation.json").read_text())
        return history, evaluation, json.loads((folder / "drawn" / "predictions.json").read_text())

    return run


def state(data):
    """Every file of the user's with its size and time."""
    files = [path for path in sorted(Path(data).rglob("*")) if path.is_file()]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("name", [n for n in own_data.BOXED if n != "coco"])
def test_every_format_of_boxes_gives_the_same_project(name, scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    projects = []
    for kind in ("coco", name):
        data = own_data.write_as(kind, scenes, tmp_path / kind)
        assert main(["init", str(data), "-O", f"{kind}-out", "--imgsz", "192"]) == 0
        rows = json.loads((tmp_path / f"{kind}-out" / "train.json").read_text())
        names = {row["id"]: Path(row["file_name"]).name for row in rows["images"]}
        classes = {row["id"]: row["name"] for row in rows["categories"]}
        boxes = sorted(
            (names[r["image_id"]], classes[r["category_id"]], *np.round(r["bbox"], 3)) for r in rows["annotations"]
        )
        text = (tmp_path / f"{kind}-out" / "config.yml").read_text().replace(str(tmp_path / kind), "")
        projects.append((boxes, [line for line in text.splitlines() if "num_classes" not in line]))
    assert projects[0] == projects[1]


LIVES = [
    ("yolo", ()),
    *(
        pytest.param(name, options, marks=pytest.mark.acceptance)
        for name, options in [
            *((name, ()) for name in own_data.BOXED if name != "yolo"),
            *(("yolo", ("--head", head)) for head in ("picodet", "ssd", "yolov3", "fcos", "retinanet", "gfl")),
            ("yolo", ("--model", "peleenet")),
            ("yolo", ("--model", "condensenetv2_a", "--head", "faster-rcnn")),
        ]
    ),
]


@pytest.mark.parametrize(("name", "options"), LIVES)
def test_boxes(name, options, live, scenes, tmp_path):
    data = own_data.write_as(name, scenes, tmp_path / "data")
    history, evaluation, predictions = live(data, tmp_path, *options)
    assert {row["kind"] for row in history} == {"train", "eval"}
    assert all(np.isfinite(row["loss"]) for row in history if row["kind"] == "train")
    assert 0 <= evaluation["AP"] <= 1 and {row["category"] for row in predictions} <= set(own_data.CLASSES)
    if not options and name not in ("coco", "yolo"):  # the same boxes in, the same numbers out
        (tmp_path / "again").mkdir()
        other = own_data.write_as("coco", scenes, tmp_path / "again" / "data")
        again, _, _ = live(other, tmp_path / "again")
        losses = [[row["loss"] for row in rows if row["kind"] == "train"] for rows in (history, again)]
        assert losses[0] == losses[1]


@pytest.mark.parametrize(
    "form",
    ["binary", *(pytest.param(f, marks=pytest.mark.acceptance) for f in ("colours", "palette", "from 1", "camvid"))],
)
def test_label_pictures(form, live, scenes, tmp_path):
    colours = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128)]
    options = {"binary": {"values": [0, 255, 255, 255, 255]}, "colours": {"colours": colours}}.get(form, {})
    data = own_data.write_masks(scenes, tmp_path / "data", **options)
    if form == "from 1":
        (data / "classes.txt").write_text("a\nb\nc\nd\n")
    if form == "palette":
        for file in (data / "masks").iterdir():
            picture = Image.open(file)
            picture.putpalette(np.uint8(colours).tobytes())
            picture.save(file)
    if form == "camvid":
        data = camvid(tmp_path / "camvid")
    size = ("--imgsz", "64")
    history, evaluation, _ = live(data, tmp_path, *size)
    assert 0 <= evaluation["mIoU"] <= 1 and {row["kind"] for row in history} == {"train", "eval"}
    (drawn,) = (tmp_path / "drawn" / "labels").rglob("*.png")
    written = np.asarray(Image.open(drawn))
    if form == "binary":
        assert set(np.unique(written)) <= {0, 255}
    if form == "colours":
        assert {tuple(c) for c in written.reshape(-1, 3).tolist()} <= set(colours)
    if form == "from 1":
        assert set(np.unique(written)) <= {1, 2, 3, 4}


def camvid(folder):
    """CamVid's layout of the SegNet tutorial: void is 11."""
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for place in (part, f"{part}annot"):
            (folder / place).mkdir(parents=True)
        for index in range(6):
            Image.fromarray(rng.integers(0, 255, (72, 96, 3), np.uint8)).save(folder / part / f"{index}.png")
            labels = np.repeat(np.arange(96, dtype=np.uint8)[None] // 8, 72, axis=0)
            Image.fromarray(labels).save(folder / f"{part}annot" / f"{index}.png")
    return folder


@pytest.mark.parametrize("form", ["folders", *(pytest.param("table", marks=pytest.mark.acceptance),)])
def test_classes(form, live, tmp_path):
    data = own_data.write_classes(tmp_path / "data", count=12)
    if form == "table":
        lines = [f"{path.relative_to(data)},{path.parent.name}" for path in sorted(data.rglob("*.png"))]
        (data / "labels.csv").write_text("\n".join(["file,label", *lines]))
    _, evaluation, predictions = live(data, tmp_path, "--imgsz", "32")
    assert 0 <= evaluation["top1"] <= 1 and predictions[0]["top"][0]["name"] in ("cat", "dog")


def test_decisions_and_their_reasons(scenes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = own_data.write_as("yolo", scenes, tmp_path / "yolo")
    names = (data / "data.yaml").read_text()
    (data / "data.yaml").write_text(names.replace("circle", "turn left"))
    assert main(["init", str(data), "--head", "YOLOv3", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert (
        "YOLO (22 label files, data.yaml), detection" in said and "now: densebone train -c project/config.yml" in said
    )
    assert "no horizontal flip: the classes turn left" in said
    text = (tmp_path / "project" / "config.yml").read_text()
    config = yaml.safe_load(text)
    assert config["num_classes"] == 4 and "RandomFlip" not in text.replace("no RandomFlip", "")
    assert len(config["YOLOv3Head"]["anchors"]) == 9
    steps = {name: value for step in config["TrainReader"]["batch_transforms"] for name, value in step.items()}
    assert steps["Gt2YoloTarget"]["anchors"] == config["YOLOv3Head"]["anchors"]
    epochs, batch = config["epoch"], config["TrainReader"]["batch_size"]
    assert f"{epochs * (16 // batch)} iterations of {batch} pictures" in text
    assert (tmp_path / "project" / "train.txt").read_text().count("\n") == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "resnet50"], "--model resnet50 is no backbone for a detector; one of CondenseNetV2A"),
        (["--head", "yolov9"], "there is no head for --head 'yolov9'"),
        (["--imgsz", "100"], "--imgsz is 100; a multiple of 32 pixels is expected, such as 96"),
        (["--imgsz", "160", "--head", "ssd"], "--imgsz is 160; this head needs 288 pixels or more"),
        (["--batch", "0"], "--batch is 0; a whole number of at least 1"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--lr", "nan"], "--lr is nan; a number above 0"),
        (["--device", "gpu"], "--device gpu: Paddle has no GPU here"),
        (["--pretrained", "yes"], "DENSEBONE_OFFLINE is set"),
        (["--task", "segmentation"], "has no annotations in a format that is known"),
    ],
)
def test_what_is_refused(options, message, scenes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", str(scenes), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "project").exists()


def test_a_project_is_not_overwritten_and_is_no_part_of_the_data(scenes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = own_data.write_as("voc", scenes, tmp_path / "voc")
    assert main(["init", str(data), "-O", str(data / "project")]) == 0
    assert main(["init", str(data), "-O", str(data / "project")]) == 2
    assert "holds data.yml and config.yml already" in capsys.readouterr().err
    assert main(["init", str(data), "-O", str(data / "project"), "--overwrite"]) == 0
    assert main(["data", "stats", str(data / "project")]) == 0
    assert "16 pictures" in capsys.readouterr().out


def test_annotations_that_changed_since_are_told(scenes, tmp_path, monkeypatch):
    data = own_data.write_as("yolo", scenes, tmp_path / "yolo")
    assert main(["init", str(data), "-O", str(tmp_path / "p")]) == 0
    assert own.changed_since(tmp_path / "p") is None and own.changed_since(tmp_path) is None
    label = sorted((data / "labels" / "train").iterdir())[0]
    label.write_text(label.read_text() + "0 0.5 0.5 0.1 0.1\n")
    assert "changed since densebone init read them" in own.changed_since(tmp_path / "p")
    assert main(["init", str(data), "-O", str(tmp_path / "p"), "--overwrite"]) == 0
    assert own.changed_since(tmp_path / "p") is None


def test_strict_stops_when_something_would_be_left_out(scenes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = own_data.write_as("csv", scenes, tmp_path / "csv")
    next((data / "train").iterdir()).unlink()
    assert main(["init", str(data), "--strict"]) == 2
    assert "pictures that are not in" in capsys.readouterr().err
    assert main(["init", str(data)]) == 0
