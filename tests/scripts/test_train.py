"""The options of `densebone train`, from the command line to the run's folder."""

import json

import pytest
import tiny_classification as tiny

from densebone.scripts import options, train
from densebone.scripts.eval import main as evaluate
from densebone.tasks.task import TASKS


def test_a_run_with_plain_options(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("DENSEBONE_LOG_SECONDS", raising=False)
    path = tiny.write(tmp_path, epochs=90)
    given = ["--epochs", "2", "--batch", "6", "--lr", "0.01", "--imgsz", "64", "--device", "cpu", "--seed", "5"]
    assert train.main(["-c", str(path), *given, "--eval", "--patience", "3", "--vdl", "--logger", "vdl"]) == 0
    folder = tmp_path / "output" / "tiny"
    said = capsys.readouterr().out
    assert said.splitlines()[:13] == [
        f"configuration  {path}",
        "data           18 pictures for training, 18 for validation",
        "classes        3",
        "input          64 x 64",
        "batch          6",
        "length         2 epochs of 3 iterations = 6 iterations",
        "snapshots      every 3 iterations, evaluated",
        "patience       stops after 3 evaluations without a better one",
        "learning rate  0.01, Cosine, Momentum",
        "weights        random",
        "device         cpu",
        "seed           5",
        f"folder         {folder}",
    ]
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows if row["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert rows[0]["lr"] == 0.01
    shown = [line.split(":")[0] for line in said.splitlines() if line.startswith("iteration ")]
    assert shown == ["iteration 1/6", "iteration 6/6"]  # the first and the last, within 30 seconds
    log = (folder / "train.log").read_text()
    assert all(f"iteration {i}/6: loss" in log for i in range(1, 7)) and f"saved {folder}/model_final" in log
    assert len(list((folder / "vdl").iterdir())) == 1
    assert json.loads((folder / "model_final.json").read_text())["preprocessing"]["crop"] == 64
    assert evaluate(["-c", str(path), "--imgsz", "32"]) == 0


@pytest.mark.parametrize(
    "name, given", [("epochs", "0"), ("batch", "nan"), ("lr", "-1"), ("patience", "0"), ("imgsz", "33")]
)
def test_what_is_wrong_is_said_before_anything_starts(name, given, tmp_path):
    from densebone import UserError

    with pytest.raises(UserError, match=f"^--{name} is '{given}'; .* expected"):
        train.main(["-c", str(tiny.write(tmp_path)), "--eval", f"--{name}", given])
    assert not (tmp_path / "output").exists()


def test_commands_that_share_names_of_options_keep_their_own():
    """`export` and `profile` have a --batch of their own, which changes no configuration."""
    parser = options.plain_parser("profile", "")
    parser.add_argument("--batch", type=int)
    assert not options.given_settings(parser.parse_args(["--batch", "4"]))
    parser = options.parser("train", "")
    options.add_settings(parser)
    assert options.given_settings(parser.parse_args(["-c", "x", "--batch", "4"])).batch == 4
    assert all(callable(task.part("settings").change) for task in [TASKS["classification"]])
