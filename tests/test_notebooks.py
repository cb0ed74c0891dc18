"""The notebooks of docs/notebooks run from a clean kernel, on few pictures; the long ones with -m acceptance."""

import re

import notebooks
import pytest
from IPython.core.error import UsageError

from densebone.scripts import magic

# name -> (small values of its parameters, what it prints then)
QUICK = {
    "pruning": ({"steps": 4, "side": 32, "fastest": "eager"}, r"keep 1[0-9]\.\d% of their connections"),
    "retrieval": (
        {"pictures": 20, "queries": 10, "engine": "eager"},
        r"\d+% of the neighbours are of",
    ),
    "runtime": ({"train": 20, "val": 10, "epochs": 1}, r"Paddle imported: False"),
}
LONG = {
    "detector": ({"train": 40, "val": 8, "epochs": 6}, r"exported to exported/"),
    "streets": ({"train": 8, "val": 2, "iterations": 4}, r"mIoU"),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to run in. Jupyter keeps its history and its connections there too."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def check(name, place, parameters, expected):
    text = notebooks.shown(notebooks.execute(name, place, **parameters))
    assert re.search(expected, text), text


@pytest.mark.parametrize("name", QUICK)
def test_a_notebook_runs(name, place):
    check(name, place, *QUICK[name])


@pytest.mark.acceptance
@pytest.mark.parametrize("name", LONG)
def test_a_long_notebook_runs(name, place):
    """A minute each: they train a detector and FC-HarDNet."""
    check(name, place, *LONG[name])


@pytest.mark.parametrize("name", notebooks.names())
def test_what_a_notebook_holds(name):
    assert name in {**QUICK, **LONG}
    path = notebooks.FOLDER / f"{name}.ipynb"
    notebook, text = notebooks.read(name), path.read_text()
    assert path.stat().st_size < 500e3
    assert [link for link in re.findall(r"\]\(([^)#:\s]+)\)", text) if not (path.parent / link).is_file()] == []
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("image/jpeg" in output.get("data", {}) for output in outputs), "tests/helpers/notebooks.py writes them"
    assert all(output.output_type in ("stream", "display_data") for output in outputs)
    assert not re.search(r"/tmp/|/home/|/root/", notebooks.shown(notebook))


def test_a_command_that_fails_stops_the_notebook(capsys):
    assert magic("list 'hardnet*'") is None
    assert "hardnet68" in capsys.readouterr().out
    with pytest.raises(UsageError, match="densebone info hardnet ended with status 2: not done"):
        magic("info hardnet")
    assert "densebone: " in capsys.readouterr().err
