"""The options of a run as changes of a detection job, and the job's settings in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ...errors import UserError
from ..settings import Settings
from . import readers
from .job import Job

# until which epoch TrainReader mixes pictures
_MIXING = ("mixup_epoch", "cutmix_epoch", "mosaic_epoch")
_SSD_LEAST = 288  # below it, a map of SSD has fewer cells than the next one needs


def change(job: Job, settings: Settings) -> None:
    """Puts the given settings into a job of which nothing is built yet.

    Args:
        job: from `detection.config.load`.
        settings: what was given.

    Raises:
        UserError: a size that is too small for SSD.
    """
    cfg = job.cfg
    if settings.imgsz is not None:
        _resize(cfg, settings.imgsz)
    if settings.batch is not None:
        cfg["TrainReader"]["batch_size"] = settings.batch
    if settings.lr is not None:
        cfg["LearningRate"]["base_lr"] = settings.lr
    if settings.epochs is not None:
        _scale_schedule(cfg, settings.epochs)
        job.short_warmup = True


def limit_warmup(schedule: Any, most: int, per_epoch: int) -> None:
    """Shortens the warm-up of PaddleDetection's `LearningRate` to `most` iterations, at least one."""
    for part in schedule.schedulers:
        if not hasattr(part, "steps"):
            continue
        steps = part.steps if part.epochs is None else part.epochs * per_epoch
        if steps > most:
            part.steps, part.epochs = max(1, most), None


def _scale_schedule(cfg, epochs):
    factor = epochs / cfg["epoch"]
    cfg["epoch"] = epochs
    for part in cfg["LearningRate"]["schedulers"]:  # blocks with a name, or objects that a tag of YAML makes
        values = part if isinstance(part, dict) else vars(part)
        if "max_epochs" in values or values.get("name") == "CosineDecay":
            values["max_epochs"] = max(1, round(values.get("max_epochs", 1000) * factor))
        if "milestones" in values or values.get("name") == "PiecewiseDecay":
            values["milestones"] = [round(epoch * factor, 4) for epoch in values.get("milestones", (8, 11))]
        if values.get("last_plateau_epochs"):
            values["last_plateau_epochs"] = round(values["last_plateau_epochs"] * factor)
    reader = cfg.get("TrainReader") or {}
    for key in _MIXING:
        if isinstance(reader.get(key), (int, float)) and reader[key] > 0:
            reader[key] = round(reader[key] * factor)
    for block in cfg.values():
        _scale_assigner(block, factor)


def _scale_assigner(block, factor):
    """Scales the epochs in which a head assigns boxes by ATSS, its default too."""
    if not isinstance(block, dict):
        return
    key = "static_assigner_epoch"
    if key in block or key in getattr(block, "schema", ()):
        with suppress(KeyError, TypeError):  # a component without a default
            block[key] = round(block[key] * factor)
    for inner in list(block.values()):
        _scale_assigner(inner, factor)


def _resize(cfg, imgsz):
    old, new = readers.fixed_size(cfg), readers.new_size(cfg, imgsz)
    if cfg["architecture"] == "SSD":
        if min(new) < _SSD_LEAST:
            raise UserError(f"--imgsz is {' '.join(map(str, imgsz))}; SSD needs at least {_SSD_LEAST} pixels")
        _scale_anchors(cfg["SSDHead"], math.sqrt(new[0] * new[1] / (old[0] * old[1])) if old else 1)
    readers.resize(cfg, imgsz)


def _scale_anchors(head, factor):
    """Scales SSD's boxes, which are in pixels, and lets Paddle take the steps from the maps."""
    given = head["anchor_generator"]
    anchors = given if isinstance(given, dict) else vars(given)
    for key in ("min_sizes", "max_sizes"):
        if key in anchors:
            anchors[key] = [size * factor for size in anchors[key]]
    if "base_size" in anchors:
        anchors["base_size"] *= factor
    anchors["steps"] = [0.0] * len(anchors["aspect_ratios"])


def describe(job: Job, evaluates: bool) -> dict[str, str]:
    """What the table at the start of a run says of a job; see `training.overview`.

    Args:
        job: whose data is checked.
        evaluates: whether the run evaluates.
    """
    cfg = job.cfg
    size = readers.fixed_size(cfg)
    rows = {
        "classes": str(job.num_classes),
        "input": "of any size" if size is None else f"{size[0]} x {size[1]}{_choice(cfg)}",
        "schedule": ", ".join([f"{cfg['LearningRate']['base_lr']:g}", *_names(cfg["LearningRate"]["schedulers"])]),
        "weights": ", ".join(_weights(cfg)),
    }
    if evaluates and (checked := job.checked.get("val")) and checked[0] is not None:
        rows["validation"] = str(len(checked[0].pictures))
    return rows


def _choice(cfg):
    """Between which sizes training chooses, in words."""
    several = [
        size
        for _, arguments in readers.transforms(cfg, ("TrainReader",))
        for size in arguments.get("target_size") or ()
        if len(arguments["target_size"]) > 2
    ]
    sides = [min(size) if isinstance(size, (list, tuple)) else size for size in several]
    return f", trained at {min(sides)} to {max(sides)}" if sides else ""


def _names(parts):
    return [part["name"] if isinstance(part, dict) else type(part).__name__ for part in parts]


def _weights(cfg):
    from ...integrations.paddledet import __all__ as names

    own = {cfg[name].get("pretrained") for name in names if isinstance(cfg.get(name), Mapping) and _is_used(cfg, name)}
    return [str(source) for source in (cfg.get("pretrain_weights"), *own) if source]


def _is_used(block, name):
    """Whether some block of a configuration names this component as a part."""
    return any(value == name or (isinstance(value, Mapping) and _is_used(value, name)) for value in block.values())
