"""`densebone run`: an unmodified script of a toolkit runs as Python would run it, with densebone's names registered."""

import importlib.util
import json
from pathlib import Path

import pytest

from densebone.scripts import main

SHOW = """
import json, os, sys
print(json.dumps({
    "name": __name__, "file": __file__, "argv": sys.argv, "path": sys.path[:2], "cwd": os.getcwd(), **found
}))
"""
SEGMENTATION = """
import paddleseg
from paddleseg.cvlibs import manager
from densebone.integrations.compat import paddleseg as compat

found = {
    "toolkit": paddleseg.__file__, "version": paddleseg.__version__,
    "registered": [*manager.BACKBONES.components_dict, *manager.MODELS.components_dict],
    "repairs": [repair.name for repair in compat.in_force()],
}
"""
DETECTION = """
def load():
    from ppdet.core import workspace
    return list(workspace.global_config)

found = {"registered": load()}
"""


def needs(toolkit, extra):
    if importlib.util.find_spec(toolkit) is None:
        pytest.skip(f"needs {toolkit}: pip install densebone[{extra}]")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def shown(process):
    return json.loads([line for line in process.stdout.splitlines() if line.startswith("{")][-1])


def test_a_script_of_a_paddleseg_checkout(tmp_path, densebone):
    needs("paddleseg", "segmentation")
    installed = Path(importlib.util.find_spec("paddleseg").origin).parent
    (tmp_path / "PaddleSeg").mkdir()
    (tmp_path / "PaddleSeg" / "paddleseg").symlink_to(installed)
    tools = tmp_path / "PaddleSeg" / "tools"
    write(tools / "beside_the_script.py", SEGMENTATION)
    script = write(tools / "train.py", "from beside_the_script import found\n" + SHOW + "sys.exit(3)\n")
    arguments = ["-c", "a.yml", "--help", "-o", "x=1"]

    process = densebone("run", "PaddleSeg/tools/train.py", *arguments, cwd=tmp_path)

    assert process.returncode == 3, process.stderr
    found = shown(process)
    assert found["name"] == "__main__"
    assert found["file"] == str(script)
    assert found["argv"] == [str(script), *arguments]
    assert found["path"] == [str(tools), str(tmp_path / "PaddleSeg")]
    assert found["cwd"] == str(tmp_path)
    assert found["toolkit"] == str(tmp_path / "PaddleSeg" / "paddleseg" / "__init__.py")  # not the installed one
    assert {"HarDNet68", "PeleeNet", "CondenseNetV2A", "FCHarDNet"} <= set(found["registered"])
    assert ("areas" in found["repairs"]) is (found["version"] == "2.8.0")


def test_a_script_of_the_installed_ppdet_that_fails(tmp_path, densebone):
    needs("ppdet", "detection")
    script = write(tmp_path / "own.py", DETECTION + SHOW + "raise KeyError('lost')\n")

    process = densebone("run", script, "--epoch", 3)

    assert process.returncode == 1
    assert "KeyError: 'lost'" in process.stderr and "own.py" in process.stderr
    found = shown(process)
    assert found["argv"] == [str(script), "--epoch", "3"]
    assert found["path"][0] == str(tmp_path)
    assert {"HarDNet68", "PeleeNet", "CondenseNetV2A", "SSDFeatures"} <= set(found["registered"])


@pytest.mark.parametrize("toolkit", ["ppdet", "paddleseg"])
def test_a_toolkit_that_cannot_be_imported(toolkit, tmp_path, densebone):
    write(tmp_path / toolkit / "__init__.py", "import the_lost_module")
    script = write(tmp_path / "deploy" / "python" / "infer.py", "print('it ran')")  # the folder tells the toolkit

    process = densebone("run", script)

    assert process.returncode == 2 and process.stdout == ""
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("densebone: ")]
    assert f"{script} needs Paddle" in line
    assert f"the one of {tmp_path} cannot be imported (ModuleNotFoundError: No module named 'the_lost_module')" in line
    assert f"pip install -r {tmp_path}/requirements.txt" in line


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("gone.py", ["script gone.py does not exist", "tools/train.py"]),
        ("folder", ["folder is not a Python script", ".py"]),
        ("notes.txt", ["notes.txt is not a Python script"]),
        ("-c", ["-c stands where the script belongs"]),
        ("plain.py", ["plain.py imports neither ppdet nor paddleseg"]),
        ("relative.py", ["relative.py imports neither"]),
        ("broken.py", ["broken.py cannot be read as Python", "line 2"]),
    ],
)
def test_refusals(given, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    write(tmp_path / "notes.txt", "import ppdet")
    write(tmp_path / "plain.py", "import json, paddlesegment\nraise SystemExit(5)")
    write(tmp_path / "relative.py", "from .ppdet import engine\nfrom . import paddleseg")
    write(tmp_path / "broken.py", "import ppdet\ndef :")

    assert main(["run", given, "--flag"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("densebone: ") and all(word in line for word in words), line


def test_help_and_no_script(capsys):
    assert main(["run", "--help"]) == 0
    assert "usage: densebone run SCRIPT.py" in capsys.readouterr().out
    assert main(["run"]) == 2
