"""Top-1 and top-5 against a count of our own, in one process and two, with pictures that cannot be read."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
import recipe
import yaml
from safetensors.numpy import save_file
from tiny_pictures import CLASSES, SETTINGS, picture, tree

from densebone import create_model
from densebone.errors import UserError
from densebone.pictures.preparing import prepare
from densebone.pictures.reading import read_image
from densebone.scripts import main
from densebone.tasks.classification import evaluation, weights
from densebone.tasks.classification.config import load
from densebone.training import checkpoints
from densebone.weights import catalog


@pytest.fixture(scope="module")
def network():
    paddle.seed(1)
    net = create_model("hardnet39ds", num_classes=len(CLASSES))
    net.eval()
    return net


@pytest.fixture
def place(tmp_path, monkeypatch, network):
    """The current folder, with mine.yml, pictures and w.safetensors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yml").write_text(yaml.safe_dump(SETTINGS))
    tree(tmp_path / "data", CLASSES)
    save_file({key: value.numpy() for key, value in network.state_dict().items()}, tmp_path / "w.safetensors")
    return tmp_path


def counted(network, job, names):
    """(top1, top5) of pictures, one by one."""
    ranks = []
    for name in names:
        image = paddle.to_tensor(prepare(read_image(name), job.preprocessing)[None])
        with paddle.no_grad():
            logits = network(image).numpy()[0]
        ranks.append(int((logits > logits[CLASSES.index(Path(name).parent.name)]).sum()))
    return np.mean(np.array(ranks) < 1), np.mean(np.array(ranks) < 5)


@pytest.mark.parametrize("workers", [0, 1])
def test_top1_and_top5_are_counted_right(place, network, workers):
    job = load("mine.yml", [f"num_workers={workers}"])
    result = evaluation.evaluate(job, "w.safetensors")
    top1, top5 = counted(network, job, evaluation.open_set(job, "val").pictures)
    assert 0 < top5 < 1
    assert (result["top1"], result["top5"], result["images"], result["skipped"]) == (top1, top5, 14, [])
    assert json.loads((place / "output" / "mine" / "evaluation.json").read_text()) | {"file": result["file"]} == result
    assert (result["claimed"], result["preprocessing"]["crop"]) == (None, 32)


def spoil(place):
    """Makes one picture of class b unreadable, and adds one that is none; returns their names."""
    victim = sorted((place / "data" / "val" / "b").glob("*.png"))[0]
    with open(victim, "r+b") as stream:
        stream.truncate(100)
    (place / "data" / "val" / "f" / "z.jpg").write_text("no picture")
    return ["data/val/b/" + victim.name, "data/val/f/z.jpg"]


def test_corrupt_pictures_are_named_and_the_rest_goes_on(place, network, capsys):
    bad = spoil(place)
    assert main(["eval", "-c", "mine.yml", "-w", "w.safetensors"]) == 1
    captured = capsys.readouterr()
    assert re.search(rf"skipped {bad[0]}: is truncated or damaged", captured.err)
    assert f"skipped {bad[1]}: is not a picture" in captured.err
    assert "2 pictures skipped" in captured.out and "on 13 pictures" in captured.out
    result = json.loads((place / "output" / "mine" / "evaluation.json").read_text())
    assert [row["file"] for row in result["skipped"]] == bad
    job = load("mine.yml")
    good = [name for name in evaluation.open_set(job, "val").pictures if name not in bad]
    assert (result["top1"], result["top5"]) == counted(network, job, good)


def test_nothing_can_be_read(place, network):
    for file in (place / "data" / "val").rglob("*.png"):
        file.write_text("no picture")
    with pytest.raises(UserError, match=r"none of the 14 pictures can be read \(data/val/a/.*is not a picture"):
        evaluation.score(network, load("mine.yml"))


def test_a_network_that_returns_nan_is_refused_and_training_goes_on(place, network):
    job = load("mine.yml")
    net = create_model("hardnet39ds", num_classes=len(CLASSES))
    net.train()
    evaluation.score(net, job)
    assert net.training
    key = [key for key in net.state_dict() if key.endswith("bias")][-1]
    net.state_dict()[key].set_value(np.full(len(CLASSES), np.nan, "float32"))
    with pytest.raises(UserError, match="values that are not finite"):
        evaluation.score(net, job)


