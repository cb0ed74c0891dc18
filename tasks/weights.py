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


def facts_of(path: str | Path) -> Mapping[str, Any]:
    """What training kept beside a weights file; {} where it kept nothing, or the file is not the one it wrote."""
    path = Path(path)
    file = path if path.suffix == ".pdparams" else path.with_name(f"{path.name}.pdparams")
    return (checkpoints.info(file) if file.is_file() else None) or {}


def starting_order(source: Any, own: list[str], key: str = "classes") -> list[str]:
    """The order of the classes of a training that starts from other weights.

    Args:
        source: what the configuration names as its first weights. Where our own training wrote that file, for the same
            classes, they keep their places.
        own: the data's classes.
        key: of the facts that are kept with a checkpoint: "classes" or "folders".
    """
    if not isinstance(source, (str, Path)) or is_url(str(source)):
        return own
    kept = facts_of(source).get(key)
    return list(kept) if isinstance(kept, list) and sorted(map(str, kept)) == sorted(own) else own
