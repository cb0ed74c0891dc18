"""The same classes on every engine, from the trained network and from its exported files."""

import json
from pathlib import Path

import numpy as np
import pytest
import recipe
import yaml
from safetensors.numpy import save_file
from tiny_pictures import SETTINGS, SYNSETS, tree

from densebone.deploy.cards import read_card
from densebone.engines import opening
from densebone.errors import UserError
from densebone.scripts import main
from densebone.tasks.classification.config import load
from densebone.tasks.classification.evaluation import evaluate
from densebone.tasks.classification.exporting import export
from densebone.tasks.classification.prediction import predict, predict_exported

INSTALLED = [name for name in opening.ENGINES if name not in opening.missing()]
FORMATS = ["paddle", *(["onnx", "openvino"] if "openvino" in INSTALLED else [])]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with pictures, mine.yml and the recipe's HarDNet-39DS, exported in every format that is installed."""
    folder = tmp_path_factory.mktemp("engines")
    tree(folder / "data", SYNSETS, each=3)
    arrays = {key: np.ascontiguousarray(value) for key, value in recipe.weights("hardnet39ds").items()}
    save_file(arrays, folder / "w.safetensors")
    settings = {**SETTINGS, "model": {"name": "hardnet39ds"}, "preprocessing": {"resize": 72, "crop": 64}}
    settings["val_dataset"] = {**settings["val_dataset"], "root": str(folder / "data")}
    (folder / "mine.yml").write_text(yaml.safe_dump({**settings, "save_dir": str(folder / "output")}))
    return folder


@pytest.fixture(scope="module")
def exported(place):
    int8 = place / "data" if "onnx" in FORMATS else None
    return export(load(place / "mine.yml"), place / "out", str(place / "w.safetensors"), formats=FORMATS, int8=int8)


def options(engine):
    return {"engine": engine, "precision": "fp32", "threads": 1}


def classes(result):
    return [[row["class"] for row in picture["top"]] for picture in result["pictures"]]


def test_the_same_five_on_every_engine(place, exported, tmp_path, monkeypatch):
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path / "home"))
    pictures, weights = str(place / "data" / "val"), str(place / "w.safetensors")
    expected = classes(predict(load(place / "mine.yml"), pictures, tmp_path / "a", weights))
    assert len({tuple(row) for row in expected}) > 1
    for engine in INSTALLED:
        found = predict(load(place / "mine.yml"), pictures, tmp_path / "b", weights, engine=options(engine))
        assert classes(found) == expected, engine
        if engine != "eager":
            found = predict_exported(exported["folder"], pictures, tmp_path / "c", engine=options(engine))
            assert classes(found) == expected, f"exported for {engine}"


def test_evaluation_on_an_engine_counts_the_same(place, tmp_path, monkeypatch):
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path / "home"))
    weights = str(place / "w.safetensors")
    eager = evaluate(load(place / "mine.yml"), weights)
    found = evaluate(load(place / "mine.yml"), weights, options("auto"))
    assert found["images"] == 9
    assert {key: found[key] for key in ("top1", "top5")} == {key: eager[key] for key in ("top1", "top5")}


@pytest.mark.skipif("onnx" not in FORMATS, reason="paddle2onnx needs PaddlePaddle 3: pip install densebone[openvino]")
def test_every_format_is_written_and_checked(exported):
    assert set(exported["formats"]) == {"onnx", "openvino"}
    assert all(row["difference"] <= 1e-4 for row in exported["formats"].values())
    assert set(exported["int8"]["files"]) == {"model_int8.onnx", "model_int8.xml"}
    card = read_card(exported["folder"])
    assert (card["formats"], card["preprocessing"].crop) == (FORMATS, 64)
    assert set(card["int8"]["files"]) == {"model_int8.onnx", "model_int8.xml"} and card["int8"]["calibrated"] > 0


@pytest.mark.skipif("onnx" not in FORMATS, reason="paddle2onnx needs PaddlePaddle 3: pip install densebone[openvino]")
def test_8_bits_of_an_export_and_of_what_was_trained(place, exported, tmp_path, monkeypatch):
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path / "home"))
    pictures, small = str(place / "data" / "val"), {**options("onnxruntime"), "precision": "int8"}
    exact, rounded = (
        predict_exported(exported["folder"], pictures, tmp_path / name, engine={**small, "precision": name})
        for name in ("fp32", "int8")
    )
    assert classes(exact) == classes(predict_exported(exported["folder"], pictures, tmp_path / "again"))
    best = [[row["top"][0]["score"] for row in found["pictures"]] for found in (exact, rounded)]
    assert all(one != other for one, other in zip(*best))  # it was the other file that ran
    assert exported["int8"]["files"]["model_int8.onnx"]["error"] < 0.3
    given = {**small, "calibration": str(place / "data")}
    weights = str(place / "w.safetensors")
    assert evaluate(load(place / "mine.yml"), weights, given)["images"] == 9
    Path(exported["folder"], "model_int8.onnx").rename(tmp_path / "away.onnx")
    try:
        with pytest.raises(UserError, match=r"holds no model_int8\.onnx; export with --format onnx --int8 FOLDER"):
            predict_exported(exported["folder"], pictures, tmp_path / "x", engine=small)
    finally:
        (tmp_path / "away.onnx").rename(Path(exported["folder"], "model_int8.onnx"))


def test_what_cannot_be_is_one_line(place, exported, tmp_path, capsys):
    with pytest.raises(UserError, match="engine is 'eager', which runs no exported model"):
        predict_exported(exported["folder"], str(place / "data"), tmp_path, engine=options("eager"))
    assert main(["eval", "-c", str(place / "mine.yml"), "--precision", "bf16"]) == 2
    assert "add --engine auto" in capsys.readouterr().err


def test_json_stays_json_with_an_engine(place, exported, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    picture = next((place / "data" / "val").rglob("*.png"))
    assert main(["predict", "--model", exported["folder"], str(picture), "--json", "--engine", "auto"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["file_name"] == str(picture)
