"""Files appear whole or not at all."""

import os
import stat
import subprocess
import sys

import pytest

from densebone.errors import UserError
from densebone.system.files import _create_beside, atomic_path, check_writable, remove_temporaries


def test_file_appears_on_success_and_folders_are_made(tmp_path):
    target = tmp_path / "a" / "b" / "curve.png"
    with atomic_path(str(target)) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["curve.png"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path, error):
    target = tmp_path / "model.npz"
    target.write_bytes(b"old")
    with pytest.raises(error), atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.npz"]


def test_a_writer_may_replace_the_temporary_file(tmp_path):
    with atomic_path(tmp_path / "x.txt") as temporary:
        temporary.unlink()
        temporary.write_text("again")
    assert (tmp_path / "x.txt").read_text() == "again"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / "plain").touch()
    with atomic_path(tmp_path / "ours") as temporary:
        temporary.write_text("")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")}
    assert len(modes) == 1


def test_long_names_fit(tmp_path):
    name = "n" * 240 + ".json"
    with atomic_path(tmp_path / name) as temporary:
        temporary.write_text("{}")
    assert os.listdir(tmp_path) == [name]


def test_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"cannot write into the folder .*file \(.*give a path"),
        atomic_path(tmp_path / "file" / "x.png"),
    ):
        pass


def test_folder_without_permission_is_named(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # not chmod: root may write everywhere
    with (
        pytest.raises(UserError, match=r"the folder .*closed \(Permission denied\)"),
        atomic_path(tmp_path / "closed" / "x.png"),
    ):
        pass


def test_target_that_is_a_folder(tmp_path):
    with pytest.raises(UserError, match=r"is a folder.*give the name of a file"), atomic_path(tmp_path):
        pass


def test_a_folder_that_can_be_written_to_is_made_and_left_empty(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write into the folder"):
        check_writable(tmp_path / "file" / "b")


KILLED = """
import os, signal, sys
from densebone.system.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_the_next_writer_takes_over_what_a_killed_one_left(tmp_path):
    for _ in range(2):
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.txt")])
        assert len(os.listdir(tmp_path)) == 1
    with atomic_path(tmp_path / "a.txt") as temporary:
        assert temporary.read_text() == ""
        temporary.write_text("whole")
    assert os.listdir(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "whole"


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    with atomic_path(tmp_path / "a.txt") as first, atomic_path(tmp_path / "a.txt") as second:
        assert first != second
        second.write_text("second")
        first.write_text("first")
    assert os.listdir(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "first"


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    left = []
    for name in ("5.pdparams", "curves.png", "evaluation.json"):
        temporary, handle = _create_beside(tmp_path / name)
        os.close(handle)
        left.append(temporary)
    for name in ("5.pdparams", ".hidden.png", ".mine-12345678.txt", "a-12345678.png"):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path, (".pdparams", ".png"))
    kept = {left[2].name, "5.pdparams", ".hidden.png", ".mine-12345678.txt", "a-12345678.png"}
    assert set(os.listdir(tmp_path)) == kept
