"""Loggers of a run: VisualDL, TensorBoard, Weights & Biases, MLflow. Each package is imported when it is asked for.

VisualDL and TensorBoard write below the run's folder. So does MLflow, unless MLFLOW_TRACKING_URI names a server.
Weights & Biases sends what it gets to its server, unless WANDB_MODE is "offline".
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError, printable, suggest
from ..system.files import atomic_path

# the numbers that the services gave to the runs of a folder, so that a resumed run goes on in them
_NUMBERS = "loggers.json"


class Logger:
    """Where the values of a run go besides its history.

    Args:
        folder: of the run.
        name: of the run.
        rows: the history of a run that goes on; empty for a new one.
    """

    #: the packages of which one is needed, and what to install
    packages: tuple[str, ...] = ()
    #: the pip package
    needs: str = ""

    def __init__(self, folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.folder, self.name = folder, name
        self.open(rows)

    def open(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Opens the log. One that was written before is put in the state of the rows, as far as the package can."""
        raise NotImplementedError

    def add(self, kind: str, iteration: int, values: Mapping[str, float]) -> None:
        """Logs values by name; `kind` is "train" or "eval"."""
        raise NotImplementedError

    def settings(self, values: Mapping[str, str]) -> None:
        """Logs the settings of the run. Not every logger has a place for them."""

    def close(self) -> None:
        """Writes what is not written yet."""


