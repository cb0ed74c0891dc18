"""A detector on a set in VOC's format, through the commands, and what is wrong with such a set."""

import json
import shutil

import pytest
import tiny_voc
from PIL import Image

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")

from densebone import UserError
from densebone.datasets import voc
from densebone.scripts.options import find_config
from densebone.tasks.detection import config
from densebone.tasks.detection.classes import categories_of
from densebone.tasks.detection.data import check_data, first_picture

CONFIG = "pelee_ssd_304_120k_voc"


@pytest.fixture(scope="module")
def devkit(tmp_path_factory):
    folder = tiny_voc.write(tmp_path_factory.mktemp("voc") / "my data")
    voc.write_lists(folder)
    return folder


def test_train_evaluate_predict_export(devkit, densebone, tmp_path):
    options = ["epoch=1", "log_iter=1", "worker_num=0", "TrainReader.batch_size=2", "LearningRate.base_lr=0.001"]
    common = ["-c", CONFIG, "--data", devkit, "-o", *options]
    trained = densebone("train", *common, "--eval", "--seed", 1, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    folder = tmp_path / "output" / CONFIG
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    assert len(losses) == 2 and all(0 < loss < 1000 for loss in losses)

    evaluated = densebone("eval", *common, "--report", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    result = json.loads((folder / "evaluation.json").read_text())
    assert result["images"] == 2 and 0 <= result["AP"] <= 1
    assert result["AP"] == json.loads((folder / "best_model.json").read_text())["best_ap"]
    there = [row for row in result["classes"] if row["objects"]]  # the persons are difficult
    assert [row["name"] for row in there] == ["dog"] and there[0]["AP50"] == pytest.approx(result["AP"])
    assert all(row["AP50"] is None for row in result["classes"] if not row["objects"])
    metrics = json.loads((folder / "report" / "metrics.json").read_text())
    assert metrics["objects"] == there[0]["objects"] == 2 and metrics["classes"][11]["AP50"] == there[0]["AP50"]

    picture = devkit / "VOCdevkit/VOC2007/JPEGImages/000001.jpg"
    predicted = densebone("predict", *common, "-O", "pictures", "-t", 0.02, picture, cwd=tmp_path)
    assert predicted.returncode == 0, predicted.stderr
    assert Image.open(tmp_path / "pictures" / "000001.jpg").size == Image.open(picture).size
    found = json.loads((tmp_path / "pictures" / "predictions.json").read_text())
    assert found and all(row["category"] == voc.CLASSES[row["category_id"]] for row in found)

    exported = densebone("export", *common, "-O", "exported", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert "largest relative difference" in exported.stdout and " 0 boxes" not in exported.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exported", "output", "pictures"]


def settings(folder, **changes):
    block = {"name": "VOCDataSet", "anno_path": "trainval.txt", "label_list": "label_list.txt"}
    return {**block, "dataset_dir": str(folder), **changes}


@pytest.fixture
def copy(devkit, tmp_path):
    return shutil.copytree(devkit, tmp_path / "copy")


def check(folder, *overrides):
    """The lines of the check of TrainDataset."""
    return check_data(config.load(find_config(CONFIG), overrides, str(folder)), "train").lines()


def test_a_good_set_and_one_without_some_pictures(copy):
    (line,) = check(copy)
    assert line.startswith("TrainDataset: classes without a box, never learned: 18 (aeroplane, bicycle, bird, ...)")
    gone = "VOCdevkit/VOC2007/JPEGImages/000005.jpg"
    (copy / gone).unlink()
    assert check(copy)[0] == f"TrainDataset: pictures that are not in {copy} and are left out: 1 ({gone})"


def annotation(copy, objects):
    file = copy / "VOCdevkit/VOC2007/Annotations/000005.xml"
    file.write_text(tiny_voc.xml("000005", (100, 100), objects))


CHANGES = {
    "no folder": (lambda copy: shutil.rmtree(copy), "data set folder .* does not exist"),
    "no list": (lambda copy: (copy / "trainval.txt").unlink(), "trainval.txt does not exist; write VOC's lists with"),
    "no names": (lambda copy: (copy / "label_list.txt").unlink(), "class names .*label_list.txt do not exist"),
    "too many classes": (
        lambda copy: (copy / "label_list.txt").write_text("\n".join([*voc.CLASSES, "fox"])),
        "has 21 classes but num_classes is 20; -o num_classes=21",
    ),
    "unknown class": (
        lambda copy: annotation(copy, [("fox", 0, [1, 2, 30, 40])]),
        r"000005.xml has an object 'fox'; the classes of .*label_list.txt are aeroplane, .*, \.\.\.",
    ),
    "no picture": (
        lambda copy: (copy / "VOCdevkit/VOC2007/JPEGImages/000005.jpg").write_text("text"),
        "000005.jpg is not a picture",
    ),
    "no pictures": (
        lambda copy: [shutil.rmtree(path) for path in copy.glob("VOCdevkit/*/JPEGImages")],
        "none of the 4 pictures that .*trainval.txt lists",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_sets_that_are_refused(change, copy):
    apply, words = CHANGES[change]
    apply(copy)
    with pytest.raises(UserError, match=words):
        check(copy)


def test_a_set_without_class_names_in_the_configuration(devkit):
    with pytest.raises(UserError, match=r"VOCDataSet needs class names: set TrainDataset\.label_list"):
        check(devkit, "TrainDataset.label_list=null")


def test_class_names_and_first_picture(devkit, tmp_path):
    (tmp_path / "label_list.txt").write_text("fox\nhen\n")
    (tmp_path / "test.txt").write_text("a.jpg a.xml\n")
    cfg = {"EvalDataset": settings(tmp_path, anno_path="test.txt"), "num_classes": 20, "metric": "VOC"}
    assert categories_of(cfg) == [(0, "fox"), (1, "hen")]
    (tmp_path / "label_list.txt").unlink()
    assert categories_of(cfg) == list(enumerate(voc.CLASSES))
    assert first_picture(cfg["EvalDataset"]) is None
    assert first_picture(settings(devkit)) == devkit / "VOCdevkit/VOC2007/JPEGImages/000005.jpg"
