"""Only whole checkpoints count."""

import json
import os

import numpy as np
import paddle
import pytest

from densebone import UserError
from densebone.training import checkpoints


def states(value=1.0):
    return {".pdparams": {"w": np.full(4, value, "float32")}, ".pdopt": {"last_epoch": 3}}


def test_round_trip_and_the_furthest_one(tmp_path):
    assert checkpoints.last_whole(tmp_path) is None
    checkpoints.save(tmp_path, "0", states(), {"epoch": 1, "iteration": 10})
    checkpoints.save(tmp_path, "9", states(), {"epoch": 10, "iteration": 100})
    checkpoints.save(tmp_path, "best_model", states(), {"epoch": 11, "iteration": 110})
    path, about = checkpoints.last_whole(tmp_path)
    assert (path.name, about["epoch"]) == ("9", 10)
    assert paddle.load(str(tmp_path / "9.pdopt"))["last_epoch"] == 3
    assert checkpoints.require(tmp_path / "9.pdparams")[0] == tmp_path / "9"


@pytest.mark.parametrize("harm", ["cut", "flipped", "gone", "no list"])
def test_a_damaged_one_does_not_count(tmp_path, harm):
    checkpoints.save(tmp_path, "0", states(), {"epoch": 1, "iteration": 10})
    checkpoints.save(tmp_path, "1", states(), {"epoch": 2, "iteration": 20})
    file = tmp_path / "1.pdparams"
    content = file.read_bytes()
    if harm == "cut":
        file.write_bytes(content[:-1])
    elif harm == "flipped":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif harm == "gone":
        file.unlink()
    else:
        (tmp_path / "1.json").write_text('{"files"')
    assert checkpoints.last_whole(tmp_path)[0].name == "0"
    with pytest.raises(UserError, match="does not exist" if harm == "gone" else "half written"):
        checkpoints.require(tmp_path / "1")


def test_a_save_that_is_cut_short_leaves_no_whole_checkpoint_and_no_litter(tmp_path, monkeypatch):
    checkpoints.save(tmp_path, "best_model", states(1.0), {"epoch": 1, "iteration": 10})
    real = paddle.save

    def save_then_fail(state, path):
        real(state, path)
        if path.endswith(".pdopt"):
            raise KeyboardInterrupt

    monkeypatch.setattr(paddle, "save", save_then_fail)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(tmp_path, "best_model", states(2.0), {"epoch": 2, "iteration": 20})
    assert checkpoints.info(tmp_path / "best_model") is None
    left = ["best_model.json", "best_model.pdopt", "best_model.pdparams"]
    assert sorted(p.name for p in tmp_path.iterdir()) == left


def test_a_save_that_is_cut_short_is_not_taken_for_a_toolkits_checkpoint(tmp_path, monkeypatch):
    """Both files that a toolkit writes are whole, and what comes after them is missing."""
    real = paddle.save

    def save_or_fail(state, path):
        if path.endswith(".pdema"):
            raise KeyboardInterrupt
        real(state, path)

    monkeypatch.setattr(paddle, "save", save_or_fail)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(tmp_path, "0", {**states(), ".pdema": {}}, {"epoch": 1, "iteration": 10})
    assert (tmp_path / "0.pdparams").is_file() and (tmp_path / "0.pdopt").is_file()
    assert checkpoints.starting_point(tmp_path, "auto", False) == (None, {})
    with pytest.raises(UserError, match="half written"):
        checkpoints.require(tmp_path / "0")


def test_a_toolkits_checkpoint_has_no_list_and_is_read_to_its_end(tmp_path):
    for suffix, state in states().items():
        paddle.save(state, str(tmp_path / f"7{suffix}"))
    assert checkpoints.require(tmp_path / "7") == (tmp_path / "7", {})
    content = (tmp_path / "7.pdopt").read_bytes()
    (tmp_path / "7.pdopt").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="damaged or half written"):
        checkpoints.require(tmp_path / "7")


def test_remove_all_removes_checkpoints_alone(tmp_path):
    checkpoints.save(tmp_path, "0", states(), {"epoch": 1, "iteration": 10})
    (tmp_path / "notes.txt").write_text("kept")
    (tmp_path / "evaluation.json").write_text("{}")
    assert checkpoints.any_files(tmp_path)
    checkpoints.remove_all(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evaluation.json", "notes.txt"]
    assert not checkpoints.any_files(tmp_path)


def test_the_newest_without_a_list_that_can_be_read(tmp_path):
    assert checkpoints.last_unlisted(tmp_path) is None
    for number, name in enumerate(("3", "4", "5")):
        for suffix, state in states().items():
            paddle.save(state, str(tmp_path / f"{name}{suffix}"))
            os.utime(tmp_path / f"{name}{suffix}", (number, number))
    (tmp_path / "5.pdparams").write_bytes(b"cut")
    assert checkpoints.last_unlisted(tmp_path) == (tmp_path / "4", {})
    assert checkpoints.last_whole(tmp_path) is None


def test_the_list_names_sizes_and_hashes(tmp_path):
    checkpoints.save(tmp_path, "0", states(), {"epoch": 1, "iteration": 10})
    files = json.loads((tmp_path / "0.json").read_text())["files"]
    assert files["0.pdparams"]["bytes"] == (tmp_path / "0.pdparams").stat().st_size
    assert len(files["0.pdparams"]["sha256"]) == 64


@pytest.mark.parametrize("suffix", [".pdparams", ".pdopt"])
@pytest.mark.parametrize("harm", ["gone", "replaced"])
def test_a_checkpoint_of_which_a_file_was_replaced_is_not_passed_over(tmp_path, suffix, harm):
    for name, iteration in (("0", 10), ("1", 20)):
        checkpoints.save(tmp_path, name, states(), {"epoch": 1, "iteration": iteration})
    file = tmp_path / f"1{suffix}"
    file.unlink() if harm == "gone" else file.write_bytes(b"another file")
    with pytest.raises(UserError, match=r"cannot resume: of checkpoint .*1 a file is missing or is not the one"):
        checkpoints.starting_point(tmp_path, "auto", False)
    assert checkpoints.starting_point(tmp_path, tmp_path / "0", False)[0] == tmp_path / "0"
    (tmp_path / "1.json").write_text('{"files": {}}')  # as a run leaves it that is killed while it writes
    assert checkpoints.starting_point(tmp_path, "auto", False)[0] == tmp_path / "0"


def test_what_a_kill_left_is_tidied_when_a_run_starts_again(tmp_path):
    checkpoints.save(tmp_path, "0", states(), {"epoch": 1, "iteration": 10})
    half = tmp_path / ".1-0123abcd.pdparams"
    half.touch()
    with pytest.raises(UserError, match="holds the checkpoints of an earlier run"):
        checkpoints.starting_point(tmp_path, None, False)
    assert half.exists()
    assert checkpoints.starting_point(tmp_path, "auto", False)[0] == tmp_path / "0"
    assert not half.exists()
