"""A detector's life through the commands: train, kill, resume, evaluate, predict, export."""

import json
from pathlib import Path

from killing import kill_after, start
from PIL import Image


def losses(folder):
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [(row["iteration"], row["loss"]) for row in rows if row["kind"] == "train"]


def live(densebone, config, data, cwd, options, epochs, iterations, picture):
    """The whole life; returns the losses and what the commands printed."""
    common = ["-c", config, "--data", data, "-o", "log_iter=1", f"epoch={epochs}", "snapshot_epoch=1", *options]
    log = cwd / "train.log"
    process = start([*common, "--seed", 3], cwd, log)
    kill_after(process, f"saved output/{config}/{epochs // 3 - 1}", log)
    folder = cwd / "output" / config
    resumed = densebone("train", *common, "--seed", 3, "--resume", cwd=cwd, timeout=3000)
    assert resumed.returncode == 0, resumed.stderr + resumed.stdout
    assert "resuming from" in resumed.stdout
    curve = losses(folder)
    assert [iteration for iteration, _ in curve] == list(range(1, iterations + 1))
    manifest = json.loads((folder / "model_final.json").read_text())
    assert (manifest["epoch"], manifest["iteration"]) == (epochs, iterations)
    assert Image.open(folder / "curves.png").size[0] > 100
    assert not list(folder.rglob(".*"))

    evaluated = densebone("eval", *common, "--report", cwd=cwd, timeout=3000)
    assert evaluated.returncode == 0, evaluated.stderr + evaluated.stdout
    result = json.loads((folder / "evaluation.json").read_text())
    assert 0 <= result["AP"] <= 1 and 0 <= result["AP50"] <= 1

    predicted = densebone("predict", *common, "-O", "pictures", "-t", 0.02, picture, cwd=cwd)
    assert predicted.returncode == 0, predicted.stderr + predicted.stdout
    assert Image.open(cwd / "pictures" / f"{Path(picture).stem}.jpg").size == Image.open(picture).size
    assert isinstance(json.loads((cwd / "pictures" / "predictions.json").read_text()), list)

    exported = densebone("export", *common, "-O", "exported", "--check", picture, cwd=cwd)
    assert exported.returncode == 0, exported.stderr + exported.stdout
    assert "largest relative difference" in exported.stdout
    assert (cwd / "exported" / config / "model.pdiparams").is_file()
    return curve, evaluated.stdout, exported.stdout
