"""A journal keeps what is done: whatever was cut off behind the last finished picture is done again, and no more."""

import json

import pytest

from densebone.errors import UserError
from densebone.tasks.journal import Journal, key_of, stamp_of

ROWS = {0: [{"a": 1}, {"b": "straße"}], 1: [], 2: [{"c": [1.5, 2]}], 3: [{"d": "\udce9"}]}


def write(file, numbers=(0, 1, 2, 3), key="key"):
    """A journal of some pictures, left without an end as a killed process leaves it."""
    found = Journal(file, key)
    for number in numbers:
        found.add([(number, ROWS[number], number)])
    found._stream.close()
    return file.with_name(f"{file.name}.part")


def expected(tmp_path):
    whole = Journal(tmp_path / "whole.json", "key")
    whole.add([(number, rows, number) for number, rows in ROWS.items()])
    whole.finish()
    return (tmp_path / "whole.json").read_bytes()


def test_a_journal_cut_off_at_any_byte_goes_on_to_the_same_file(tmp_path):
    file = tmp_path / "predictions.json"
    data = write(file).read_bytes()
    for length in range(len(data) + 1):
        (tmp_path / "predictions.json.part").write_bytes(data[:length])
        found = Journal(file, "key")
        done = [number for number in ROWS if number in found]
        assert done == list(range(len(done))) and found.images == len(done) and found.counted == sum(done)
        assert all(found.rows_of(number) == ROWS[number] for number in done)
        for number in ROWS:
            if number not in found:
                found.add([(number, ROWS[number], number)])
        assert found.finish() == 4
        found.close()
        assert file.read_bytes() == expected(tmp_path), length
    assert json.loads(file.read_text()) == [row for rows in ROWS.values() for row in rows]


def test_pictures_that_were_left_out_before_take_their_place(tmp_path):
    write(tmp_path / "predictions.json", (0, 3))
    found = Journal(tmp_path / "predictions.json", "key")
    assert found.resumed == 2
    found.add([(1, ROWS[1], 1), (2, ROWS[2], 2)])
    found.finish()
    assert (tmp_path / "predictions.json").read_bytes() == expected(tmp_path)


def test_other_settings_and_changed_pictures_are_done_anew(tmp_path, capsys):
    part = write(tmp_path / "predictions.json")
    assert Journal(tmp_path / "predictions.json", "other").images == 0
    assert f"{part} is of a run with other settings or pictures; begun anew" in capsys.readouterr().err
    picture = tmp_path / "a.jpg"
    picture.write_bytes(b"1")
    first = Journal(tmp_path / "b.json", "key", lambda _: stamp_of(picture))
    first.add([(0, ROWS[0], 1)])
    assert Journal(tmp_path / "b.json", "key", lambda _: stamp_of(picture)).images == 1
    picture.write_bytes(b"12")
    assert Journal(tmp_path / "b.json", "key", lambda _: stamp_of(picture)).images == 0
    assert stamp_of(tmp_path / "gone") == [0, 0]


def test_a_finished_journal_says_what_came_of_it(tmp_path):
    found = Journal(tmp_path / "clip.jsonl", "key")
    found.add([(0, ROWS[0], 2)])
    assert found.finish(as_list=False, result=["all", None]) == 2
    found.close()
    assert (tmp_path / "clip.jsonl").read_text(encoding="utf-8").splitlines() == ['{"a": 1}', '{"b": "straße"}']
    again = Journal(tmp_path / "clip.jsonl", "key")
    assert again.result == ["all", None] and again.numbers() == [0] and again.counted == 2


def test_an_empty_one_leaves_no_file_and_a_foreign_one_is_no_journal(tmp_path):
    Journal(tmp_path / "a.json", "key").close()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.json.part").write_bytes(b"\x00\xff\n" * 5)
    assert Journal(tmp_path / "a.json", "key").images == 0
    (tmp_path / "b.json.part").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*b\.json\.part \(Is a directory\); give another folder"):
        Journal(tmp_path / "b.json", "key")


def test_the_key_is_of_the_content_and_not_of_the_place_in_memory():
    assert key_of(a=1, b=object) == key_of(b=object, a=1)
    assert key_of(a=object()) == key_of(a=object())
    assert key_of(a=1) != key_of(a=2)
