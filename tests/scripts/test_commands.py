"""`densebone --help` and docs/commands.md name every command and every exit status."""

import re
from pathlib import Path

from densebone.scripts import COMMANDS, STATUSES, main

PAGE = (Path(__file__).parents[2] / "docs/commands.md").read_text()


def test_the_page_has_the_commands():
    assert dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", PAGE.partition("\n## ")[0], flags=re.M)) == COMMANDS


def test_the_page_has_the_statuses():
    table = PAGE.partition("## Exit status")[2].partition("\n## ")[0]
    rows = {int(status): meaning for status, meaning in re.findall(r"^\| (\d+) \| ([^|]*) \|", table, flags=re.M)}
    assert rows.keys() == STATUSES.keys()
    assert [status for status in (0, 1, 2) if rows[status] != STATUSES[status]] == []


def test_the_help_has_both(capsys):
    assert main(["--help"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert lines == [[str(name), what] for name, what in (*COMMANDS.items(), *STATUSES.items())]
