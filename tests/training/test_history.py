"""The history of a run survives a kill. A resumed run drops the rows after its iteration."""

import json

import pytest

from densebone.training.history import History, read_history


def rows(*iterations):
    return [{"kind": "train", "iteration": i, "loss": 1 / i} for i in iterations]


def test_rows_are_on_the_disk_at_once(tmp_path):
    history = History(tmp_path, 0)
    for row in rows(1, 2):
        history.add(row)
    assert history.rows == read_history(tmp_path / "history.jsonl") == rows(1, 2)


def test_a_resumed_run_keeps_rows_up_to_its_iteration(tmp_path):
    file = tmp_path / "history.jsonl"
    whole = "".join(json.dumps(row) + "\n" for row in rows(1, 2, 3))
    file.write_text(whole + '{"kind": "train", "iterat')  # a kill cut the last line
    assert read_history(file) == rows(1, 2, 3)
    assert History(tmp_path, 2, write=False).rows == rows(1, 2)
    assert file.read_text() != whole
    history = History(tmp_path, 2)
    history.add(rows(9)[0])
    assert read_history(file) == rows(1, 2, 9)
    assert History(tmp_path, 0).rows == []
    assert file.read_text() == ""


def test_a_process_that_does_not_write_leaves_the_folder_alone(tmp_path):
    history = History(tmp_path, 0, write=False)
    history.add(rows(1)[0])
    history.draw()
    assert history.rows == rows(1)
    assert list(tmp_path.iterdir()) == []
    assert read_history(tmp_path / "history.jsonl") == []


def test_curves_are_drawn_when_there_are_rows(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib comes with the toolkits")
    history = History(tmp_path, 0)
    history.draw()
    assert not list(tmp_path.iterdir())  # a run that ends before its first row leaves no files
    history.add(rows(1)[0])
    history.add({"kind": "eval", "iteration": 2, "top1": 0.5})
    history.draw()
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert (tmp_path / "history.csv").read_text().splitlines() == [
        "kind,iteration,loss,top1", "train,1,1.0,", "eval,2,,0.5",
    ]  # fmt: skip
