"""What a training run reports: progress lines, the rows of its history and curves, VisualDL scalars."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from .history import History


class Reporter:
    """Prints the progress of a run and writes it to the run's folder. Only the first process prints and writes.

    Args:
        folder: of the run.
        iteration: where training continues. Later rows of an existing history are dropped.
        iters: iterations of the whole training.
        per_epoch: iterations per epoch.
        images: images per iteration, over all processes.
        is_first: whether this is the first process.
        vdl: also log to VisualDL, into FOLDER/vdl.
    """

    def __init__(
        self, folder: Path, iteration: int, iters: int, per_epoch: int, images: int, is_first: bool, vdl: bool
    ) -> None:
        self.iters, self.per_epoch, self.images, self.is_first = iters, per_epoch, images, is_first
        self.history = History(folder, iteration, write=is_first)
        self.log: Any = _visualdl(folder / "vdl") if vdl and is_first else None
        self.meter = Meter()

    def evaluations(self) -> list[dict[str, Any]]:
        """The history's rows of evaluations."""
        return [row for row in self.history.rows if row["kind"] == "eval"]

    def restart(self, rows: Sequence[Mapping[str, float]] = ()) -> None:
        """Starts the means and the clock anew, after work that is not training; `rows` are means to go on with."""
        self.meter = Meter(rows)

    def add(self, losses: Mapping[str, float]) -> None:
        """Adds one iteration's losses, by name, to the means."""
        self.meter.add(losses)

    def report(self, iteration: int, rate: float) -> None:
        """Prints and notes the mean losses since the last report; `rate` is the learning rate."""
        losses, seconds = self.meter.read()
        if not self.is_first:
            return
        left = timedelta(seconds=round(seconds * (self.iters - iteration)))
        shown = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
        print(
            f"iteration {iteration}/{self.iters}: {shown}, learning rate {rate:.6g}, "
            f"{self.images / seconds:.1f} images/s, {left} left",
            flush=True,
        )
        self.note("train", iteration, {"lr": float(rate), **losses})

    def note(self, kind: str, iteration: int, values: Mapping[str, float]) -> None:
        """Writes a row of kind "train" or "eval" to the history, and its values to VisualDL."""
        epoch = round(iteration / self.per_epoch, 4)
        self.history.add({"kind": kind, "iteration": iteration, "epoch": epoch, **values})
        for name, value in values.items() if self.log else ():
            self.log.add_scalar(f"{kind}/{name}", value, iteration)

    def close(self) -> None:
        """Closes the VisualDL log."""
        if self.log:
            self.log.close()


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


def _visualdl(folder):
    from visualdl import LogWriter

    return LogWriter(str(folder))
