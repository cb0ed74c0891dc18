"""What every training run takes, and what comes before it: the data, the folder, the checkpoint to go on from.

`train` of each task takes:

    job        from the task's `config.load`
    resume     "auto" goes on from the last whole checkpoint of the job's folder, or starts when there is none; a path
               names the checkpoint; None starts anew
    evaluate   evaluate after every snapshot, and keep the best as best_model
    amp        mixed precision, on a GPU
    vdl        log to VisualDL, into save_dir/NAME/vdl
    seed       of the whole run, 0 to 2^32 - 1; None takes the checkpoint's when resuming, else a random one
    overwrite  delete an earlier run's checkpoints in the folder instead of refusing to start
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paddle
from filelock import FileLock, Timeout

from ..errors import UserError
from ..pictures.plots import check_curves
from ..training import checkpoints
from ..weights.download import home
from .data import check_parts
from .task import Job


def begin(
    job: Job, resume: str | None, evaluate: bool, seed: int | None, overwrite: bool
) -> tuple[Path | None, dict[str, Any]]:
    """Checks all that could stop a run after hours, before anything is built.

    Args:
        job, resume, seed, overwrite: as above.
        evaluate: whether the run evaluates, so that its evaluation data is checked too.

    Returns:
        (FOLDER/NAME of the checkpoint, what was saved with it), or (None, {}) to start anew.

    Raises:
        UserError: seed out of range; curves cannot be drawn here; data that cannot be trained on; a checkpoint that is
            missing or half written; a folder that holds another run or cannot be written to.
    """
    check_curves()
    if seed is not None and not 0 <= seed < 2**32:
        raise UserError(f"seed is {seed}; it must be from 0 to {2**32 - 1}")
    start: tuple[Path | None, dict[str, Any]] = None, {}
    if resume is not None:
        start = checkpoints.starting_point(job.folder, resume, overwrite)
        job.learn_classes(start[1])
    if paddle.distributed.get_rank() == 0:
        check_parts(job, *("train", "val")[: 1 + evaluate])
    return start if resume is not None else checkpoints.starting_point(job.folder, None, overwrite)


@contextmanager
def only_one(job: Job) -> Iterator[None]:
    """Within this context no other process of this machine trains into the job's folder; UserError where one does.

    The lock is in the home of densebone, so that nothing foreign is in the folder. The system frees it when a process
    dies. Where that home cannot be written to, there is no lock.
    """
    key = hashlib.sha256(os.fsencode(job.folder.resolve())).hexdigest()[:32]
    place = home() / "locks" / f"training-{key}.lock"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        usable = paddle.distributed.get_rank() == 0 and os.access(place.parent, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        yield
        return
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"another process trains into {job.folder}; wait for its end, or give another -o save_dir=DIR"
        ) from error
    try:
        yield
    finally:
        lock.release()
