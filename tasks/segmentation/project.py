"""The configuration of a segmentation model for a user's own data: what is decided from data and machine, and why."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.own import DataSet
from ...errors import UserError
from ...integrations.adapter import BACKBONES
from ...training.loading import usual_workers
from .. import project
from ..project import Decisions, Machine, Wishes
from ..trials import choose
from .heads import HEADS

_BASES = project.CONFIGS / "segmentation" / "_base_"
_MOST_SIZE = {False: 256, True: 1024}
_BYTES_A_PIXEL = 2_500
_NORMALIZE = {"type": "Normalize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def decide(data: DataSet, wishes: Wishes, folder: Path, place: Machine) -> Decisions:
    """The configuration of a segmentation model; arguments and errors as `detection.project.decide`."""
    (head,) = choose([wishes.head or "FCHarDNet"], HEADS, "head for --head")
    own = head == "FCHarDNet"
    model = wishes.model or ("hardnet70" if own else "hardnet68")
    backbone = _backbone(model)
    found = Decisions([_BASES / "schedule_fchardnet_90k.yml"], "_base_")
    sizes = project.picture_sizes(data)
    width, height, why_size = _size(wishes, place, sizes)
    batch, why_batch = project.batch_for(wishes, place, _BYTES_A_PIXEL * width * height, 16 if place.gpu else 4, 2)
    pictures = len(data.parts["train"].pairs)
    if pictures < batch:
        batch, why_batch = pictures, f"there are {pictures} pictures"
    epochs, per_epoch, why_epochs = project.epochs_for("segmentation", wishes, place, pictures, batch)
    pretrained, why_pretrained = project.pretrained_for(wishes, model)
    rate, why_rate = project.rate_for(wishes, 0.05 if own and not pretrained else 0.01, batch, 4, True, "SGD")
    found.said.append(f"{head} on {backbone}")
    found.set("save_dir", str(folder.resolve() / "output"))
    found.set("class_names", list(data.classes))
    _labels(found, data)
    iters = epochs * per_epoch
    found.set("batch_size", batch, why_batch, say=f"batch size {batch}")
    found.set("iters", iters, f"{epochs} epochs: {why_epochs}", say=f"{iters} iterations")
    found.set("log_iters", max(1, min(20, iters // 20)))
    found.set("save_interval", max(1, math.ceil(iters / 5)), "a snapshot, and an evaluation with --eval")
    found.set("num_workers", usual_workers(), "processes that read pictures")
    found.said.append(f"input {width} x {height}: {why_size}")
    _data_sets(found, data, folder, (width, height), why_size, sizes)
    found.lines.append("lr_scheduler:")
    found.set("learning_rate", rate, why_rate, indent=2, say=f"learning rate {rate:g}")
    _model(found, head, backbone, pretrained, why_pretrained, len(data.classes), width * height)
    return found


def _backbone(model):
    plain = {name.casefold(): name for name in BACKBONES}
    key = model.casefold().replace("_", "").replace("-", "").removeprefix("fc")
    if key not in plain:
        raise UserError(f"--model {model} is no backbone; one of {', '.join(sorted(plain.values()))} is expected")
    return plain[key]


def _size(wishes, place, sizes):
    """(width, height, why) of the network's input, multiples of 32."""
    project.check_size(wishes.size)
    width, height = np.median(sizes, axis=0)
    most = wishes.size or _MOST_SIZE[place.gpu]
    scale = min(1.0, most / max(width, height)) if wishes.size is None else most / max(width, height)
    size = project.round_to(width * scale), project.round_to(height * scale)
    why = f"your pictures are {width:.0f} x {height:.0f} in the median; at most {most} long on a {place.name}"
    return *size, "as you said" if wishes.size else why


def _labels(found, data):
    first = data.parts["train"]
    if first.label_map is not None:
        found.lines.append(f"label_map:    # {first.facts}")
        for key, value in first.label_map.as_settings(data.classes).items():
            found.lines.append(f"  {project.flow(key)}: {project.flow(value)}")
    found.said.append(f"labels: {first.facts}")


def _data_sets(found, data, folder, size, why, sizes):
    alike = (sizes == sizes[0]).all() and tuple(sizes[0]) == size
    resize = [] if alike else [{"type": "Resize", "target_size": list(size)}]
    flips = project.has_sides(data.classes)
    for part in ("train", "val"):
        transforms: list[dict[str, Any]] = [*resize]
        if part == "train" and not flips:
            transforms.append({"type": "RandomHorizontalFlip"})
        found.block(f"{part}_dataset", why=f"{size[0]} x {size[1]}: {why}" if part == "train" else "")
        values = {
            "type": "Dataset", "dataset_root": str(data.source.root.resolve()),
            f"{part}_path": str(folder.resolve() / f"{part}.txt"), "separator": "\t",
            "num_classes": len(data.classes), "mode": part,
        }  # fmt: skip
        for key, value in values.items():
            found.set(key, value, indent=2)
        found.steps("transforms", [*transforms, _NORMALIZE])
    if flips:
        found.said.append(f"no horizontal flip: the classes {', '.join(flips[:3])} speak of left or right")


def _model(found, head, backbone, pretrained, why, classes, pixels):
    arguments, weights = HEADS[head]
    model: dict[str, Any] = {"type": head, "num_classes": classes}
    found.lines.append("model:")
    for key, value in model.items():
        found.set(key, value, indent=2)
    if head == "FCHarDNet":
        if backbone != "HarDNet70":
            found.set("backbone", {"type": backbone, "pretrained": pretrained or None}, why, indent=2)
        else:
            found.set("pretrained_encoder", pretrained or None, why, indent=2)
        loss = {"type": "BootstrappedCrossEntropyLoss", "min_K": max(16, pixels // 16), "loss_th": 0.3}
    else:
        found.set("backbone", {"type": backbone, "pretrained": pretrained or None}, why, indent=2)
        for key, value in arguments.items():
            found.set(key, value, indent=2)
        loss = {"type": "CrossEntropyLoss"}
    found.said.append("ImageNet weights" if pretrained else why)
    found.block("loss", {"types": [loss], "coef": weights})
