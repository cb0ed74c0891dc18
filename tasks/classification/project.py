"""The configuration of a classifier for a user's own pictures: what is decided from data and machine, and why."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ...datasets.own import DataSet
from ...errors import UserError
from ...registry import list_models
from ...training.loading import usual_workers
from .. import project
from ..project import Decisions, Machine, Wishes

_MOST_SIZE = {False: 96, True: 224}
_BYTES_A_PIXEL = 1_500


def decide(data: DataSet, wishes: Wishes, folder: Path, place: Machine) -> Decisions:
    """The configuration of a classifier; arguments and errors as `detection.project.decide`."""
    if wishes.head is not None:
        raise UserError(f"--head {wishes.head}: a classifier has no head to choose; leave it out")
    models = [name for name in list_models() if name not in ("hardnet70",)]
    model = (wishes.model or "hardnet39ds").casefold()
    if model not in models:
        raise UserError(f"--model {wishes.model} is no classifier; one of {', '.join(models)} is expected")
    found = Decisions([], "_base_")
    project.check_size(wishes.size)
    shorter = float(np.median(project.picture_sizes(data).min(1)))
    size = wishes.size or project.round_to(min(shorter * 0.9, _MOST_SIZE[place.gpu]))
    why_size = (
        "as you said" if wishes.size else f"your pictures have {shorter:.0f} pixels on the shorter side, in the median"
    )
    pictures = len(data.parts["train"].pictures)
    batch, why_batch = project.batch_for(wishes, place, _BYTES_A_PIXEL * size * size, 256 if place.gpu else 16, 2)
    if pictures < batch:
        batch, why_batch = pictures, f"there are {pictures} pictures"
    epochs, per_epoch, why_epochs = project.epochs_for("classification", wishes, place, pictures, batch)
    pretrained, why_pretrained = project.pretrained_for(wishes, model)
    rate, why_rate = project.rate_for(wishes, 0.01 if pretrained else 0.05, batch, 20, True, "SGD")
    flips = project.has_sides(data.classes)
    found.said.append(model)
    found.set("task", "classification")
    found.set("save_dir", str(folder.resolve() / "output"))
    found.set("class_names", data.parts["train"].titles)
    found.lines.append("model:")
    found.set("name", model, indent=2)
    found.set("num_classes", len(data.classes), indent=2)
    found.set("pretrained", pretrained or None, why_pretrained, indent=2)
    found.said.append("ImageNet weights" if pretrained else why_pretrained)
    found.set("preprocessing", {"resize": round(size * 1.125), "crop": size, "interpolation": "bilinear"},
              f"{size} x {size}: {why_size}", say="preprocessing")  # fmt: skip
    _data_sets(found, data, folder, size, flips)
    found.set("batch_size", batch, why_batch, say=f"batch size {batch}")
    found.set("epochs", epochs, why_epochs, say=f"{epochs} epochs")
    found.set("log_iters", max(1, min(20, per_epoch // 4)))
    found.set("save_interval", max(1, math.ceil(epochs / 5)), "epochs between snapshots, and evaluations with --eval")
    found.set("keep_checkpoints", 2)
    found.set("num_workers", usual_workers(), "processes that read pictures")
    found.set("optimizer", {"type": "Momentum", "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4})
    warm = max(1, round(epochs / 20)) if epochs > 2 else 0
    schedule = {"type": "Cosine", "learning_rate": rate, "warmup_epochs": warm, "warmup_start_lr": rate / 10}
    found.set("lr_scheduler", schedule, why_rate, say=f"learning rate {rate:g}")
    if flips:
        found.said.append(f"no horizontal flip: the classes {', '.join(flips[:3])} speak of left or right")
    return found


def _data_sets(found, data, folder, size, flips):
    root = str(data.source.root.resolve())
    for part in ("train", "val"):
        found.block(
            f"{part}_dataset", {"type": "ListFile", "root": root, "list": str(folder.resolve() / f"{part}.txt")}
        )
        if part == "train":
            steps = [{"type": "RandomResizedCrop", "size": size, "scale": [0.5, 1.0]}]
            found.steps("transforms", steps if flips else [*steps, {"type": "RandomFlip"}])
