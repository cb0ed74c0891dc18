"""Benchmarks that print one table and run every measurement in a child process of its own.

Imports nothing large, so that the parent stays small: where the system reports only a child's peak memory, that peak
starts at the size of the parent.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def new_parser(description):
    """A command line parser with --output, and with the hidden --child that `call` uses."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    return parser


def call(script, function, *arguments):
    """Calls a function of a script in a child process and returns its result.

    Args:
        script (str): the script's file. It passes its --child to `answer`.
        function (callable): one of the functions that the script gives to `answer`.
        arguments: anything that JSON can hold, like the result.
    """
    command = [sys.executable, script, "--child", json.dumps([function.__name__, *arguments])]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def answer(child, *functions):
    """The child's side of `call`: calls the named function and prints its result."""
    name, *arguments = child
    print(json.dumps({function.__name__: function for function in functions}[name](*arguments)))


def print_table(header, rows, output=None):
    """Prints a Markdown table row by row as the rows are measured, and writes it to a file if asked.

    Args:
        header (str), rows (iterable of str): each ends with a newline.
        output (Path | None): the file.
    """
    table = header
    print(header, end="", flush=True)
    for row in rows:
        print(row, end="", flush=True)
        table += row
    if output:
        output.write_text(table)


def call_in(python, script, function, *arguments):
    """As `call`, in another interpreter that need not have this package; the arguments travel in a file.

    Args:
        python (str): the interpreter.
        script (str): the script's file, which does what `function` says when its only argument is a .json file.
        function (str): the name of one of its functions.
        arguments: anything that JSON can hold, like the result.

    Returns:
        The result; None where this processor has no bf16.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([function, *arguments], file)
        file.flush()
        done = subprocess.run([python, script, file.name], capture_output=True, text=True)
    if done.returncode and "bf16" in done.stderr.splitlines()[-1]:
        return None
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])
