"""predictions.json is written row by row, whole or not at all, and printed again by --json."""

import json

import pytest

from densebone import UserError
from densebone.scripts.predict import _print_rows
from densebone.tasks.prediction import none_usable, pictures_to_predict, prediction_file

ROWS = [{"file_name": "a.jpg", "top": [1, 2]}, {"file_name": "straße.jpg"}, {"file_name": "b\udce9.jpg"}]


def test_rows_have_a_line_each_and_any_name(tmp_path, capsys):
    with prediction_file(tmp_path / "predictions.json") as rows:
        for row in ROWS:
            rows.add(row)
    text = (tmp_path / "predictions.json").read_text(encoding="utf-8")
    assert json.loads(text) == ROWS
    assert len(text.splitlines()) == len(ROWS) + 2
    _print_rows(str(tmp_path / "predictions.json"))
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == ROWS


def test_no_rows_are_an_empty_list(tmp_path, capsys):
    with prediction_file(tmp_path / "predictions.json"):
        pass
    assert json.loads((tmp_path / "predictions.json").read_text()) == []
    _print_rows(str(tmp_path / "predictions.json"))
    assert capsys.readouterr().out == ""


def test_a_failure_leaves_no_half_file(tmp_path):
    (tmp_path / "predictions.json").write_text("[1]")
    with pytest.raises(KeyError), prediction_file(tmp_path / "predictions.json") as rows:
        rows.add(ROWS[0])
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.json"]
    assert (tmp_path / "predictions.json").read_text() == "[1]"


def test_pictures_that_cannot_be_read_are_sorted_out_with_the_reason(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_text("no picture")
    with pytest.raises(UserError, match=r"none of the 1 pictures can be read \(.*a\.png: is not a picture"):
        pictures_to_predict([str(tmp_path / "in")], tmp_path / "out")
    assert "none of the 4 pictures can be used (a: 1; b: 2; c: 3)" in str(none_usable([*zip("abcd", "1234")], "used"))
