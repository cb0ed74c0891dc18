"""The interface that detection, segmentation and classification share.

A task is a folder. Each has the same files with the same functions:

    options.py     add_options(parser, command)                     what only this task's commands take
                   read_options(arguments, command, job)            -> keyword arguments for the functions below
    config.py      load(path, overrides, data, pretrained)          -> Job
    settings.py    change(job, settings)                            puts --epochs, --imgsz, ... into the job
                   describe(job, evaluates)                         -> what the table of a run says of it
    data.py        check_data(job, part)                            -> Report; raises on data that cannot be used
                   class_names(job)                                 -> one name for each class
    weights.py     load_trained(job, weights, model)                -> Trained
    training.py    train(job, resume, evaluate, amp, loggers, seed, overwrite, patience)      -> folder of the run
    evaluation.py  evaluate(job, weights, engine, **options)        -> dict;  describe(result) -> lines to print
    prediction.py  predict(job, paths, output, weights, engine, **options)      -> dict;  describe(result)
    exporting.py   export(job, output, weights, check, formats, **options)      -> dict;  describe(result)
    browsing.py    samples(job, count, seed, cell)                  -> training pictures as the network sees them
    project.py     decide(data, wishes, folder, place)              -> Decisions: a configuration for own data
    sizing.py      network_and_input(job, size)                     -> the network and what to call it with

The commands call these functions and know nothing else of a task. What the tasks do alike stands in the files of the
same names beside this one. Segmentation and detection also have heads.py, the trials of `densebone compat`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from ..errors import UserError
from .configuration import top_level_keys

PARTS = (
    "options",
    "config",
    "settings",
    "data",
    "weights",
    "training",
    "evaluation",
    "prediction",
    "exporting",
    "browsing",
    "project",
    "sizing",
)


class Job:
    """What a configuration describes. Each task has a subclass with its own settings.

    Attributes:
        path: the configuration file.
        save_dir: results go to save_dir/NAME.
        num_classes: classes of the model.
        trained_classes: the names of the classes that the weights in use were trained on, in the order of the
            network's outputs; None while that is not known.
        trained_folders: the class folders that a classifier was trained on, likewise.
        strict: data of which something would be left out is refused.
    """

    task: ClassVar[str] = ""
    path: Path
    save_dir: str
    num_classes: int
    trained_classes: list[str] | None = None
    trained_folders: list[str] | None = None
    strict: bool = False

    @property
    def name(self) -> str:
        """The configuration's file name without its extension."""
        return self.path.stem

    def learn_classes(self, about: Mapping[str, Any]) -> None:
        """Takes the classes from what is kept with a checkpoint, where there is one name for each output."""
        self.trained_classes = self._names(about.get("classes"))
        self.trained_folders = self._names(about.get("folders"))

    def _names(self, names):
        usable = isinstance(names, list) and len(names) == self.num_classes and all(isinstance(n, str) for n in names)
        return list(names) if usable and len(set(names)) == len(names) else None

    @property
    def folder(self) -> Path:
        """Where checkpoints, history and results go: save_dir/NAME."""
        return Path(self.save_dir) / self.name


@dataclass
class Trained:
    """A network with trained weights.

    Attributes:
        model: a `paddle.nn.Layer`.
        path: the weights file.
    """

    model: Any
    path: Path


@dataclass(frozen=True)
class Task:
    """One of the three tasks; its parts are imported when they are first used.

    Attributes:
        name: "detection", "segmentation" or "classification".
        trained: what training makes, for messages: "detector", ...
        exclusive: the command-line options that only this task takes, by their names among the parsed arguments.
    """

    name: str
    trained: str
    exclusive: tuple[str, ...]

    def part(self, name: str) -> ModuleType:
        """One of the task's modules, such as "training"."""
        return importlib.import_module(f".{self.name}.{name}", __package__)


TASKS = {
    task.name: task
    for task in (
        Task("detection", "detector", ("threshold", "with_preprocessing")),
        Task(
            "segmentation",
            "segmentation model",
            ("flip", "scales", "slide", "opacity", "city_ids", "input_size"),
        ),
        Task("classification", "classifier", ("top",)),
    )
}


def task_of(path: str | Path) -> Task:
    """The task of a configuration file, told by its top-level keys and those of its bases.

    Raises:
        UserError: the keys name no task.
    """
    keys = top_level_keys(path)
    if "architecture" in keys:
        return TASKS["detection"]
    if "task" in keys:  # classification.config.load checks its value
        return TASKS["classification"]
    if "model" in keys and "train_dataset" in keys:
        return TASKS["segmentation"]
    raise UserError(
        f"{path} names no 'architecture' (detection), no 'model' with a 'train_dataset' (segmentation) and no "
        f"'task: classification', so it is not clear what it trains"
    )
