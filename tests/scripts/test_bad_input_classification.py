"""What a user of classification gets wrong is answered by one clear line, exit status 2, and nothing half written."""

import json
import os

import pytest
import yaml
from tiny_pictures import CLASSES, SETTINGS, tree

from densebone.scripts import main, options
from densebone.tasks.task import task_of

DETECTION = "smoke_ppyoloe_hardnet39ds_192_10e_sample"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The name of a configuration in the current folder, whose data are there too."""
    tree(tmp_path / "data", CLASSES, each=1)
    (tmp_path / "tiny.yml").write_text(yaml.safe_dump(SETTINGS))
    (tmp_path / "list.txt").write_text("data/a.png 9\n")
    monkeypatch.chdir(tmp_path)
    return "tiny.yml"


def refused(capsys, *arguments):
    """The one line that a command prints when it refuses, in this process."""
    assert main([str(a) for a in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("densebone: ")]
    assert len(lines) == 1
    return lines[0]


LIST = "val_dataset={type: ListFile, list: list.txt}"
CASES = {
    "unknown key": ("train", ["-o", "epoch=3"], "no key 'epoch'; the nearest names are epochs"),
    "unknown argument": ("train", ["-o", "optimizer.momentun=1"], "optimizer.momentun is no key that is known"),
    "wrong type": ("train", ["-o", "batch_size=many"], "batch_size is 'many'; a whole number of at least 1"),
    "no such model": ("train", ["-o", "model.name=hardnet50"], "there is no model 'hardnet50'; the nearest"),
    "option": ("train", ["-o", "model.options={depth: 3}"], "there is no option depth"),
    "data folder": ("train", ["--data", "gone"], "train_dataset: there is no folder gone/train; give the"),
    "classes": ("train", ["-o", "model.num_classes=3"], "has 7 classes, and model.num_classes is 3; set it to 7"),
    "large batch": ("train", ["-o", "batch_size=8"], "has 7 pictures, fewer than one batch of 8; set a"),
    "label": ("train", ["--eval", "-o", LIST], "list.txt, line 1: the label is '9'; a number from 0 to 6"),
    "no data set": ("train", ["--eval", "-o", "val_dataset=null"], "tiny.yml has no val_dataset; say where its"),
    "weights missing": ("eval", ["-w", "gone"], "weights gone do not exist (gone.pdparams); train a"),
    "nothing trained": ("predict", ["data"], "there is no trained classifier in output/tiny; train one, or give -w"),
    "nothing to export": ("export", [], "there is no trained classifier in output/tiny"),
    "published name": ("eval", ["-w", "hardnet39ds.offical"], "weights hardnet39ds.offical do not exist"),
    "pretrained missing": ("train", ["-o", "model.pretrained=gone.npz"], "weights file gone.npz does not exist"),
    "checkpoint missing": ("train", ["-r", "gone/3"], "cannot resume from gone/3: gone/3.pdparams does not exist"),
    "no such picture": ("predict", ["gone.jpg"], "gone.jpg does not exist; give a picture, a folder or a pattern"),
    "top": ("predict", ["data", "--top", "0"], "top is 0; give how many classes are to be named, from 1 to 7"),
    "threshold": ("predict", ["data", "-t", "0"], "--threshold is for detection, and tiny.yml is for classification"),
    "flip": ("eval", ["--flip"], "--flip is for segmentation, and tiny.yml is for classification; leave it out"),
    "input size": ("export", ["--input-size", "64", "64"], "--input-size is for segmentation, and tiny.yml is"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused(case, tiny, capsys):
    command, arguments, words = CASES[case]
    assert words in refused(capsys, command, "-c", tiny, *arguments)
    assert not [name for _, _, names in os.walk("output") for name in names]


@pytest.mark.parametrize("arguments", [["--top", "3"]])
def test_what_a_detector_does_not_have(arguments, capsys):
    line = refused(capsys, "predict", "-c", DETECTION, "a.jpg", *arguments)
    assert f"{arguments[0]} is for classification, and " in line and line.endswith("is for detection; leave it out")


EXPORTED = {
    "no folder": (["--model", "gone"], "gone holds no model_card.json"),
    "no card": (["--model", "data"], "data holds no model_card.json"),
    "no model": (["--model", "card"], "card holds no exported model (model.pdiparams is missing); export it again, or"),
    "both": (["--model", "card", "-c", "tiny.yml"], "--config is for a configuration, and --model needs none"),
    "weights": (["--model", "card", "-w", "w"], "--weights is for a configuration, and --model needs none"),
    "option": (["--model", "card", "--flip"], "--flip is for segmentation, and card is for classification"),
    "neither": ([], "predict needs a configuration, -c NAME, or the folder of an exported model, --model"),
}


@pytest.mark.parametrize("case", EXPORTED)
def test_what_is_refused_of_an_exported_model(case, tiny, capsys, tmp_path):
    (tmp_path / "card").mkdir()
    recipe = {"resize": 36, "crop": 32, "interpolation": "bilinear", "backend": "pil", "channels": "rgb"}
    card = {"name": "x", "classes": ["a", "b"], "input_shape": [-1, 3, 32, 32]}
    card["preprocessing"] = {**recipe, "mean": [0.5] * 3, "std": [0.5] * 3}
    (tmp_path / "card" / "model_card.json").write_text(json.dumps(card))
    arguments, words = EXPORTED[case]
    assert words in refused(capsys, "predict", "data", *arguments)
    assert not (tmp_path / "output").exists()


def test_what_a_configuration_is_for(tiny, tmp_path):
    assert task_of(tmp_path / tiny).name == "classification"
    assert task_of(options.find_config(DETECTION)).name == "detection"
    assert task_of(options.find_config("smoke_fchardnet70_sample")).name == "segmentation"
