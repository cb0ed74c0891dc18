"""Which weights a job uses: the file given, or what training left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..training import checkpoints
from ..weights.catalog import is_published, is_url
from ..weights.loader import locate
from .task import TASKS, Job


def find_weights(job: Job, weights: str | Path | None = None, configured: str | None = None) -> Path:
    """The weights file to use.

    Args:
        job: its folder holds what training left, and its task names it in messages.
        weights: a path, with or without .pdparams; or the name of published weights or their URL, which are downloaded
            once. None takes best_model, else model_final, else the last whole snapshot of save_dir/NAME, else
            `configured`.
        configured: the path that the configuration names.

    Raises:
        UserError: there is no such file, or it is half written.
    """
    if weights is not None and (is_url(weights) or is_published(str(weights))):
        return Path(locate(weights))
    return checkpoints.find_weights(job.folder, weights, configured, what=TASKS[job.task].trained)


def kept_classes(path: Path, num_classes: int) -> list[str] | None:
    """The class names that training kept beside a weights file; None where it kept none for so many classes."""
    about = checkpoints.info(path) if path.suffix == ".pdparams" else None
    return classes_in(about or {}, num_classes)


def classes_in(about: Mapping[str, Any], num_classes: int) -> list[str] | None:
    """The class names among what is kept with a checkpoint; None where there are not `num_classes` different ones."""
    names = about.get("classes")
    if not isinstance(names, list) or len(names) != num_classes or not all(isinstance(name, str) for name in names):
        return None
    return list(names) if len(set(names)) == len(names) else None