def test_two_processes_count_together(place):
    bad = spoil(place)
    assert main(["eval", "-c", "mine.yml", "-w", "w.safetensors", "-o", "save_dir=one"]) == 1
    (place / "densebone.py").write_text(
        "import sys\nsys.path.pop(0)\nfrom densebone.scripts import main\nsys.exit(main())"
    )
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", "logs"]
    done = subprocess.run(
        [*command, "densebone.py", "eval", "-c", "mine.yml", "-w", "w.safetensors", "-o", "save_dir=two"],
        cwd=place, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode, "pictures were skipped"
    one, two = (json.loads((place / name / "mine" / "evaluation.json").read_text()) for name in ("one", "two"))
    assert one == two, done.stdout
    assert [row["file"] for row in two["skipped"]] == bad
    logs = "".join(log.read_text() for log in sorted((place / "logs").glob("workerlog.*")))
    assert logs.count("on 13 pictures") == logs.count(f"skipped {bad[1]}") == 1


# weights


@pytest.fixture
def published(monkeypatch, tmp_path):
    """The recipe's weights stand in for every published file."""

    def stand_in(name, model):
        save_file(
            {k: np.ascontiguousarray(v) for k, v in recipe.weights(model).items()}, tmp_path / f"{model}.safetensors"
        )
        monkeypatch.setattr("densebone.tasks.weights.locate", lambda source: tmp_path / f"{model}.safetensors")
        return name

    return stand_in


def test_published_weights_bring_their_preprocessing_their_form_and_their_claim(place, published, capsys):
    name = published("condensenetv2_a.ppim", "cdnv2_a_converted")
    settings = {**SETTINGS, "preprocessing": None, "model": {"name": "condensenetv2_a", "options": {"form": "learned"}}}
    (place / "a.yml").write_text(yaml.safe_dump(settings))
    trained = weights.load_trained(load("a.yml"), name)
    assert trained.preprocessing == catalog.find(name).preprocessing
    assert (trained.preprocessing.interpolation, trained.options, trained.model.form) == (
        "bicubic", {"form": "condensed"}, "condensed",
    )  # fmt: skip
    assert trained.classes[0] == "tench"
    assert "sets preprocessing" not in capsys.readouterr().err
    weights.load_trained(load("a.yml", ["preprocessing={interpolation: bilinear}"]), name)
    assert re.search(
        r"note: a\.yml sets preprocessing: shorter side to 256 \(pil, bilinear\), .*; the catalog has for .*bicubic",
        capsys.readouterr().err,
    )


def test_the_claim_is_beside_what_was_measured(place, published, capsys):
    name = published("hardnet39ds.official", "hardnet39ds")
    tree(place / "things", ("n02099601", "n04285008"), each=1, parts=("val",))
    settings = {**SETTINGS, "preprocessing": None, "model": {"name": "hardnet39ds"}}
    (place / "a.yml").write_text(yaml.safe_dump(settings))
    assert main(["eval", "-c", "a.yml", "-w", name, "--data", "things"]) == 0
    entry = catalog.find(name)
    claim = re.escape(f"claimed: {entry.accuracy} ({entry.claimed_by})")
    assert re.search(rf"top-1 \d+\.00 %, top-5 \d+\.00 % on 2 pictures; {claim}", capsys.readouterr().out)


def test_what_training_kept_is_used(place, network, capsys):
    kept = {"preprocessing": {**vars(load("mine.yml").preprocessing), "resize": 50}, "classes": list("ABCDEFG")}
    about = {"epoch": 0, "iteration": 1, **kept}
    checkpoints.save(place / "output" / "mine", "best_model", {".pdparams": network.state_dict()}, about)
    (place / "mine.yml").write_text(yaml.safe_dump({**SETTINGS, "preprocessing": None}))
    trained = weights.load_trained(load("mine.yml"))
    assert (trained.path.name, trained.preprocessing.resize, trained.classes) == (
        "best_model.pdparams",
        50,
        list("ABCDEFG"),
    )
    other = weights.load_trained(load("mine.yml", ["preprocessing.resize=60", "class_names=[1, 2, 3, 4, 5, 6, 7]"]))
    assert (other.preprocessing.resize, other.classes) == (60, list("1234567"))
    assert "they were trained with for best_model.pdparams: shorter side to 50" in capsys.readouterr().err


def test_weights_of_other_classes_are_refused(place, published):
    published("hardnet39ds.official", "hardnet39ds")
    with pytest.raises(UserError, match=r"another number of classes than model\.num_classes, 7; use the configuration"):
        weights.load_trained(load("mine.yml"), "hardnet39ds.official")
    with pytest.raises(UserError, match=r"another number of classes than model\.num_classes, 5"):
        weights.load_trained(load("mine.yml", ["model.num_classes=5"]), "w.safetensors")
    with pytest.raises(UserError, match="there is no trained classifier in output/mine; train one, or give -w"):
        weights.load_trained(load("mine.yml"))
    picture(place / "odd.png")
    with pytest.raises(UserError, match=r"weights odd\.png do not exist"):
        weights.load_trained(load("mine.yml"), "odd.png")


def test_figures_of_every_class_and_a_report(place, network, capsys):
    spoilt = spoil(place)
    assert main(["eval", "-c", "mine.yml", "-w", "w.safetensors", "--report"]) == 1  # pictures were left out
    printed = capsys.readouterr().out
    folder = load("mine.yml").folder
    result = json.loads((folder / "evaluation.json").read_text())
    rows = {row["name"]: row for row in result["classes"]}
    assert tuple(rows) == CLASSES and sum(row["pictures"] for row in rows.values()) == result["images"]
    right = sum(row["pictures"] * (row["accuracy"] or 0) for row in rows.values())
    assert right / result["images"] == pytest.approx(result["top1"])
    assert all(f"{name}  " in printed for name in CLASSES) and f"report: {folder / 'report' / 'report.html'}" in printed
    metrics = json.loads((folder / "report" / "metrics.json").read_text())
    for row in metrics["classes"]:
        assert row["pictures"] == rows[row["name"]]["pictures"]
        assert row["accuracy"] == rows[row["name"]]["accuracy"]
    assert metrics["pictures"] == result["images"] == sum(metrics["calibration"]["bins"]["count"])
    assert (folder / "classes.csv").read_text().startswith("name,pictures,accuracy,precision,F1\n")
    assert not [case for case in metrics["worst"] if any(name in case["file"] for name in spoilt)]


def test_a_report_is_made_by_one_process(place, monkeypatch):
    monkeypatch.setattr("paddle.distributed.get_world_size", lambda: 2)
    with pytest.raises(UserError, match="--report needs the answers to all pictures in one process, and there are 2"):
        evaluation.evaluate(load("mine.yml"), "w.safetensors", report="out")
