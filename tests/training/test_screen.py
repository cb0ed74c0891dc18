"""Lines on a terminal, elsewhere, and in train.log."""

import io
import logging
import re

import pytest

from densebone import UserError
from densebone.training.screen import LOG_SECONDS, Screen


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_progress_is_printed_every_30_seconds_and_the_first_and_last_time(tmp_path, capsys):
    clock = Clock()
    screen = Screen(tmp_path / "train.log", True, clock=clock)
    for second in range(0, 100, 10):
        clock.now = float(second)
        screen.progress(f"line {second}", is_last=second == 90)
    screen.say("saved it")
    screen.close()
    assert capsys.readouterr().out.splitlines() == ["line 0", "line 30", "line 60", "line 90", "saved it"]
    logged = (tmp_path / "train.log").read_text().splitlines()
    assert [line.partition(" INFO: ")[2] for line in logged] == [*(f"line {s}" for s in range(0, 100, 10)), "saved it"]


def test_the_environment_says_how_often(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(LOG_SECONDS, "0")
    screen = Screen(None, True, clock=Clock())
    for number in range(3):
        screen.progress(str(number))
    assert capsys.readouterr().out.split() == ["0", "1", "2"]
    for wrong in ("-1", "nan", "soon"):
        monkeypatch.setenv(LOG_SECONDS, wrong)
        with pytest.raises(UserError, match=f"^the environment variable {LOG_SECONDS} is '{wrong}'; give seconds"):
            Screen(None, True)


def test_other_processes_print_and_log_nothing(tmp_path, capsys):
    screen = Screen(tmp_path / "train.log", False)
    screen.say("saved it")
    screen.progress("a line")
    screen.close()
    assert capsys.readouterr().out == "" and not list(tmp_path.iterdir())


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_one_live_line_and_the_others_scroll_above_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    terminal, clock = Terminal(), Clock()
    monkeypatch.setattr("sys.stdout", terminal)
    screen = Screen(tmp_path / "train.log", True, clock=clock)
    assert screen.is_due()
    screen.draw(["epoch 1/2", "iteration 1/9", "x" * 100])
    assert not screen.is_due()
    screen.progress("iteration 1/9: loss 1")  # the live line has it
    screen.say("saved it")
    clock.now = 1.0
    assert screen.is_due()
    screen.draw(["epoch 2/2", "iteration 9/9"])
    screen.close()
    shown = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", terminal.getvalue()).replace("\r", "\n")
    lines = [line.rstrip() for line in shown.split("\n") if line.strip()]
    cut = f"epoch 1/2  iteration 1/9  {'x' * 33}…"
    assert lines == [cut, "saved it", cut, "epoch 2/2  iteration 9/9", "epoch 2/2  iteration 9/9"]
    assert "iteration 1/9: loss 1" in (tmp_path / "train.log").read_text()


def test_the_log_gets_what_a_toolkit_logs_until_it_is_closed(tmp_path):
    logger = logging.getLogger("ppdet_of_this_test.engine")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    for number in (1, 2):
        screen = Screen(tmp_path / "train.log", True, goes_on=number == 2)
        screen.attach(("ppdet_of_this_test",))
        logger.info("Eval iter: %d", number)
        screen.close()
        logger.info("after it")
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        f"ppdet_of_this_test.engine INFO: Eval iter: {number}" for number in (1, 2)
    ]
    screen = Screen(tmp_path / "train.log", True)  # another run begins anew
    screen.say("a line")
    screen.close()
    assert len((tmp_path / "train.log").read_text().splitlines()) == 1
