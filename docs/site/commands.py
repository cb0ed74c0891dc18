"""One page for each command, from the parser that the command itself uses."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import re
import textwrap
from collections.abc import Iterator
from unittest.mock import patch

from densebone import scripts

FOLDER = "reference/commands"
# as wide as a block of code on a page
COLUMNS = "88"


class _Found(Exception):
    """Carries the parser out of a command that was asked for its help."""

    def __init__(self, parser: argparse.ArgumentParser):
        self.parser = parser


def parser_of(command: str) -> argparse.ArgumentParser | None:
    """The parser that a command makes for itself; None for a command that passes all arguments on (`run`)."""

    def carry(parser, file=None):
        raise _Found(parser)

    module = importlib.import_module(f"densebone.scripts.{command.replace('-', '_')}")
    with patch.object(argparse.ArgumentParser, "print_help", carry), contextlib.redirect_stdout(io.StringIO()):
        try:
            module.main(["--help"])
        except _Found as found:
            return found.parser
    return None


def pages() -> dict[str, str]:
    """{path of a page: Markdown}: every command, and the list of them."""
    rows = "\n".join(f"| [`{name}`](commands/{name}.md) | {what} |" for name, what in scripts.COMMANDS.items())
    overview = (
        "---\ntitle: All commands\n---\n\n# Commands\n\nEvery command is `densebone COMMAND ...`. These pages are "
        "written from the commands' own parsers, so they say what `densebone COMMAND --help` says.\n\n"
        f"| command | what it does |\n| --- | --- |\n{rows}\n\n"
        "A command ends with status 0 when it did its work, 2 for a mistake that one line names, "
        "130 after Ctrl-C and 143 after SIGTERM. [Troubleshooting](../troubleshooting.md) explains the lines that are "
        "met most.\n"
    )
    return {
        "reference/commands.md": overview,
        **{f"{FOLDER}/{name}.md": page(name, what) for name, what in scripts.COMMANDS.items()},
    }


def page(command: str, summary: str) -> str:
    """The page of a command as Markdown."""
    title = f"---\ntitle: {command}\ndescription: {_quoted(summary)}\n---\n\n# densebone {command}\n"
    parser = parser_of(command)
    if parser is None:
        doc = importlib.import_module(f"densebone.scripts.{command.replace('-', '_')}").__doc__
        return f"{title}\n{prose(doc)}\n"
    with patch.dict("os.environ", {"COLUMNS": COLUMNS}):
        return "\n".join([title, *_parser_lines(parser, level=2)])


def prose(text: str | None) -> str:
    """A docstring as Markdown: what is indented, and lines that are a command, become blocks of code."""
    blocks = re.split(r"\n\s*\n", textwrap.dedent(text or "").strip("\n"))
    return "\n\n".join(_block(block) for block in blocks)


def _block(block):
    lines = block.splitlines()
    if all(line.startswith(("    ", "densebone ")) for line in lines):
        return "```sh\n" + textwrap.dedent(block) + "\n```"
    return _text(" ".join(lines))


def _parser_lines(parser, level) -> Iterator[str]:
    yield f"{prose(parser.description)}\n"
    usage = parser.format_usage().strip().replace("\n" + " " * len("usage: "), "\n").removeprefix("usage: ")
    yield f"```text\n{usage}\n```\n"
    for group in parser._action_groups:
        left_out = (argparse._HelpAction, argparse._SubParsersAction)
        options = [action for action in group._group_actions if not isinstance(action, left_out)]
        if options:
            yield f"{'#' * level} {_heading(group.title)}\n"
            if group.description:
                yield f"{_text(group.description)}\n"
            for option in options:
                yield f"{_names(option)}\n:   {_help(option, parser)}\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield f"{'#' * level} {parser.prog.removeprefix('densebone ')} {name}\n"
                yield from _parser_lines(sub, level + 1)


def _heading(title):
    return {"positional arguments": "Arguments", "options": "Options"}.get(title, title[0].upper() + title[1:])


def _names(action):
    """An option as the help names it: `-o`, `--override` `KEY=VALUE ...`."""
    formatter = argparse.HelpFormatter(prog="")
    if not action.option_strings:
        return f"`{formatter._format_args(action, action.metavar or action.dest)}`"
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    value = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
    return f"{names} `{value}`" if value else names


def _help(action, parser):
    """The help of an option; its choices where it has none."""
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    choices = f"one of {', '.join(map(str, action.choices))}" if action.choices else ""
    return _text(text or choices or "see the usage above")


def _text(text):
    """Plain text for Markdown: nothing in it is markup, and names of files, options and keys are set as code."""
    return "".join(map(_word, re.split(r"(`[^`]*`|\s+)", text.strip())))


# a word that is typed, not read: an option; a path, a pattern or a key, with its value; the name of a file
_CODE = re.compile(
    r"""(?P<before>[(\[]?)
    (?P<code> -{1,2}[A-Za-z][\w-]* | [\w.*$/-]*[\w*][_=/*][\w.*=$/:-]*[\w*/] | \w+\.(yml|json|csv|md|txt|png|html|onnx))
    (?P<after>[.,;:)\]]*)""",
    re.VERBOSE,
)
_PAGE = re.compile(r"(?P<before>\(?)docs/(?P<page>\w+\.md)(?P<after>[.,;:)]*)")
_SHARE = re.compile(r"\d+/\d+[.,;:)]*")


def _word(word):
    if word.startswith("`"):
        return word
    if found := _PAGE.fullmatch(word):
        return f"{found['before']}[{found['page']}](../../{found['page']}){found['after']}"
    if (found := _CODE.fullmatch(word)) and not _SHARE.fullmatch(word):
        return f"{found['before']}`{found['code']}`{found['after']}"
    return re.sub(r"([\\*_<>\[\]|`])", r"\\\1", word)


def _quoted(text):
    return '"' + text.replace('"', "'") + '"'
