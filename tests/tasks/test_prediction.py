"""predictions.json is written row by row, whole or not at all, and printed again by --json."""

import json

import pytest

from densebone import UserError
from densebone.scripts.predict import _print_rows
from densebone.tasks.journal import Journal
from densebone.tasks.prediction import inputs_to_predict, none_usable

ROWS = [{"file_name": "a.jpg", "top": [1, 2]}, {"file_name": "straße.jpg"}, {"file_name": "b\udce9.jpg"}]


def test_rows_have_a_line_each_and_any_name(tmp_path, capsys):
    rows = Journal(tmp_path / "predictions.json", "key")
    for number, row in enumerate(ROWS):
        rows.add([(number, [row], 0)])
    assert rows.finish() == len(ROWS)
    text = (tmp_path / "predictions.json").read_text(encoding="utf-8")
    assert json.loads(text) == ROWS
    assert len(text.splitlines()) == len(ROWS) + 2
    _print_rows(str(tmp_path / "predictions.json"))
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == ROWS


def test_no_rows_are_an_empty_list(tmp_path, capsys):
    Journal(tmp_path / "predictions.json", "key").finish()
    assert json.loads((tmp_path / "predictions.json").read_text()) == []
    _print_rows(str(tmp_path / "predictions.json"))
    assert capsys.readouterr().out == ""


def test_pictures_that_cannot_be_read_are_sorted_out_with_the_reason(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_text("no picture")
    with pytest.raises(UserError, match=r"none of the 1 pictures can be read \(.*a\.png: is not a picture"):
        inputs_to_predict([str(tmp_path / "in")], tmp_path / "out")
    assert "none of the 4 pictures can be used (a: 1; b: 2; c: 3)" in str(none_usable([*zip("abcd", "1234")], "used"))
