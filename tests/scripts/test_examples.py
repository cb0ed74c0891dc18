"""The examples that `--help` shows: every command and action has one, and the command's own parser takes each."""

import argparse
import re
import shlex

import pytest

from densebone.scripts import COMMANDS, completion, run


def actions_of(parser):
    """The parsers of a command's actions, by name."""
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return found[0] if found else {}


def examples(text, words):
    """The lines of a help that start a command, as the command gets them: without the shell's part of the line."""
    lines = text.replace("$(which densebone)", "densebone")
    found = re.findall(rf"(?:^ *|[ (])densebone {words}\b([^\n)]*)", lines, flags=re.M)
    return [shlex.split(line.partition(" > ")[0], comments=True) for line in found]


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "run"])
def test_every_command_shows_examples_and_takes_them(command):
    shown = examples(completion._parser_of(command).description, command)
    assert shown
    for arguments in shown:
        completion._parser_of(command).parse_args(arguments)  # ends the process at a word that it does not know


@pytest.mark.parametrize("command", ["data", "sample-data", "weights"])
def test_every_action_shows_examples_that_the_command_takes(command):
    actions = actions_of(completion._parser_of(command))
    assert len(actions) >= 3
    for name, parser in actions.items():
        shown = examples(parser.format_help().partition("\nexamples:\n")[2], f"{command} {name}")
        assert shown, f"densebone {command} {name} --help shows no example"
        for arguments in shown:
            completion._parser_of(command).parse_args([name, *arguments])


def test_run_shows_the_scripts_of_a_toolkit():
    assert [arguments[0] for arguments in examples(run.__doc__, "run")] == [
        "PaddleSeg/tools/train.py",
        "tools/train.py",
    ]


def test_no_other_command_has_actions():
    with_actions = [name for name in COMMANDS if name != "run" and actions_of(completion._parser_of(name))]
    assert sorted(with_actions) == ["data", "sample-data", "weights"]
