"""A folder appears whole or not at all, and what killed processes left of it goes away."""

import os

import pytest

from densebone.system.folders import new_folder


def test_a_folder_appears_and_replaces_what_was_there(tmp_path):
    for content in ("first", "second"):
        with new_folder(tmp_path / "new" / "name") as folder:
            (folder / "file").write_text(content)
            assert folder.name == "name" and folder.parent.name.startswith(".name-")
        assert (tmp_path / "new" / "name" / "file").read_text() == content
        assert os.listdir(tmp_path / "new") == ["name"]


def test_an_error_leaves_what_was_there(tmp_path):
    with pytest.raises(KeyError), new_folder(tmp_path / "name"):
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_left_goes_away(tmp_path):
    (tmp_path / ".name-0123abcd" / "name").mkdir(parents=True)
    (tmp_path / ".name-else").mkdir()  # somebody else's
    with new_folder(tmp_path / "name"):
        pass
    assert sorted(os.listdir(tmp_path)) == [".name-else", "name"]


def test_a_folder_that_was_put_aside_comes_back(tmp_path):
    """The process was killed after it had put the old folder aside and before the new one was there."""
    (tmp_path / ".name-0123abcd" / "before").mkdir(parents=True)
    (tmp_path / ".name-0123abcd" / "before" / "file").touch()
    with pytest.raises(KeyError), new_folder(tmp_path / "name"):
        assert (tmp_path / "name" / "file").is_file()
        raise KeyError
    assert os.listdir(tmp_path) == ["name"] and os.listdir(tmp_path / "name") == ["file"]
