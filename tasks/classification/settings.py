"""The options of a run as changes of a classification job, and the job's settings in words."""

from __future__ import annotations

from typing import Any

from ...errors import UserError
from ..settings import Settings
from .job import Job


def change(job: Job, settings: Settings) -> None:
    """Puts the given settings into a job.

    With other epochs, milestones move in proportion, and a warm-up is at most a tenth of the training. With another
    size, the side to which pictures are resized before the crop changes in proportion.

    Args:
        job: from `classification.config.load`.
        settings: what was given.

    Raises:
        UserError: a size that is no square.
    """
    if settings.imgsz is not None:
        _resize(job, settings.imgsz)
    if settings.batch is not None:
        job.batch_size = settings.batch
    if settings.lr is not None:
        job.lr_scheduler.learning_rate = settings.lr
    if settings.epochs is not None:
        schedule, factor = job.lr_scheduler, settings.epochs / job.epochs
        job.epochs = settings.epochs
        schedule.warmup_epochs = min(schedule.warmup_epochs, job.epochs / 10)
        if hasattr(schedule, "milestones"):
            schedule.milestones = tuple(epoch * factor for epoch in schedule.milestones)


def _resize(job, imgsz):
    side = imgsz[0]
    if imgsz[-1] != side:
        raise UserError(f"--imgsz is {imgsz[0]} {imgsz[1]}; a classifier takes squares, so give one number")
    before = job.preprocessing
    for step in job.transforms:
        if hasattr(step, "size"):
            step.size = side
    if before.crop is None:
        job.given_preprocessing["resize"] = [side, side]
        return
    job.given_preprocessing["crop"] = side
    if isinstance(before.resize, int):
        job.given_preprocessing["resize"] = round(before.resize * side / before.crop)
    elif before.resize is not None:
        job.given_preprocessing["resize"] = [round(length * side / before.crop) for length in before.resize]


def describe(job: Job, evaluates: bool) -> dict[str, str]:
    """What the table at the start of a run says of a job; see `training.overview`.

    Args:
        job: whose data is checked.
        evaluates: whether the run evaluates.
    """
    schedule: Any = job.lr_scheduler
    words = f"{schedule.learning_rate:g}, {type(schedule).__name__}"
    words += f", {schedule.warmup_epochs:g} epochs of warm-up" if schedule.warmup_epochs else ""
    size = job.preprocessing.input_size
    rows = {
        "classes": str(job.num_classes),
        "input": "of any size" if size is None else f"{size[0]} x {size[1]}",
        "schedule": words,
        "weights": str(job.model.pretrained) if job.model.pretrained else "",
    }
    if evaluates and "val" in job.checked:
        rows["validation"] = str(len(job.checked["val"][0].labels))
    return rows
