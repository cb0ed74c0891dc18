"""What every training run takes, and what comes before it: the data, the folder, the checkpoint to go on from.

`train` of each task takes:

    job        from the task's `config.load`
    resume     "auto" goes on from the last whole checkpoint of the job's folder, or starts when there is none; a path
               names the checkpoint; None starts anew
    evaluate   evaluate after every snapshot, and keep the best as best_model
    amp        mixed precision, on a GPU
    loggers    names of `training.loggers.LOGGERS`, where the values of the run go besides its history
    seed       of the whole run, 0 to 2^32 - 1; None takes the checkpoint's when resuming, else a random one
    overwrite  delete an earlier run's checkpoints in the folder instead of refusing to start
    patience   stop when this many evaluations in a row were no better than the best; None trains to the end
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import paddle

from ..datasets.own import changed_since
from ..errors import UserError
from ..pictures.plots import check_curves
from ..system import locks
from ..training import checkpoints
from ..training.loggers import check_loggers
from .data import check_parts
from .task import Job


def begin(
    job: Job,
    resume: str | None,
    evaluate: bool,
    seed: int | None,
    overwrite: bool,
    loggers: Sequence[str] = (),
    patience: int | None = None,
) -> tuple[Path | None, dict[str, Any]]:
    """Checks all that could stop a run after hours, before anything is built.

    Args:
        job, resume, seed, overwrite, loggers, patience: as above.
        evaluate: whether the run evaluates, so that its evaluation data is checked too.

    Returns:
        (FOLDER/NAME of the checkpoint, what was saved with it), or (None, {}) to start anew.

    Raises:
        UserError: seed or patience out of range; a logger that is not known or not installed; curves cannot be drawn
            here; data that cannot be trained on; a checkpoint that is missing or half written; a folder that holds
            another run or cannot be written to.
    """
    check_curves()
    if seed is not None and not 0 <= seed < 2**32:
        raise UserError(f"seed is {seed}; it must be from 0 to {2**32 - 1}")
    if patience is not None and patience < 1:
        raise UserError(f"patience is {patience}; a whole number of evaluations, at least 1, is expected")
    if patience is not None and not evaluate:
        raise UserError(f"patience is {patience}, and nothing is evaluated; add --eval, or leave out --patience")
    check_loggers(loggers)
    start: tuple[Path | None, dict[str, Any]] = None, {}
    if resume is not None:
        start = checkpoints.starting_point(job.folder, resume, overwrite)
        job.learn_classes(start[1])
    if paddle.distributed.get_rank() == 0:
        check_parts(job, *("train", "val")[: 1 + evaluate])
        if note := changed_since(job.path.parent):
            print(f"note: {note}", file=sys.stderr)
    return start if resume is not None else checkpoints.starting_point(job.folder, None, overwrite)


def only_one(job: Job) -> AbstractContextManager[None]:
    """Within this context no other training of this machine has the job's folder; see `system.locks`."""
    return locks.only_one(job.folder, "trains into") if paddle.distributed.get_rank() == 0 else nullcontext()