class _Files(Logger):
    """A logger whose files are written anew from the history when a run goes on: nothing is there twice."""

    place, pattern = "", ""
    writer: Any

    def open(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """See `Logger`."""
        for file in (self.folder / self.place).glob(self.pattern):
            file.unlink()
        self.writer = self.writer_in(str(self.folder / self.place))
        for row in rows:
            values = {key: value for key, value in row.items() if key not in ("kind", "iteration", "epoch")}
            self.add(row["kind"], row["iteration"], values)

    def writer_in(self, folder: str) -> Any:
        """The package's writer."""
        raise NotImplementedError

    def add(self, kind: str, iteration: int, values: Mapping[str, float]) -> None:
        """See `Logger`."""
        for name, value in values.items():
            self.writer.add_scalar(f"{kind}/{name}", value, iteration)

    def close(self) -> None:
        """See `Logger`."""
        self.writer.close()


class VisualDL(_Files):
    """VisualDL, into FOLDER/vdl."""

    packages, needs = ("visualdl",), "visualdl"
    place, pattern = "vdl", "vdlrecords.*"

    def writer_in(self, folder: str) -> Any:
        """See `_Files`."""
        from visualdl import LogWriter

        return LogWriter(folder)

    def settings(self, values: Mapping[str, str]) -> None:
        """See `Logger`."""
        self.writer.add_text("settings", _lines(values), 0)


class TensorBoard(_Files):
    """TensorBoard, into FOLDER/tensorboard, through tensorboardX or PyTorch."""

    packages, needs = ("tensorboardX", "torch.utils.tensorboard"), "tensorboardX"
    place, pattern = "tensorboard", "events.out.tfevents.*"

    def writer_in(self, folder: str) -> Any:
        """See `_Files`."""
        if importlib.util.find_spec("tensorboardX"):
            from tensorboardX import SummaryWriter
        else:
            from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(folder)

    def settings(self, values: Mapping[str, str]) -> None:
        """See `Logger`."""
        self.writer.add_text("settings", _lines(values).replace("\n", "  \n"), 0)


class Wandb(Logger):
    """Weights & Biases. A run that goes on is the same run there; its server drops the iterations that it has."""

    packages, needs = ("wandb",), "wandb"

    def open(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """See `Logger`."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its reports to its makers
        import wandb

        known = _number(self.folder, "wandb") if rows else None
        # its lines would stand between ours
        quiet = wandb.Settings(console="off", silent=True)
        self.run = wandb.init(
            project="densebone", name=self.name, dir=str(self.folder), id=known, resume="allow", settings=quiet
        )
        _keep_number(self.folder, "wandb", self.run.id)

    def add(self, kind: str, iteration: int, values: Mapping[str, float]) -> None:
        """See `Logger`."""
        self.run.log({f"{kind}/{name}": value for name, value in values.items()}, step=iteration)

    def settings(self, values: Mapping[str, str]) -> None:
        """See `Logger`."""
        self.run.config.update(dict(values), allow_val_change=True)

    def close(self) -> None:
        """See `Logger`."""
        self.run.finish()


class MLflow(Logger):
    """MLflow, into FOLDER/mlflow or where MLFLOW_TRACKING_URI says. A run that goes on is the same run there."""

    packages, needs = ("mlflow",), "mlflow"

    def open(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """See `Logger`."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # its reports to its makers
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        place = (self.folder / "mlflow").absolute()
        if "MLFLOW_TRACKING_URI" in os.environ:
            self.client = MlflowClient()
        else:
            place.mkdir(exist_ok=True)
            self.client = MlflowClient(tracking_uri=f"sqlite:///{place / 'mlflow.db'}")
        known = _number(self.folder, "mlflow") if rows else None
        self.last: dict[str, int] = {}
        if known:
            self.client.set_terminated(known, "RUNNING")
            self.run_id = known
        else:
            found = self.client.get_experiment_by_name("densebone")
            artifacts = None if "MLFLOW_TRACKING_URI" in os.environ else (place / "artifacts").as_uri()
            experiment = found.experiment_id if found else self.client.create_experiment("densebone", artifacts)
            self.run_id = self.client.create_run(experiment, run_name=self.name).info.run_id
        _keep_number(self.folder, "mlflow", self.run_id)

    def add(self, kind: str, iteration: int, values: Mapping[str, float]) -> None:
        """See `Logger`. Iterations that the run has are left out."""
        from mlflow.entities import Metric

        if kind not in self.last:
            name = f"{kind}/{next(iter(values))}"
            before = self.client.get_metric_history(self.run_id, name)
            self.last[kind] = max((metric.step for metric in before), default=-1)
        if iteration > self.last[kind]:
            now = int(time.time() * 1000)
            metrics = [Metric(f"{kind}/{name}", value, now, iteration) for name, value in values.items()]
            self.client.log_batch(self.run_id, metrics)

    def settings(self, values: Mapping[str, str]) -> None:
        """See `Logger`."""
        for key, value in values.items():
            self.client.set_tag(self.run_id, key, value)

    def close(self) -> None:
        """See `Logger`."""
        self.client.set_terminated(self.run_id)


LOGGERS: dict[str, type[Logger]] = {"vdl": VisualDL, "tensorboard": TensorBoard, "wandb": Wandb, "mlflow": MLflow}


def check_loggers(names: Iterable[str]) -> None:
    """Raises UserError for a logger that is not known and for one whose package is not installed."""
    for name in names:
        if name not in LOGGERS:
            raise UserError(f"there is no logger {name!r}; {suggest(name, LOGGERS)}")
        if not any(map(_is_installed, LOGGERS[name].packages)):
            needs = LOGGERS[name].needs
            raise UserError(f"the logger {name} needs {needs}, which is not installed; pip install {needs}")


class Loggers:
    """The loggers of a run. One that fails is dropped with a line; it never stops the training.

    Args:
        names: keys of `LOGGERS`.
        folder: of the run.
        name: of the run.
        rows: the history of a run that goes on.
        say: gets the line about a logger that fails.
    """

    def __init__(
        self,
        names: Iterable[str],
        folder: Path,
        name: str,
        rows: Sequence[Mapping[str, Any]],
        say: Callable[[str], object],
    ) -> None:
        self.open: dict[str, Logger] = {}
        self.say = say
        for each in dict.fromkeys(names):
            self._try(each, lambda each=each: self.open.update({each: LOGGERS[each](folder, name, rows)}))

    def add(self, kind: str, iteration: int, values: Mapping[str, float]) -> None:
        """Logs values by name; `kind` is "train" or "eval"."""
        for name, logger in list(self.open.items()):
            self._try(name, lambda logger=logger: logger.add(kind, iteration, values))

    def settings(self, values: Mapping[str, str]) -> None:
        """Logs the settings of the run."""
        for name, logger in list(self.open.items()):
            self._try(name, lambda logger=logger: logger.settings(values))

    def close(self) -> None:
        """Closes them all."""
        for name, logger in list(self.open.items()):
            self._try(name, lambda logger=logger: logger.close())
        self.open = {}

    def _try(self, name, action):
        try:
            action()
        except Exception as error:  # whatever a service or its package does, the training goes on
            self.open.pop(name, None)
            reason = printable(" ".join(str(error).split())[:200] or type(error).__name__)
            self.say(f"note: the logger {name} failed and is left out from here on: {reason}")


def _is_installed(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package in front of a dot
        return False


def _lines(values):
    return "\n".join(f"{key}: {value}" for key, value in values.items())


def _number(folder, service):
    try:
        return json.loads((folder / _NUMBERS).read_text()).get(service)
    except (OSError, ValueError, AttributeError):
        return None


def _keep_number(folder, service, number):
    try:
        known = json.loads((folder / _NUMBERS).read_text())
    except (OSError, ValueError):
        known = {}
    with atomic_path(folder / _NUMBERS) as temporary:
        temporary.write_text(json.dumps({**known, service: number}))
