"""Silences messages of other libraries that a user can do nothing about.

The commands call `silence` before they import anything heavy. With -v they do not, and every message appears. Errors
always appear, and so do warnings that are not listed here.
"""

from __future__ import annotations

import builtins
import importlib.metadata
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

# Beginnings of Python warnings by Paddle: at import, about batch norms in training, about names as in PyTorch.
_WARNINGS = ("No ccache found", "When training, we now always track", r"\s*Non compatible API")
# Beginnings of root-logger records: by ONNX Runtime about a model that is preprocessed already, and by Paddle's loader
# about a dead worker, for which `training.batches` has its own line.
_RECORDS = ("Please consider to run pre-processing", "Please consider pre-processing", "DataLoader ")

_silent = False


def silence() -> None:
    """Silences the known messages in this process. Call it before Paddle and the toolkits are imported."""
    global _silent
    if _silent:
        return
    _silent = True
    for beginning in _WARNINGS:
        warnings.filterwarnings("ignore", beginning)
    drop_records(logging.getLogger(), *_RECORDS)
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # it warns of files that we name
    # The warnings of Paddle's C++ code are for its developers. A GPU build also warns about unfit drivers: keep those.
    if not _is_installed("paddlepaddle-gpu"):
        os.environ.setdefault("GLOG_minloglevel", "2")


def is_silent() -> bool:
    """Whether `silence` was called."""
    return _silent


def drop_records(logger: logging.Logger, *beginnings: str) -> None:
    """Drops records that are logged with this logger and start with one of these texts."""
    logger.addFilter(lambda record: not record.getMessage().startswith(beginnings))


def keep_records(handler: logging.Handler, *beginnings: str) -> None:
    """Lets a handler pass only warnings, errors, and INFO records that start with one of these texts."""
    handler.addFilter(lambda r: r.levelno >= logging.WARNING or r.getMessage().startswith(beginnings))


@contextmanager
def prints_dropped(*beginnings: str) -> Iterator[None]:
    """Within the block, `print` drops texts that start with one of these. For modules that print when imported."""
    plain = builtins.print

    def filtered(*values: Any, **options: Any) -> None:
        if not (values and str(values[0]).startswith(beginnings)):
            plain(*values, **options)

    builtins.print = filtered
    try:
        yield
    finally:
        builtins.print = plain


def mute_prints(module: ModuleType, *keep: str) -> None:
    """Gives a module a `print` that only prints texts which start with one of `keep`."""

    def filtered(*values: Any, **options: Any) -> None:
        if keep and values and str(values[0]).startswith(keep):
            print(*values, **options)

    vars(module)["print"] = filtered


def _is_installed(distribution):
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
