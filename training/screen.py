"""Where the lines of a run go: the terminal, with one live line below them, and train.log in the run's folder."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..errors import UserError

#: environment variable: the least seconds between two printed lines of progress where stdout is no terminal
LOG_SECONDS = "DENSEBONE_LOG_SECONDS"
_SECONDS, _REDRAW = 30.0, 0.2
_FORMAT = logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s")


class _Log(logging.FileHandler):
    def handleError(self, record):
        """A full disk ends the run, as for every other file of it; `logging` would print a traceback and go on."""
        raise


class Screen:
    """Prints the lines of a run and writes them to a log. Of several processes, only the first has one that does.

    On a terminal the progress is one line that is redrawn in place; other lines scroll above it. Elsewhere a line of
    progress is printed when the last one is `LOG_SECONDS` old. The log gets every line.

    Args:
        file: the log; None writes none.
        is_shown: whether anything is printed.
        goes_on: add to the log of an earlier run instead of writing it anew.
        stream: None is sys.stdout.
        clock: gives seconds.

    Raises:
        UserError: the environment variable `LOG_SECONDS` holds no number of seconds.
    """

    def __init__(
        self,
        file: Path | None,
        is_shown: bool,
        goes_on: bool = False,
        stream: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_shown, self.clock, self.seconds = is_shown, clock, _log_seconds()
        self.log: Any = None
        if file is not None and is_shown:
            self.log = _Log(file, "a" if goes_on else "w", encoding="utf-8", delay=True)
            self.log.setFormatter(_FORMAT)
        self.attached: list[logging.Logger] = []
        self.printed: float | None = None
        self.drawn: float | None = None
        console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self.is_live = is_shown and console.is_terminal and not console.is_dumb_terminal
        self.live: Live | None = None
        self.console = console

    def say(self, text: str, is_note: bool = False) -> None:
        """Prints a line, or several, and logs it; a note goes to stderr."""
        if self.is_shown:
            print(text, file=sys.stderr if is_note else None, flush=True)
            self._write(text)

    def progress(self, text: str, is_last: bool = False) -> None:
        """Logs a line of progress, and prints it when it is due: the first, the last, and one in `LOG_SECONDS`."""
        if not self.is_shown:
            return
        self._write(text)
        now = self.clock()
        if not self.is_live and (is_last or self.printed is None or now - self.printed >= self.seconds):
            self.printed = now
            print(text, flush=True)

    def is_due(self) -> bool:
        """Whether the live line is old enough to be drawn again."""
        return self.is_live and (self.drawn is None or self.clock() - self.drawn >= _REDRAW)

    def excess(self, parts: Sequence[str]) -> int:
        """By how many characters a live line is too long for the terminal."""
        return len("  ".join(parts)) - self.console.width

    def draw(self, parts: Sequence[str]) -> None:
        """Redraws the live line; what is too long for the terminal is cut at its end."""
        if not self.is_live:
            return
        text = Text("  ".join(parts), no_wrap=True, overflow="ellipsis")
        if self.live is None:
            # without a thread that redraws, because workers are forked; what others print scrolls above too
            self.live = Live(text, console=self.console, auto_refresh=False)
            self.live.start()
        self.live.update(text, refresh=True)
        self.drawn = self.clock()

    def attach(self, names: Sequence[str]) -> None:
        """Lets the log have what libraries log, by the beginnings of their loggers' names."""
        for name in list(logging.Logger.manager.loggerDict) if self.log and names else ():
            logger = logging.getLogger(name)
            if name.startswith(tuple(names)) and not (logger.propagate and "." in name):
                logger.addHandler(self.log)
                self.attached.append(logger)

    def close(self) -> None:
        """Leaves the live line as it is, and closes the log."""
        if self.live is not None:
            self.live.stop()
            self.live = None
        for logger in self.attached:
            logger.removeHandler(self.log)
        self.attached = []
        if self.log:
            self.log.close()

    def _write(self, text):
        for line in text.splitlines() if self.log else ():
            self.log.handle(logging.LogRecord("densebone", logging.INFO, "", 0, line, None, None))


def _log_seconds():
    given = os.environ.get(LOG_SECONDS, "").strip()
    try:
        seconds = float(given or _SECONDS)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise UserError(f"the environment variable {LOG_SECONDS} is {given!r}; give seconds, such as 30, or 0")
    return seconds
