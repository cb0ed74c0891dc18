"""`densebone profile` of models and configurations, and its files."""

import csv
import json

import pytest
from PIL import Image

from densebone.scripts import main


def test_a_model_with_all_files(tmp_path, capsys):
    files = [tmp_path / "new" / f"costs.{ending}" for ending in ("json", "csv", "png")]
    options = [text for file in files for text in (f"--{file.suffix[1:]}", str(file))]
    assert main(["profile", "peleenet", "--input-size", "64", "96", "--batch", "2", *options]) == 0
    out = capsys.readouterr().out
    saved = json.loads(files[0].read_text())
    rows = list(csv.DictReader(files[1].open()))
    lines = out.splitlines()
    assert lines[0].strip() == "peleenet"
    assert [line.split()[0] for line in lines[2:116]] == [row["name"] for row in rows]
    assert sum("memory" in line for line in lines[2:116]) == sum(layer["memory_bound"] for layer in saved["layers"]) > 0
    totals = ["all", f"{saved['parameters']:,}", f"{saved['macs'] / 1e6:,.2f}", f"{saved['cio'] / 1e6:,.3f}"]
    assert lines[116].split()[:4] == totals
    assert "input 2x3x64x96, fp32; memory: below 11 FLOP per byte" in out
    assert all(f"written: {file}" in out for file in files)
    with Image.open(files[2]) as picture:
        assert picture.format == "PNG"
        assert picture.width >= 700


def test_the_form_of_condensenetv2(capsys):
    assert main(["profile", "condensenetv2_a", "--form", "learned", "--precision", "bf16", "--balance", "5"]) == 0
    out = capsys.readouterr().out
    assert "3,350,244" in out
    assert "bf16; memory: below 5 FLOP per byte" in out


def test_a_whole_detector(densebone):
    pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
    done = densebone("profile", "-c", "ssd_hardnet68_300_150e_coco")
    assert done.returncode == 0, done.stderr
    assert "input 1x3x300x300" in done.stdout
    assert "ssd_head.boxes5" in done.stdout


def test_a_whole_segmenter(tmp_path, capsys):
    pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
    path = tmp_path / "costs.json"
    assert main(["profile", "-c", "smoke_fchardnet70_sample", "--json", str(path)]) == 0
    assert "input 1x3x128x256" in capsys.readouterr().out
    saved = json.loads(path.read_text())
    assert (saved["name"], saved["parameters"]) == ("smoke_fchardnet70_sample", 4119257)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of: the name of a model (densebone list), -c CONFIG, or --all"),
        (["peleenet", "--all"], "give one of"),
        (["hardnet6"], "there is no model 'hardnet6'"),
        (["peleenet", "--form", "learned"], "there is no option form"),
        (["--all", "--form", "learned"], "--form is for the name of a model"),
        (["peleenet", "--input-size", "0", "224"], "give height and width"),
        (["peleenet", "--precision", "fp8"], "precision is 'fp8'"),
        (["peleenet", "--png", "costs.jpg"], "give a name that ends in .png"),
        (["-c", "no_such_config"], "configuration no_such_config does not exist"),
    ],
)
def test_what_a_user_gets_wrong(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["profile", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("densebone: ")
    assert message in captured.err
    assert captured.out == ""
    assert not list(tmp_path.iterdir())
