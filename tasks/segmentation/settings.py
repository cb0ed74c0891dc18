"""The options of a run as changes of a segmentation job, and the job's settings in words."""

from __future__ import annotations

from ..settings import Settings, both_sides
from .checks import check_loss_pixels
from .job import Job
from .sizing import SIZES, picture_size

# PaddleSeg's and Paddle's names of lengths in iterations, in `lr_scheduler`
_LENGTHS, _PLACES = ("decay_steps", "T_max", "step_size"), ("boundaries", "milestones")


def change(job: Job, settings: Settings) -> None:
    """Puts the given settings into a job of which nothing is built yet. Epochs wait for `lengthen`.

    Args:
        job: from `segmentation.config.load`.
        settings: what was given.

    Raises:
        UserError: a loss that wants more pixels than there are.
    """
    if settings.imgsz is not None:
        height, width = both_sides(settings.imgsz)
        for name in ("train_dataset", "val_dataset"):
            for step in job.dic.get(name, {}).get("transforms") or ():
                for key in set(step) & set(SIZES):
                    step[key] = [width, height]  # PaddleSeg has the width first
        check_loss_pixels(job.dic, job.path)
    if settings.batch is not None:
        job.dic["batch_size"] = settings.batch
    if settings.lr is not None:
        job.dic["lr_scheduler"]["learning_rate"] = settings.lr
    job.epochs = settings.epochs


def lengthen(job: Job, iters: int) -> None:
    """Sets the iterations of a job whose schedule is not built yet, and scales the schedule with them.

    A warm-up keeps its length, but is at most a tenth of the training.

    Args:
        job: from `segmentation.config.load`.
        iters: of the whole training.
    """
    factor, schedule = iters / job.dic["iters"], job.dic["lr_scheduler"]
    job.dic["iters"] = iters
    for key in set(_LENGTHS) & set(schedule):
        schedule[key] = max(1, round(schedule[key] * factor))
    for key in set(_PLACES) & set(schedule):
        schedule[key] = [max(1, round(place * factor)) for place in schedule[key]]
    if "warmup_iters" in schedule:
        schedule["warmup_iters"] = min(schedule["warmup_iters"], max(1, iters // 10))


def describe(job: Job, evaluates: bool) -> dict[str, str]:
    """What the table at the start of a run says of a job; see `training.overview`.

    Args:
        job: whose data is checked.
        evaluates: whether the run evaluates.
    """
    schedule, model = job.dic["lr_scheduler"], job.dic["model"]
    words = f"{schedule['learning_rate']:g}, {schedule['type']}"
    words += f", {schedule['warmup_iters']} iterations of warm-up" if schedule.get("warmup_iters") else ""
    size = picture_size(job, ("train_dataset",))
    sources = (model.get("pretrained"), (model.get("backbone") or {}).get("pretrained"))
    rows = {
        "classes": str(job.num_classes),
        "input": "of any size" if size is None else f"{size[0]} x {size[1]}",
        "schedule": words,
        "weights": ", ".join(str(source) for source in sources if source),
    }
    if evaluates and "val" in job.checked and job.checked["val"].pairs is not None:
        rows["validation"] = str(len(job.checked["val"].pairs))
    return rows
