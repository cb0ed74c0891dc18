"""Early stopping: when, and that a killed and resumed run stops where an uninterrupted one does."""

import json

import pytest

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

import tiny_training as tiny

from densebone import UserError
from densebone.tasks.segmentation import training
from densebone.training import checkpoints
from densebone.training.history import read_history
from densebone.training.stopping import is_over

SCORES = {2: 0.3, 4: 0.6, 6: 0.5, 8: 0.6, 10: 0.7, 12: 0.1}
NAN = float("nan")


@pytest.mark.parametrize(
    "scores, patience, over",
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.5], 1, True),  # as good is not better
        ([0.5, 0.4], 2, False),
        ([0.5, 0.4, 0.5], 2, True),
        ([0.5, 0.4, 0.6], 1, False),
        ([NAN, NAN], 1, False),  # nothing was ever good
        ([0.5, NAN], 1, True),
        ([NAN, 0.1], 1, False),
    ],
)
def test_when_patience_is_at_its_end(scores, patience, over):
    assert is_over([{"mIoU": score} for score in scores], "mIoU", patience) is over


@pytest.fixture
def scored(monkeypatch):
    """Evaluations give `SCORES`; returns the iterations that were evaluated."""
    runs, evaluated = [], []
    start = training.Run.start
    monkeypatch.setattr(training.Run, "start", lambda run, *a: (runs.append(run), start(run, *a))[1])

    def score(model, job):
        evaluated.append(runs[-1].iteration)
        return {"mIoU": SCORES[runs[-1].iteration], "accuracy": 0.9}

    monkeypatch.setattr(training, "score", score)
    return evaluated


def write(folder, **settings):
    return tiny.write(folder, **{"iters": 12, "save_interval": 2, "log_iters": 2, **settings})


def train(path, **options):
    return training.train(tiny.job(path), evaluate=True, **{"seed": 3, "patience": 2, **options})


def content(folder, name):
    return (folder / f"{name}.pdparams").read_bytes(), (folder / f"{name}.pdopt").read_bytes()


def test_a_run_stops_keeps_model_final_and_goes_on(tmp_path, scored, capsys):
    folder = train(write(tmp_path))
    assert scored == [2, 4, 6, 8]
    line = "stopped early at iteration 8 of 12: the best mIoU is 0.6000, of iteration 4, and 2 evaluations gave none"
    assert line in capsys.readouterr().out
    assert checkpoints.info(folder / "model_final")["iteration"] == 8
    assert content(folder, "model_final") == content(folder, "8")
    train(tmp_path / "tiny.yml", resume="auto")  # the same command again has nothing to do
    assert scored == [2, 4, 6, 8] and "stopped early at iteration 8 of 12" in capsys.readouterr().out
    train(tmp_path / "tiny.yml", resume="auto", patience=3)
    assert scored == [2, 4, 6, 8, 10, 12]
    assert checkpoints.info(folder / "model_final")["iteration"] == 12
    assert checkpoints.info(folder / "best_model")["iteration"] == 10


@pytest.mark.parametrize("last", ["8", "6"])
def test_a_killed_run_stops_where_an_uninterrupted_one_does(last, tmp_path, scored):
    folder = train(write(tmp_path))
    straight, rows = content(folder, "model_final"), read_history(folder / "history.jsonl")
    checkpoints.remove(folder, "model_final")  # killed before it was written, or a snapshot earlier
    if last == "6":
        checkpoints.remove(folder, "8")
        kept = [row for row in rows if row["iteration"] <= 6][:-1]  # before its evaluation was noted
        (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    scored.clear()
    train(tmp_path / "tiny.yml", resume="auto")
    assert scored == ([] if last == "8" else [6, 8])
    assert content(folder, "model_final") == straight
    again = read_history(folder / "history.jsonl")
    assert again == rows


def test_without_patience_and_at_the_end_nothing_stops_early(tmp_path, scored, capsys):
    train(write(tmp_path, iters=8), patience=None)
    train(tmp_path / "tiny.yml", overwrite=True)  # patience ends with the run itself
    assert "stopped early" not in capsys.readouterr().out


def test_patience_needs_evaluations_and_a_number(tmp_path):
    path = write(tmp_path)
    with pytest.raises(UserError, match=r"^patience is 3, and nothing is evaluated; add --eval"):
        training.train(tiny.job(path), patience=3)
    with pytest.raises(UserError, match=r"^patience is 0; a whole number of evaluations, at least 1, is expected"):
        train(path, patience=0)
