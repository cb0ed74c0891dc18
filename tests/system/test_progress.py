"""Progress is a bar on a terminal, and elsewhere a line now and then."""

import io
import re
import sys

import pytest

from densebone.system import progress
from densebone.system.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, count=5, **options):
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(Progress(range(count), desc="predicting", unit="picture", **options)) == list(range(count))
    return stream.getvalue()


def test_a_terminal_has_a_bar(monkeypatch):
    text = shown(monkeypatch, Terminal())
    assert "\r" in text and "100%" in text and "5/5" in text


def test_elsewhere_what_is_short_says_nothing(monkeypatch):
    assert shown(monkeypatch, io.StringIO()) == ""


@pytest.mark.parametrize("options", [{}, {"total": 8, "initial": 3}])
def test_elsewhere_what_is_long_has_lines(monkeypatch, options):
    monkeypatch.setattr(progress, "EVERY", 1e-6)
    text = shown(monkeypatch, io.StringIO(), **options)
    assert "\r" not in text and text.endswith("\n")
    total, lines = options.get("total", 5), text.splitlines()
    assert len(lines) == len(set(lines))
    for line in lines:
        assert re.fullmatch(rf"predicting: \d+ of {total}, .*picture.*, \S+ left", line), line
    assert f"predicting: {total} of {total}, " in lines[-1]


def test_of_an_unknown_number(monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 1e-6)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(desc="predicting", unit="frame", total=None) as bar:
        for _ in range(3):
            bar.update()
    assert re.match(r"predicting: \d, \S+frame/s\n", stream.getvalue())


def test_hidden_is_hidden(monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 1e-6)
    assert shown(monkeypatch, io.StringIO(), disable=True) == ""
