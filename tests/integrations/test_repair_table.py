"""A table of repairs: where a repair is due, and what it refuses."""

import importlib.util
import sys
import types

import pytest

from densebone.integrations import compat as machinery


def toolkit(folder, monkeypatch, source, version="1.0"):
    """An importable module `pretended` with that source, and a table with a repair of its `answer`."""
    file = folder / "pretended.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location("pretended", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if version:
        module.__version__ = version
    monkeypatch.setitem(sys.modules, "pretended", module)
    table = machinery.RepairTable("pretended", release="1.0")
    return module, table


RELEASE = "def answer():\n    return 41\n"


@pytest.mark.parametrize(
    ("source", "version", "paddle_from", "needed", "reason"),
    [
        (RELEASE, "1.0", "2.0", None, ""),
        (
            RELEASE.replace("41", "40 + 2"),
            "1.0",
            "2.0",
            None,
            "pretended:answer is not the source of release 1.0",
        ),
        ("answer = None\n", "1.0", "2.0", None, "pretended:answer is not the source of release 1.0"),
        (RELEASE, "1.1", "2.0", None, "pretended is 1.1, the repairs are for release 1.0"),
        (RELEASE, None, "2.0", None, "pretended is a source checkout"),
        (RELEASE, "1.0", "99.0", None, "does not need it, 99.0 and newer do"),
        (RELEASE, "1.0", "2.0", lambda: False, "the installed libraries do not need it"),
    ],
    ids=[
        "due",
        "other source",
        "no source",
        "other release",
        "develop checkout",
        "older paddle",
        "not needed",
    ],
)
def test_a_repair_is_applied_only_where_it_is_due(source, version, paddle_from, needed, reason, tmp_path, monkeypatch):
    module, table = toolkit(tmp_path, monkeypatch, source, version)
    original = module.answer
    known = {"pretended:answer": "bb90d2b315ed5385"}

    @table.repair(symptom="41", why="the answer", paddle=paddle_from, sources=known, needed=needed)
    def answer(original):
        return lambda: original() + 1

    given = table.reason_against("answer")
    assert reason in given and bool(reason) == bool(given)
    assert [repair.name for repair in table.apply()] == ([] if reason else ["answer"])
    if reason:
        assert module.answer is original
    else:
        assert module.answer() == 42
        assert table.apply(skip=("answer",)) == [] and module.answer() == 41


def test_two_repairs_of_one_name_are_refused():
    table = machinery.RepairTable("ppdet", release="2.6.0")
    enter = table.repair(symptom="", why="", paddle="3.0", sources={"ppdet:x": ""})
    enter(toolkit)
    with pytest.raises(KeyError, match="two repairs are called 'toolkit'"):
        enter(toolkit)


@pytest.mark.parametrize(
    ("installed", "wanted", "expected"),
    [("2.6.2", "2.6", True), ("2.6.2", "3.0", False), ("3.10.0", "3.9", True), ("0.0.0", "3.0", True)],
)
def test_paddle_versions(installed, wanted, expected, monkeypatch):
    monkeypatch.setattr(machinery, "paddle", types.SimpleNamespace(__version__=installed))
    assert machinery.paddle_is_at_least(wanted) is expected
