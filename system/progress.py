"""Progress: a bar on a terminal, and elsewhere a line now and then, which a log file can hold."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tqdm import tqdm

#: seconds between two lines; what is done before the first one says nothing
EVERY = 30
_LINE = "{desc}: {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} left"
_WITHOUT_TOTAL = "{desc}: {n_fmt}, {rate_fmt}"


class Progress(tqdm):
    """tqdm's bar, with its arguments, on stderr."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        elsewhere = not sys.stderr.isatty()
        if elsewhere:
            options |= {"file": _Lines(sys.stderr), "mininterval": EVERY, "maxinterval": 2 * EVERY, "delay": EVERY}
        super().__init__(*arguments, **options)
        if elsewhere:
            self.bar_format = _LINE if self.total else _WITHOUT_TOTAL


class _Lines:
    """A stream in which each state of a bar becomes a line of its own."""

    def __init__(self, stream: TextIO):
        self._stream, self._last = stream, ""

    def write(self, text: str) -> None:
        """Writes the state without what moves a terminal's cursor; the same one only once."""
        text = text.strip("\r\n ")
        if text not in ("", self._last):
            self._stream.write(f"{text}\n")
            self._last = text

    def flush(self) -> None:
        """As of a stream."""
        self._stream.flush()
