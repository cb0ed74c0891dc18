"""The folder of an exported model is replaced as a whole or not at all."""

import os

import pytest

from densebone.deploy.folders import exported_folder
from densebone.engines.formats import PARAMETERS
from densebone.errors import UserError


def write(folder, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PARAMETERS).write_text(content)


def test_a_model_appears_and_replaces_an_earlier_one(tmp_path):
    target = tmp_path / "new" / "name"
    for content in ("first", "second"):
        with exported_folder(target) as folder:
            assert folder.name == "name"
            assert folder.is_dir() and not list(folder.iterdir())
            write(folder, content)
            assert not target.exists() or (target / PARAMETERS).read_text() == "first"
        assert (target / PARAMETERS).read_text() == content
        assert os.listdir(target.parent) == ["name"]


def test_a_failure_leaves_what_was_there(tmp_path):
    write(tmp_path / "name", "first")
    with pytest.raises(KeyError), exported_folder(tmp_path / "name") as folder:
        write(folder, "second")
        raise KeyError
    assert (tmp_path / "name" / PARAMETERS).read_text() == "first"
    assert os.listdir(tmp_path) == ["name"]


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_no_exported_model_stays(tmp_path, kind):
    target = tmp_path / "name"
    if kind == "folder":
        target.mkdir()
    elif kind == "file":
        target.write_text("text")
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="only an exported model is replaced"), exported_folder(target):
        pytest.fail("entered")
    assert os.listdir(tmp_path) == ["name"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "name"
    with pytest.raises(UserError, match="cannot write into the folder"), exported_folder(target):
        pytest.fail("entered")
