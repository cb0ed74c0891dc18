"""From nothing to an exported classifier: train, eval, export, and predict with what was exported.

The long one trains every family from random weights on the sample set, minutes each:

    python -m pytest tests/classification/test_lifecycle.py -m acceptance -s
"""

import json
import time
from pathlib import Path

import pytest
import yaml
from tiny_pictures import CLASSES, SETTINGS, tree

from densebone.datasets.generated import imagenet
from densebone.scripts import main

SMOKE = ("smoke_hardnet39ds_sample", "smoke_peleenet_sample", "smoke_condensenetv2a_sample")


def run(capsys, *arguments):
    """Runs a command in this process and returns what it prints."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def chain(capsys, config, data, folder_of):
    """The commands after training; returns evaluation.json. `folder_of`: name of a class -> name of its folder."""
    name = Path(config).stem
    run(capsys, "eval", "-c", config, "--data", data)
    evaluation = json.loads(Path("output", name, "evaluation.json").read_text())
    assert "its logits are the trained network's" in run(capsys, "export", "-c", config, "--data", data)
    exported = Path("output_inference", name)
    rows = run(capsys, "predict", "--model", exported, Path(data) / "val", "--json").splitlines()
    pictures = [json.loads(row) for row in rows]
    right = [folder_of[p["top"][0]["name"]] == Path(p["file_name"]).parent.name for p in pictures]
    # evaluated with the trained network, counted here with the exported one
    assert len(right) == evaluation["images"]
    assert abs(sum(right) - evaluation["top1"] * len(right)) < 0.01 + len(right) // 100  # rounding may turn one in 100
    return evaluation


def test_the_chain(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "data", CLASSES)
    Path("tiny.yml").write_text(yaml.safe_dump({**SETTINGS, "epochs": 2, "log_iters": 1}))
    run(capsys, "train", "-c", "tiny.yml", "--eval", "--seed", "1")
    rows = [json.loads(row) for row in Path("output/tiny/history.jsonl").read_text().splitlines()]
    evaluation = chain(capsys, "tiny.yml", "data", {name: name for name in CLASSES})
    assert evaluation["weights"] == "output/tiny/best_model.pdparams"
    assert evaluation["top1"] == pytest.approx(max(row["top1"] for row in rows if row["kind"] == "eval"))


@pytest.mark.acceptance
@pytest.mark.parametrize("config", SMOKE)
def test_every_family_learns_the_sample_set(tmp_path, monkeypatch, capsys, config):
    monkeypatch.chdir(tmp_path)
    run(capsys, "sample-data", "imagenet", "things")
    start = time.perf_counter()
    run(capsys, "train", "-c", config, "--data", "things", "--eval", "--seed", "0")
    seconds = time.perf_counter() - start
    evaluation = chain(capsys, config, "things", dict(zip(imagenet.CLASSES, imagenet.SYNSETS)))
    assert Path("output", config, "curves.png").is_file()
    with capsys.disabled():
        print(f"\n{config}: top-1 {evaluation['top1']:.3f} on {evaluation['images']} pictures after {seconds:.0f} s")
    assert evaluation["top1"] >= 0.9
