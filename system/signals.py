"""SIGTERM ends a command as Ctrl-C does: in order, with one line and a status of its own.

Paddle puts handlers of its own in place when it is imported, which print a C++ stack. They are taken out again.
"""

from __future__ import annotations

import importlib.util
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM came. What handles Ctrl-C handles it too."""


@contextmanager
def terminable() -> Iterator[None]:
    """Within this context SIGTERM raises `Terminated` in the main thread, also after Paddle is imported."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    hook = _AfterImport("paddle", _take_back)
    if "paddle" in sys.modules:
        _take_back(sys.modules["paddle"])
    else:
        sys.meta_path.insert(0, hook)
        _handle()
    try:
        yield
    finally:
        if hook in sys.meta_path:
            sys.meta_path.remove(hook)
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@contextmanager
def postponed() -> Iterator[None]:
    """Within this context a first Ctrl-C or SIGTERM waits for the end of the context; a second one ends it at once.

    For steps that leave nothing half when they are let to end, such as an update of all weights.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[type[KeyboardInterrupt]] = []

    def note(number: int, _: Any) -> None:
        kind = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if waiting:
            raise kind
        waiting.append(kind)

    # a process that ignores a signal, or lets it end it as the system does, goes on doing so
    before = {
        number: handler for number in (signal.SIGINT, signal.SIGTERM) if callable(handler := signal.getsignal(number))
    }
    for number in before:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if waiting:
        raise waiting[0]


def ignore() -> None:
    """From now on Ctrl-C and SIGTERM do nothing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def children_may_end() -> None:
    """Takes out the handler that Paddle's loader puts in place for the end of child processes."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def leave_to_parent() -> None:
    """In a worker process: Ctrl-C is the parent's to handle, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _handle() -> None:
    def terminate(*_: Any) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)


def _take_back(paddle: ModuleType) -> None:
    """Takes out Paddle's handlers, of SIGSEGV and others too, and puts ours in the place of SIGTERM's."""
    paddle.disable_signal_handler()
    _handle()


class _AfterImport(MetaPathFinder):
    """Calls a function with a module once it is imported."""

    def __init__(self, name: str, then: Callable[[ModuleType], None]):
        self.name, self.then = name, then

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The module's own spec, whose loader calls the function at its end."""
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self.then)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Loader, then: Callable[[ModuleType], None]):
        self.loader, self.then = loader, then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """See `importlib.abc.Loader`."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib.abc.Loader`."""
        self.loader.exec_module(module)
        self.then(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)
