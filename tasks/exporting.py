"""What every export does alike: the formats beside Paddle's, and the folder that appears whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..deploy.export import check_formats
from ..deploy.folders import exported_folder
from .task import Job


def other_formats(formats: Sequence[str], int8: str | Path | None = None) -> list[str]:
    """The formats beside "paddle", which every export writes; UserError when one is unknown or not installed."""
    others = [name for name in formats if name != "paddle"]
    check_formats(["paddle", *others], int8)
    return others


@contextmanager
def new_export(job: Job, output: str | Path) -> Iterator[Path]:
    """Yields a hidden folder that becomes OUTPUT/NAME when the block ends without an error.

    Raises:
        UserError: OUTPUT cannot be written to, or OUTPUT/NAME holds something that is no exported model.
    """
    with exported_folder(Path(output) / job.name) as folder:
        yield folder


def note_no_picture() -> None:
    """Says on stderr that the exported model is not compared on a picture."""
    print("note: no picture at hand to check the exported model on; give one with --check PICTURE", file=sys.stderr)
