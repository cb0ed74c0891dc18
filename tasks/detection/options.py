"""The options that only detection has on the command line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from ...errors import UserError
from ..task import Job


def add_options(parser: ArgumentParser, command: str) -> None:
    """Adds detection's options to the parser of "eval", "predict" or "export"."""
    if command == "predict":
        group = parser.add_argument_group("detection")
        group.add_argument("-t", "--threshold", type=float, help="draw boxes from this score on (0.5)")


def read_options(arguments: Namespace, command: str, job: Job) -> dict[str, Any]:
    """The given options as keyword arguments of `evaluate`, `predict` or `export`."""
    if command == "predict":
        return {"threshold": 0.5 if arguments.threshold is None else arguments.threshold}
    if command == "export":  # which adds --int8 itself
        if arguments.int8_layers:
            raise UserError("--int8-layers is for classifiers and segmentation models; leave it out")
        return {"int8": arguments.int8, "with_preprocessing": arguments.with_preprocessing}
    return {}
