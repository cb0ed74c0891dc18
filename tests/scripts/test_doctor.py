"""`densebone doctor` shows both toolkits, or why one is not there."""

import importlib

import pytest

from densebone.scripts import doctor


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
