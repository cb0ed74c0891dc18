"""What every job says about its data before it starts."""

from __future__ import annotations

import sys

from .task import TASKS, Job


def check_parts(job: Job, *parts: str) -> None:
    """Checks the job's data and prints what the user should know as notes on stderr.

    Args:
        job: of any task.
        *parts: "train", "val" or both.

    Raises:
        UserError: data that cannot be used.
    """
    check = TASKS[job.task].part("data").check_data
    for part in parts:
        for note in check(job, part):
            print(f"note: {note}", file=sys.stderr)
