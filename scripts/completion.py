"""Print a script with which the Tab key completes commands, options, models and configurations.

    eval "$(densebone completion bash)"                              # bash, this shell; in ~/.bashrc: every shell
    densebone completion zsh > ~/.zfunc/_densebone                   # zsh: a folder of fpath, before compinit
    densebone completion fish > ~/.config/fish/completions/densebone.fish

The script holds the names, so Tab starts no Python. Write it again after an update of densebone.
"""

import importlib
import shlex
from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from .. import __version__
from ..errors import UserError
from . import COMMANDS, options

SHELLS = ("bash", "zsh", "fish")

# the first line of a function, its end, and what it does with names, with files of a pattern
_FUNCTIONS = {
    "bash": (
        "{name}() {{", "}}", "  compgen -W {words} -- $1",
        "  compgen -f -X '!{pattern}' -- $1\n  compgen -d -- $1",
    ),
    "zsh": ("{name}() {{", "}}", "  compadd -- {words}", "  _files -g '{pattern}'"),
    "fish": (
        "function {name}", "end", "  string split ' ' -- {words}",
        "  for path in (__fish_complete_path (commandline -ct))\n"
        "    string match -q -r {regex} -- (string split -m1 \\t -- $path)[1]; and echo $path\n  end",
    ),
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = options.plain_parser("completion", __doc__)
    parser.add_argument("shell", choices=SHELLS)
    print(script(parser.parse_args(argv).shell), end="")
    return 0


def script(shell: str) -> str:
    """The completion script of a shell, one of SHELLS. UserError where shtab, which writes it, is not installed."""
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise UserError("shtab is not installed; pip install 'densebone[completion]'") from error
    root = whole_parser()
    rules = _Rules(shtab)
    for action in _actions(root):
        rules.apply(action)
    return shtab.complete(root, shell)


def whole_parser() -> ArgumentParser:
    """One parser of all commands, made of each command's own."""
    root = ArgumentParser(prog="densebone")
    root.add_argument("--version", action="version", version=__version__, help="print the version")
    commands = root.add_subparsers(metavar="COMMAND")
    for name, what in COMMANDS.items():
        commands.add_parser(name, parents=[_parser_of(name)], add_help=False, help=what, description=what)
    return root


def _parser_of(name):
    """The parser of a command."""
    if name == "run":  # it has none: all that follows is the script's
        result = ArgumentParser()
        result.add_argument("script", help="of PaddleDetection or PaddleSeg")
        return result
    command = importlib.import_module(f".{name.replace('-', '_')}", __package__)
    return options.parser_of(command.main)


def _actions(parser):
    """All arguments and options of a parser and of the parsers below it."""
    for action in parser._actions:
        yield action
        if isinstance(action, _SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)


class _Rules:
    """What the value of an option is completed with, where its parser has no choices.

    Args:
        shtab: the module.
    """

    def __init__(self, shtab: ModuleType):
        from ..registry import list_models
        from ..weights.catalog import entries

        models, weights = list_models(), [entry.name for entry in entries()]
        configs = [*options.shipped_configs()]
        self.folder, self.file = shtab.DIRECTORY, shtab.FILE
        listed: dict[str, Callable[[], Any]] = {
            "config": lambda: _names("configs", configs, "*.yml"),
            "model": lambda: _names("models", models),
            "weights": lambda: _names("weights", weights, "*"),
            "name": lambda: _names("published", [*weights, *models]),
            "pattern": lambda: _names("patterns", [*models, *configs, *weights]),
            "device": lambda: _names("devices", ["cpu", "gpu"]),
            "script": lambda: _names("scripts", [], "*.py"),
        }
        self.listed = listed

    def apply(self, action: Action) -> None:
        """Notes on an argument or option what its values are completed with."""
        if isinstance(action.metavar, tuple):  # shtab expects one text
            action.metavar = " ".join(action.metavar)
        if action.choices or action.nargs == 0:
            return
        shown = action.metavar or ""
        if shown in ("DIR", "FOLDER", "[NAME=]FOLDER") or action.dest == "folder":
            action.complete = self.folder  # type: ignore[attr-defined]
        elif action.dest in self.listed:
            action.complete = self.listed[action.dest]()  # type: ignore[attr-defined]
        elif shown in _FILES or action.dest in ("path", "output"):
            action.complete = self.file  # type: ignore[attr-defined]


_FILES = ("FILE", "PATH", "PNG", "PICTURE", "CHECKPOINT", "IN", "OUT", "SOURCE", "TARGET")


def _names(key, names, pattern=None):
    """A completion, in shtab's form: some names, and files of a pattern such as *.yml too."""
    name, words = f"_densebone_{key}", shlex.join(names)
    regex = shlex.quote(pattern.replace(".", r"\.").replace("*", ".*") + "$|/$") if pattern else ""
    bodies = {}
    for shell, (first, end, of_names, of_files) in _FUNCTIONS.items():
        listed = words if shell == "zsh" else shlex.quote(" ".join(names))
        lines = [first, *([of_names] if names else []), *([of_files] if pattern else []), end]
        bodies[shell] = "\n".join(line.format(name=name, words=listed, pattern=pattern, regex=regex) for line in lines)
    return {"bash": name, "zsh": name, "fish": f"({name})", "preamble": bodies}
