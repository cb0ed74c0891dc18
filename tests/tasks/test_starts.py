"""Every model that our training wrote is a start for every task: the backbone comes along, the rest begins anew."""

import json

import numpy as np
import pytest
import tiny_classification
import tiny_segmentation
import yaml
from PIL import Image

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

import densebone as db
from densebone.datasets.generated import write_coco
from densebone.features import load_features
from densebone.weights.reader import read_arrays

DETECTOR = "smoke_ppyoloe_hardnet39ds_192_10e_sample"
SMALL = [f"{kind}Reader.sample_transforms.{i}.Resize.target_size=[96,96]" for kind, i in (("Train", 2), ("Test", 1))]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("starts")
    write_coco(folder / "data", 8, 2, progress=False)
    tiny_segmentation.write_set(folder / "set", 4)
    return folder


@pytest.fixture(scope="module")
def trained(here, densebone):
    """Task -> the weights of a model on HarDNet-39DS that was trained for a moment."""
    classifier = tiny_classification.write(here, epochs=1)
    segmenter = tiny_segmentation.write_config(here / "segmenter.yml", here / "set")
    runs = {
        "classifier": ("train", "-c", classifier),
        "detector": ("train", "-c", DETECTOR, "--data", "data", "-o", "epoch=1", "TrainReader.batch_size=2", *SMALL),
        "segmenter": ("train", "-c", segmenter, "-o", "iters=2"),
    }
    folders = {"classifier": "tiny", "detector": DETECTOR, "segmenter": "segmenter"}
    files = {}
    for task, command in runs.items():
        done = densebone(*command, cwd=here)
        assert done.returncode == 0, done.stderr
        files[task] = here / "output" / folders[task] / "model_final.pdparams"
    return files


def backbone_of(file):
    arrays = read_arrays(file)
    prefix = "backbone." if any(key.startswith("backbone.") for key in arrays) else ""
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(f"{prefix}base.")}


@pytest.mark.parametrize("task", ["classifier", "detector", "segmenter"])
def test_a_backbone_in_python(trained, task):
    net = db.create_backbone("hardnet39ds", (1, 2, 3, 4), pretrained=trained[task])
    wanted = backbone_of(trained[task])
    state = net.state_dict()
    assert all(np.array_equal(wanted[key], value.numpy()) for key, value in state.items())
    report = net.load_report
    assert report.complete and len(report.used) == len(state)
    assert len(report.left_out) == len(read_arrays(trained[task])) - len(state)
    classifier = db.create_model("hardnet39ds", pretrained=trained[task])
    assert classifier.num_classes == (3 if task == "classifier" else 1000)
    begun = [] if task == "classifier" else ["base.14.3.weight", "base.14.3.bias"]
    assert sorted(classifier.load_report.reinitialised) == sorted(begun)
    with pytest.raises(db.UserError):
        db.create_backbone("hardnet68", pretrained=trained[task])


@pytest.mark.parametrize("task", ["classifier", "detector", "segmenter"])
def test_features_with_the_preparation_of_the_training(here, trained, task, densebone):
    out = here / f"features-{task}"
    done = densebone(
        "features", here / "data" / "val2017", "-m", "hardnet39ds", "-w", trained[task], "-O", out, "--pooled",
        "--engine", "eager", *(["--size-mode", "resize", "--size", 64, 64] if task == "segmenter" else []),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names, features = load_features(out)
    assert len(names) == 2 and np.isfinite(np.asarray(features)).all()
    kept = json.loads(trained[task].with_suffix(".json").read_text())["preprocessing"]
    assert " ".join(f"{value:g}" for value in kept["mean"]) in features.settings["preprocessing"]


def test_penultimate_features_of_ones_own_classifier(here, trained, densebone):
    out = here / "penultimate"
    done = densebone(
        "features", here / "data" / "val2017", "-m", "hardnet39ds", "-w", trained["classifier"], "-O", out,
        "--pooled", "penultimate", "--engine", "eager",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert load_features(out)[1].settings["vector_size"] == 1024


@pytest.mark.parametrize("task", ["classifier", "detector", "segmenter"])
def test_a_detector_starts(here, trained, task, densebone, tmp_path):
    done = densebone(
        "train", "-c", DETECTOR, "--data", here / "data", "--seed", 1, "-o", "epoch=1", "TrainReader.batch_size=2",
        "log_iter=1", "num_classes=5", f"HarDNet39DS.pretrained={trained[task]}", *SMALL, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output" / DETECTOR / "model_final.pdparams").is_file()


@pytest.mark.parametrize("task", ["classifier", "detector", "segmenter"])
def test_a_segmenter_starts(here, trained, task, densebone, tmp_path):
    path = tiny_segmentation.write_config(tmp_path / "mine.yml", here / "set")
    content = yaml.safe_load(path.read_text())
    content["model"]["backbone"]["pretrained"] = str(trained[task])
    path.write_text(yaml.safe_dump(content | {"iters": 5}))
    done = densebone("train", "-c", path, "--seed", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_segmenter_with_other_classes_starts_from_a_whole_one(here, densebone, tmp_path):
    """As from the published Cityscapes weights: encoder and decoder are taken, the last layer begins anew."""
    whole = db.create_model("fchardnet70")
    import paddle

    paddle.save(whole.state_dict(), str(tmp_path / "whole.pdparams"))
    path = tiny_segmentation.write_config(tmp_path / "mine.yml", here / "set")
    content = yaml.safe_load(path.read_text())
    content["model"] = {"type": "FCHarDNet", "num_classes": 4, "pretrained": str(tmp_path / "whole.pdparams")}
    for part in ("train_dataset", "val_dataset"):
        content[part]["transforms"].insert(-1, {"type": "Resize", "target_size": [64, 64]})
    path.write_text(yaml.safe_dump(content | {"iters": 1}))
    done = densebone("train", "-c", path, "--seed", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the last layer keeps its initial values" in done.stderr
    assert Image.open(tmp_path / "output" / "mine" / "curves.png").size[0] > 100
