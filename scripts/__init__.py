"""The commands: `densebone COMMAND ...` calls `main(argv)` of the file of that name.

A command parses its options, calls a room and prints the result. Imports every room; no room imports scripts.
"""

from __future__ import annotations

import gc
import importlib
import os
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..errors import UserError, printable, suggest
from ..system import quiet, signals
from ..system.files import no_room
from ..system.packages import LACKING

COMMANDS = {
    "list": "models and shipped configurations",
    "info": "channels, strides and parameters of a model",
    "profile": "what a network costs, layer by layer: MACs, CIO, MoC, bytes",
    "compare": "networks of ours and of other libraries side by side: size, accuracy, speed",
    "init": "look at your own pictures and write a project that trains on them",
    "data": "look at your own data set: check, stats, show, split, convert",
    "features": "feature maps or vectors of pictures, into files",
    "train": "train what a configuration describes",
    "eval": "evaluate trained weights",
    "predict": "predict on pictures and draw the result",
    "export": "write an inference model and check it",
    "serve": "answer requests over HTTP with exported models",
    "browse": "draw training pictures as the network sees them, on a sheet",
    "weights": "list, download, verify and convert published weights",
    "condense": "turn trained weights of CondenseNetV2's learned form into the condensed form",
    "prepare": "make a downloaded data set ready for training",
    "sample-data": "write a small data set to try things on",
    "run": "run an unmodified script of a toolkit with densebone's names registered",
    "compat": "try every head of the toolkits on every backbone, or print the configuration of a pair",
    "doctor": "versions, GPUs, toolkits, registered names and repairs",
    "gpu-check": "try on a GPU what differs there",
    "completion": "a script that lets Tab complete all this: bash, zsh, fish",
}
#: exit status -> what it means; docs/commands.md says more
STATUSES = {
    0: "all done",
    1: "done in part, or faults were found",
    2: "not done, and one line says why",
    130: "Ctrl-C",
    141: "nobody reads the output",
    143: "SIGTERM",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status, one of `STATUSES`. That of `run` is the script's."""
    argv = [*(sys.argv[1:] if argv is None else argv)]  # `list` is a command here, once it was imported
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: densebone COMMAND ...   (densebone COMMAND --help tells more)\n")
        print("\n".join(f"  {name:12} {what}" for name, what in COMMANDS.items()))
        print("\nexit status:\n" + "\n".join(f"  {status:<12} {what}" for status, what in STATUSES.items()))
        return 0 if argv else 2
    if argv[0] == "--version":
        from .. import __version__

        print(f"densebone {__version__}")
        return 0
    # a script that `run` executes prints what it likes
    if argv[0] != "run" and not {"-v", "--verbose"} & set(argv):
        quiet.silence()
    hook = sys.unraisablehook
    sys.unraisablehook = lambda one: None if _is_echo(one) else hook(one)
    try:
        return _status(argv)
    finally:
        sys.unraisablehook = hook


def console() -> NoReturn:
    """Runs the command of the process, and ends the process with its status.

    Once the work is done, Ctrl-C and SIGTERM no longer matter: only the end of the interpreter is left.
    """
    status = main()
    signals.ignore()
    gc.freeze()  # else Python looks once more at the million objects of a toolkit, for half a second
    sys.exit(status)


def magic(line: str) -> None:
    """Runs a command in a notebook's process, as `%densebone COMMAND ...` after `%load_ext densebone`.

    Paddle and the toolkits are imported once for all commands of the notebook.

    Args:
        line: the command as a shell takes it; IPython has put values in the place of {names}.

    Raises:
        UsageError: the status is not 0; the command has printed why. The notebook stops there.
    """
    from IPython.core.error import UsageError

    if status := main(shlex.split(line)):
        raise UsageError(f"densebone {line} ended with status {status}: {STATUSES.get(status, 'not done')}")


def _status(argv):
    """Runs a command; returns its exit status, and prints in one line why it could not do its work."""
    try:
        with signals.terminable():
            return _run(argv)
    except UserError as error:
        print(f"densebone: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name not in LACKING:
            raise
        print(f"densebone: {LACKING[error.name]}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `densebone list | head`; nobody reads what is still in the buffer
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if not no_room(error):
            raise
        print(f"densebone: {_full(error)}", file=sys.stderr)
        return 2
    except signals.Terminated:
        print("densebone: terminated", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print("densebone: interrupted", file=sys.stderr)
        return 130


def _run(argv):
    if argv[0] not in COMMANDS:
        raise UserError(f"there is no command {argv[0]!r}; {suggest(argv[0], COMMANDS)}")
    command = importlib.import_module(f".{argv[0].replace('-', '_')}", __package__)
    return command.main(argv[1:]) or 0


def _is_echo(one):
    """Whether an object's end only repeats what was said: a file on a full disk, a progress bar that a signal ended."""
    if isinstance(one.exc_value, OSError) and no_room(one.exc_value):
        return True
    return isinstance(one.exc_value, AttributeError) and "tqdm" in repr(one.object)


def _is_full(error):
    return isinstance(error, OSError) and no_room(error) is not None


def _full(error):
    place = f" while writing {error.filename}" if error.filename else ""
    return printable(f"{no_room(error)}{place}; nothing is half written: make room and give the same command again")
