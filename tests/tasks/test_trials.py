"""How pairs are tried, whatever the toolkit: the toolkit here is a pretended one."""

import json
import os
import signal
import sys
import time
import types

import paddle
import pytest

from densebone.errors import UserError
from densebone.tasks import trials


def try_pair(path, head, data, folder, enter):
    enter("build")
    assert (data / "picture").read_text() == "picture" and path.parent == folder
    print("some words of the toolkit")
    if head == "refuses":
        raise ValueError("a stack\n\n  InvalidArgumentError: sizes differ.\n  [operator < x > error]")
    enter("forward")
    if head == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if head == "leaves":
        sys.exit(3)
    if head == "hangs":
        time.sleep(60)
    return {"parameters": 7}


@pytest.fixture
def tried(monkeypatch):
    """The names of heads that were asked for, while a pretended toolkit stands in for PaddleDetection."""
    tried = []

    def yaml_of(backbone, head):
        return f"{head}: {backbone}\n"

    pretended = types.SimpleNamespace(
        TITLE="Pretended",
        prepare=lambda: ("1.0", ("A", "B")),
        yaml_of=yaml_of,
        unavailable=lambda head: "Pretended 1.0 has no missing" if head == "missing" else "",
        write_data=lambda folder: (folder.mkdir(parents=True), (folder / "picture").write_text("picture")),
        try_pair=try_pair,
    )
    monkeypatch.setattr(trials, "heads_of", lambda toolkit: pretended)
    work = trials._try_all
    monkeypatch.setattr(
        trials, "_try_all", lambda rows, *more: tried.extend(r["head"] for r in rows) or work(rows, *more)
    )
    return tried


PAIRS = [("detection", "A", head) for head in ("works", "refuses", "crashes", "leaves", "missing")]
WHY = {
    "works": "",
    "refuses": "build: ValueError: InvalidArgumentError: sizes differ.",
    "crashes": "forward: the process died (SIGSEGV), see ",
    "leaves": "forward: the process died (status 3), see ",
    "missing": "Pretended 1.0 has no missing",
}


def test_each_pair_has_a_process_of_its_own_and_says_why_it_fails(tried, tmp_path):
    rows = trials.run(PAIRS, tmp_path, jobs=2, report=lambda line: None)
    assert [row["head"] for row in rows] == [head for _, _, head in PAIRS]
    for row in rows:
        assert row["works"] == (row["head"] == "works")
        assert row["why"].startswith(WHY[row["head"]]) and bool(row["why"]) == (not row["works"])
    assert [row["head"] for row in rows if row.get("absent")] == ["missing"]
    assert rows[0]["parameters"] == 7 and rows[0]["paddle"] == paddle.__version__
    assert "some words" in (tmp_path / "logs" / "detection-works-A.log").read_text()
    assert not list((tmp_path / "work").iterdir())


def test_a_pair_that_hangs_is_stopped(tried, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "LIMIT", 2)
    (row,) = trials.run([("detection", "A", "hangs")], tmp_path, report=lambda line: None)
    assert row["why"] == "forward: takes longer than 2 s" and row["seconds"] < 30


def test_a_run_goes_on_where_it_was_killed(tried, tmp_path):
    lines = []
    trials.run([("detection", "B", "works"), *PAIRS[:2]], tmp_path, report=lines.append)
    file = tmp_path / "results.jsonl"
    kept = file.read_text()
    file.write_text(kept + '{"toolkit": "detec')  # killed while it wrote
    tried.clear()
    rows = trials.run(PAIRS[:2] + PAIRS[4:], tmp_path, report=lines.append)
    assert tried == ["refuses", "missing"]  # what did not work may have been mended since
    assert any(line.startswith("1 of 3 pairs work according to") for line in lines)
    assert [row["why"] for row in rows] == [WHY["works"], WHY["refuses"], WHY["missing"]]
    again = trials.Results(file)
    assert len(again.rows) == 4 and all(again.find(row) == row for row in rows)


@pytest.mark.parametrize("key, value", [("paddle", "2.0"), ("config", "0"), ("release", "1.1")])
def test_results_of_other_versions_and_configurations_do_not_count(key, value, tried, tmp_path):
    (row,) = trials.run(PAIRS[:1], tmp_path, report=lambda line: None)
    (tmp_path / "results.jsonl").write_text(json.dumps({**row, key: value}) + "\n")
    trials.run(PAIRS[:1], tmp_path, report=lambda line: None)
    assert tried == ["works", "works"]


def test_the_page_has_a_table_for_every_set_of_versions(tried):
    shared = {"toolkit": "detection", "release": "1.0", "densebone": "0", "config": "", "seconds": 1}
    rows = [
        {**shared, "paddle": paddle, "backbone": b, "head": h, "works": not why, "why": why}
        for paddle, b, h, why in (
            ("3.2.2", "A", "SSD", ""),
            ("3.2.2", "B", "SSD", "build: too small"),
            ("3.2.2", "B", "GFL", "build: too small"),
            ("3.3.1", "A", "SSD", ""),
        )
    ]
    page = trials.markdown(rows)
    assert (
        "## Pretended 1.0, paddlepaddle 3.2.2, densebone 0\n\n|  | A | B |\n| --- | --- | --- |\n"
        "| SSD | yes | no (1) |\n| GFL | - | no (1) |\n\n1. build: too small\n" in page
    )
    assert "## Pretended 1.0, paddlepaddle 3.3.1, densebone 0\n\n|  | A |\n| --- | --- |\n| SSD | yes |\n" in page


def test_names_may_be_spelled_freely():
    known = ["PP-YOLOE", "HarDNet68", "GFL"]
    assert trials.choose(["gfl", "pp yoloe"], known, "head") == ["PP-YOLOE", "GFL"]
    assert trials.choose(None, known, "head") == known
    with pytest.raises(UserError, match="there is no head 'GLF'; the nearest names are GFL"):
        trials.choose(["GLF"], known, "head")
