"""What a training run reports: lines, the rows of its history and curves, loggers, the time that is left."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from .history import History
from .loggers import Loggers
from .pace import Pace
from .screen import Screen


@dataclass(frozen=True)
class Plan:
    """How long a run is.

    Attributes:
        iters: iterations of the whole training.
        per_epoch: iterations per epoch.
        save_interval: iterations between two snapshots.
        evaluates: every snapshot is evaluated.
        images: pictures per iteration, over all processes.
    """

    iters: int
    per_epoch: int
    save_interval: int
    evaluates: bool
    images: int


class Reporter:
    """Reports the progress of a run and writes it to the run's folder. Only the first process prints and writes.

    Args:
        folder: of the run.
        name: of the run.
        iteration: where training continues. Later rows of an existing history are dropped.
        plan: how long the run is.
        screen: prints the lines.
        is_first: whether this is the first process.
        loggers: keys of `loggers.LOGGERS`.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        iteration: int,
        plan: Plan,
        screen: Screen,
        is_first: bool = True,
        loggers: Iterable[str] = (),
    ) -> None:
        self.plan, self.is_first, self.screen = plan, is_first, screen
        self.history = History(folder, iteration, write=is_first)
        rows = self.history.rows if iteration else ()
        self.loggers = Loggers(loggers if is_first else (), folder, name, rows, lambda line: screen.say(line, True))
        self.meter = Meter()
        self.pace = Pace(plan.iters, plan.save_interval, plan.evaluates)

    def evaluations(self) -> list[dict[str, Any]]:
        """The history's rows of evaluations."""
        return [row for row in self.history.rows if row["kind"] == "eval"]

    def begin(self, settings: Mapping[str, str]) -> None:
        """Prints the settings of the run as a table, and logs them."""
        width = max(map(len, settings))
        self.screen.say("\n".join(f"{name:{width}}  {value}" for name, value in settings.items()))
        self.loggers.settings(settings)

    def restart(self, rows: Sequence[Mapping[str, float]] = ()) -> None:
        """Starts the means and the clock anew, after work that is not training; `rows` are means to go on with."""
        self.meter = Meter(rows)
        self.pace.restart()

    def add(self, losses: Mapping[str, float], iteration: int, rate: float) -> None:
        """Adds one iteration's losses, by name, to the means, and shows them where there is a live line.

        Args:
            losses: of the iteration.
            iteration: how many are done.
            rate: the learning rate.
        """
        self.meter.add(losses)
        self.pace.iterated()
        if self.screen.is_due():
            self.screen.draw(self._live(means(self.meter.rows), iteration, rate))

    def report(self, iteration: int, rate: float) -> None:
        """Reports and notes the mean losses since the last report; `rate` is the learning rate."""
        losses, seconds = self.meter.read()
        if not self.is_first:
            return
        shown = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self.screen.progress(
            f"iteration {iteration}/{self.plan.iters}: {shown}, learning rate {rate:.6g}, "
            f"{self.plan.images / seconds:.1f} images/s, {self._left(iteration)}",
            is_last=iteration == self.plan.iters,
        )
        if self.screen.is_live:
            self.screen.draw(self._live(losses, iteration, rate))
        self.note("train", iteration, {"lr": float(rate), **losses})

    def note(self, kind: str, iteration: int, values: Mapping[str, float]) -> None:
        """Writes a row of kind "train" or "eval" to the history, and its values to the loggers."""
        epoch = round(iteration / self.plan.per_epoch, 4)
        self.history.add({"kind": kind, "iteration": iteration, "epoch": epoch, **values})
        self.loggers.add(kind, iteration, values)

    def measured(self, what: str) -> AbstractContextManager[None]:
        """Measures a block that is a "snapshot" or an "evaluation", for the time that is left."""
        return self.pace.measured(what)

    def close(self) -> None:
        """Closes the loggers and the screen."""
        self.loggers.close()
        self.screen.close()

    def _left(self, iteration):
        left = timedelta(seconds=round(self.pace.left(iteration)))
        return f"{left} left" if self.pace.is_whole() else f"{left} left plus evaluations"

    def _live(self, losses, iteration, rate):
        """The live line in parts. Where the terminal is too narrow, the parts of the loss are left out."""
        plan, losses = self.plan, dict(losses)
        total = f"loss {losses.pop('loss'):.4f}" if "loss" in losses else ""
        parts = ", ".join(f"{name.removeprefix('loss_')} {value:.3f}" for name, value in losses.items())
        line = [
            f"epoch {(iteration - 1) // plan.per_epoch + 1}/{-(-plan.iters // plan.per_epoch)}",
            f"iteration {iteration}/{plan.iters}",
            self._left(iteration),
            f"{total} ({parts})" if parts else total,
            f"lr {rate:.3g}",
            f"{plan.images * self.pace.rate():.1f} images/s",
            memory(),
        ]
        if self.screen.excess(line) > 0:
            line[3] = total
        return line


class Meter:
    """Mean losses and seconds per iteration since they were last read.

    Args:
        rows: losses of earlier iterations, which count for the means and not for the time.
    """

    def __init__(self, rows: Sequence[Mapping[str, float]] = ()) -> None:
        self.rows, self.untimed = [*rows], len(rows)
        self.since = time.perf_counter()

    def add(self, losses: Mapping[str, float]) -> None:
        """Adds one iteration's losses."""
        self.rows.append(losses)

    def read(self) -> tuple[dict[str, float], float]:
        """(mean of each loss, seconds per iteration). Starts anew."""
        now = time.perf_counter()
        result = means(self.rows), max(now - self.since, 1e-9) / max(1, len(self.rows) - self.untimed)
        self.rows, self.untimed, self.since = [], 0, now
        return result


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each name over rows of values. A row may lack a name."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}


def memory() -> str:
    """The memory of this process, and on a GPU that which Paddle holds there, in words."""
    parts = []
    status = Path("/proc/self/statm")
    if status.is_file():
        parts.append(f"{int(status.read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GB")
    if paddle.get_device().startswith("gpu"):
        parts.append(f"GPU {paddle.device.cuda.memory_reserved() / 2**30:.1f} GB")
    return ", ".join(parts)
