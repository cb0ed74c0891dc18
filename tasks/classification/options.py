"""The options that only classification has on the command line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from ..task import Job


def add_options(parser: ArgumentParser, command: str) -> None:
    """Adds classification's options to the parser of "eval", "predict" or "export"."""
    if command == "predict":
        group = parser.add_argument_group("classification")
        group.add_argument("--top", type=int, metavar="K", help="name this many classes for each picture (5)")


def read_options(arguments: Namespace, command: str, job: Job | None) -> dict[str, Any]:
    """The given options as keyword arguments of `evaluate`, `predict` or `export`."""
    if command == "predict":
        return {"top": 5 if arguments.top is None else arguments.top}
    if command == "export":  # which adds --int8 itself, since models without a configuration take it too
        return {"int8": arguments.int8, "int8_layers": arguments.int8_layers}
    return {}
