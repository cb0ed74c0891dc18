"""Where the time of a command goes: `with stage("decode"):` around each step, and a table of them at the end.

Nothing is measured, and a step costs a quarter of a microsecond more, until `begin` is called.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ClassVar

_OFF: AbstractContextManager[None] = nullcontext()


class _Clock:
    """Seconds of each stage, over all threads."""

    lock = threading.Lock()
    started: float | None = None
    seconds: ClassVar[dict[str, float]] = {}
    calls: ClassVar[dict[str, int]] = {}


def begin() -> None:
    """Starts to measure, from zero."""
    with _Clock.lock:
        _Clock.started, _Clock.seconds, _Clock.calls = time.perf_counter(), {}, {}


def stage(name: str) -> AbstractContextManager[None]:
    """A context whose time counts for the stage of this name. Stages may run in several threads, not in each other."""
    return _OFF if _Clock.started is None else _measured(name)


@contextmanager
def _measured(name: str) -> Iterator[None]:
    before = time.perf_counter()
    try:
        yield
    finally:
        passed = time.perf_counter() - before
        with _Clock.lock:
            _Clock.seconds[name] = _Clock.seconds.get(name, 0.0) + passed
            _Clock.calls[name] = _Clock.calls.get(name, 0) + 1


def end(pictures: int) -> list[str]:
    """Stops, and returns the table: milliseconds of each stage a picture, in the order in which the stages came.

    Stages of several threads overlap, so that their sum may be more than the time that has passed, the last row.
    A thread that waits for a core counts as busy.

    Args:
        pictures: how many there were.
    """
    with _Clock.lock:
        passed = 0.0 if _Clock.started is None else time.perf_counter() - _Clock.started
        seconds, calls, _Clock.started = _Clock.seconds, _Clock.calls, None
    share, total = 1e3 / max(1, pictures), sum(seconds.values()) or 1.0
    rows = [f"{'stage':<22}{'ms a picture':>13}{'share':>8}{'calls':>9}"]
    rows += [f"{n:<22}{s * share:>13.2f}{s / total:>8.0%}{calls[n]:>9}" for n, s in seconds.items()]
    return [*rows, f"{'from start to end':<22}{passed * share:>13.2f}{'':>8}{pictures:>9} pictures, {passed:.2f} s"]
