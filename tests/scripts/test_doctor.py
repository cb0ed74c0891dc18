"""`densebone doctor` shows both toolkits, or why one is not there, and the GPUs; for people and for programs."""

import importlib
import json
import subprocess
import sys

import pytest

from densebone.registry import list_models
from densebone.scripts import doctor
from densebone.system import gpus
from densebone.system.fatbins import Code
from densebone.system.packages import LACKING


@pytest.mark.parametrize(
    ("title", "package", "adapter", "repair"),
    [
        ("PaddleDetection", "ppdet", "paddledet", "rpn_proposals"),
        ("PaddleSeg", "paddleseg", "paddleseg", "areas"),
    ],
)
def test_a_toolkit_is_shown(title, package, adapter, repair, capsys, monkeypatch):
    toolkit = pytest.importorskip(package, reason=f"needs {title}")
    monkeypatch.setattr(doctor, "TOOLKITS", [t for t in doctor.TOOLKITS if t.title == title])

    assert doctor.main([]) == 0

    lines = capsys.readouterr().out.splitlines()
    start = lines.index(f"{title}: {toolkit.__file__}")
    names = importlib.import_module(f"densebone.integrations.{adapter}").__all__
    assert lines[start + 1] == f"  registered: {', '.join(names)}"
    compat = importlib.import_module(f"densebone.integrations.compat.{adapter}")
    shown = [line.split()[0] for line in lines[start + 3 :]]
    assert shown == [r.name for r in compat.in_force()]
    assert repair in shown or compat.reason_against(repair)
    assert lines[start + 2] == f"  repairs in force: {len(shown) or 'none needed'}"


def test_both_toolkits_have_their_turn():
    assert [toolkit.title for toolkit in doctor.TOOLKITS] == ["PaddleDetection", "PaddleSeg"]


def test_a_toolkit_that_is_not_there(capsys, monkeypatch):
    gone = doctor.Toolkit("PaddleGone", "paddlegone.core", "paddlegone", "ghosts")
    monkeypatch.setattr(doctor, "TOOLKITS", [gone])
    assert doctor.main([]) == 0
    assert capsys.readouterr().out.endswith(
        "PaddleGone: cannot be imported (No module named 'paddlegone')\n  pip install \"densebone[ghosts]\"\n"
    )


H200 = gpus.Gpu("NVIDIA H200", (9, 0), 139 << 30)


def test_the_same_facts_for_programs(capsys, monkeypatch):
    gone = doctor.Toolkit("PaddleGone", "paddlegone.core", "paddlegone", "ghosts")
    monkeypatch.setattr(doctor, "TOOLKITS", [gone])
    code = Code(((6, 1), (8, 6)))
    monkeypatch.setattr(gpus, "survey", lambda: gpus.Survey("550.1", (H200,), (H200,), "11.8", "8.6.0", code))

    assert doctor.main(["--json"]) == 0

    facts = json.loads(capsys.readouterr().out)
    assert facts["packages"].keys() == set(doctor.PACKAGES)
    assert facts["paddle"]["error"] is None and facts["models"] == list_models()
    assert facts["gpus"]["code_for"] == ["6.1", "8.6"]
    assert facts["gpus"]["seen_by_paddle"] == [
        {"name": "NVIDIA H200", "compute_capability": "9.0", "memory_bytes": 139 << 30, "fits": False}
    ]
    assert facts["toolkits"] == [{"title": "PaddleGone", "file": None, "error": "No module named 'paddlegone'"}]
    assert doctor.main([]) == 0
    assert "GPU 0: NVIDIA H200, compute capability 9.0, 139 GiB: does NOT fit" in capsys.readouterr().out


def test_without_paddle(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "TOOLKITS", [])
    monkeypatch.setattr(doctor, "_import", lambda name: ModuleNotFoundError("No module named 'paddle'"))
    assert doctor.main(["--json"]) == 1
    assert json.loads(capsys.readouterr().out)["paddle"]["error"] == "No module named 'paddle'"
    assert doctor.main([]) == 1
    assert "Paddle cannot be imported: No module named 'paddle'" in capsys.readouterr().out


def test_nothing_of_a_toolkit_gets_among_the_facts(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "TOOLKITS", [])
    found = doctor._import
    monkeypatch.setattr(doctor, "_import", lambda name: print("a toolkit's greeting") or found(name))
    assert doctor.main(["--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["toolkits"] == [] and "greeting" in shown.err


@pytest.mark.parametrize(("missing", "advice"), LACKING.items())
def test_what_paddle_lacks_is_named(missing, advice, capsys, monkeypatch):
    gone = ModuleNotFoundError(f"No module named {missing!r}", name=missing)
    monkeypatch.setattr(doctor, "_import", lambda name: gone)
    assert doctor.main([]) == 1
    assert capsys.readouterr().out.endswith(f"Paddle cannot be imported: {gone}\n  {advice}\n")


WITHOUT = """
import sys
class Without:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
from densebone.scripts import main
sys.exit(main(["export", "hardnet39ds", "-O", sys.argv[2]]))
"""


@pytest.mark.parametrize(("missing", "advice"), LACKING.items())
def test_a_command_without_it_says_so_in_one_line(missing, advice, tmp_path):
    done = subprocess.run([sys.executable, "-c", WITHOUT, missing, tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"densebone: {advice}\n")
