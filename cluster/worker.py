"""What runs on the machines of a cluster: a worker holds an engine and does one order after the other."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..pictures import remote

#: makes what a worker computes with: (threads, folder for files) -> a function: what is ordered -> answer
Opener = Callable[[int, Path], Callable[[Any], Any]]


@dataclass
class Order:
    """A piece of the work.

    Attributes:
        name: for messages, such as "shard 12".
        what: is to be computed; the worker's function takes it.
        paths: the pictures that are read for it.
        given: path -> a reference to its bytes in Ray's store, or None where the driver has none either. Of the
            pictures that a worker could not see.
        deaths, refusals: how many workers died over it, and how often a store refused.
    """

    name: str
    what: Any
    paths: Sequence[str]
    given: dict[str, Any] = field(default_factory=dict)
    deaths: int = 0
    refusals: int = 0


@dataclass
class Done:
    """What became of an order.

    Attributes:
        answer: of the worker's function.
        files: (name below the output folder, content) where the worker does not see that folder.
        unseen: pictures that the worker does not see; nothing was computed.
        refused: what a store of pictures said; nothing was computed.
        fault: why nobody can compute it.
    """

    answer: Any = None
    files: list[tuple[str, bytes]] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    refused: str = ""
    fault: str = ""


class Worker:
    """An actor of Ray.

    Args:
        opener: makes what computes.
        threads: processor cores that it may use.
        output: the folder for files, as the driver names it.
        mark: a file there that only this run has; who sees it shares the folder with the driver.
    """

    def __init__(self, opener: Opener, threads: int, output: str, mark: str):
        self._opener, self._threads, self._output, self._mark = opener, threads, Path(output), mark
        self._folder: Path | None = None
        self._compute: Callable[[Any], Any] | None = None

    def open(self) -> str:
        """Makes the engine; returns "", or why that cannot be done."""
        os.environ["TQDM_DISABLE"] = "1"
        try:
            if not os.path.exists(self._output / self._mark) or not os.access(self._output, os.W_OK):
                self._folder = Path(tempfile.mkdtemp(prefix="densebone-"))
            self._compute = self._opener(self._threads, self._folder or self._output)
        except UserError as error:
            return str(error)
        return ""

    def work(self, order: Order) -> Done:
        """Does an order, unless pictures are missing here that the driver may have."""
        assert self._compute is not None
        if unseen := [path for path in order.paths if path not in order.given and not remote.exists(path)]:
            return Done(unseen=unseen)
        try:
            with remote.given({path: partial(_fetched, content) for path, content in order.given.items()}):
                answer = self._compute(order.what)
        except remote.Unreachable as error:
            return Done(refused=str(error))
        except UserError as error:
            return Done(fault=str(error))
        return Done(answer, [] if self._folder is None else _taken(self._folder))


def _fetched(content):
    import ray

    return None if content is None else ray.get(content)


def _taken(folder):
    """The content of the files in a folder, which is empty afterwards."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = [(str(path.relative_to(folder)), path.read_bytes()) for path in files]
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found
