"""What every job says about its data before it starts."""

from __future__ import annotations

import sys

from ..datasets.report import Report
from .task import TASKS, Job


def check_parts(job: Job, *parts: str) -> None:
    """Checks the job's data and prints what the user should know as notes on stderr.

    Args:
        job: of any task.
        *parts: "train", "val" or both.

    Raises:
        UserError: data that cannot be used, or of which something is left out where the job is strict.
    """
    check = TASKS[job.task].part("data").check_data
    for part in parts:
        say(job, check(job, part))


def say(job: Job, report: Report) -> None:
    """Prints a report as notes on stderr; UserError where the job is strict and something is left out."""
    if job.strict:
        report.refuse_drops()
    for line in report.lines():
        print(f"note: {line}", file=sys.stderr)
