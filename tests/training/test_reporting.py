"""The live line, and the table at the start."""

import io
import re

from densebone.training.reporting import Plan, Reporter
from densebone.training.screen import Screen


class Terminal(io.StringIO):
    def isatty(self):
        return True


def drawn(folder, monkeypatch, columns):
    """The live line after an iteration and a report, on a terminal of some width."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    plan = Plan(iters=40, per_epoch=4, save_interval=4, evaluates=True, images=8)
    reporter = Reporter(folder, "mine", 4, plan, Screen(None, True))
    reporter.begin({"configuration": "mine.yml", "seed": "7"})
    reporter.add({"loss": 3.0, "loss_cls": 1.0, "iou": 2.0}, 5, 0.01)
    reporter.report(5, 0.01)
    reporter.close()
    lines = [line.strip() for line in re.split(r"[\r\n]", re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", terminal.getvalue()))]
    assert [line for line in lines if line][:2] == ["configuration  mine.yml", "seed           7"]
    return [line for line in lines if line][-1]


def test_the_live_line(tmp_path, monkeypatch):
    begin = r"epoch 2/10  iteration 5/40  \d:\d\d:\d\d left plus evaluations  loss 3.0000 "
    end = r" lr 0.01  [\d.]+ images/s  \d\.\d GB"
    assert re.fullmatch(rf"{begin}\(cls 1.000, iou 2.000\) {end}", drawn(tmp_path, monkeypatch, 200))
    assert re.fullmatch(rf"{begin}{end}", drawn(tmp_path, monkeypatch, 120))
    assert drawn(tmp_path, monkeypatch, 60).endswith("…")
