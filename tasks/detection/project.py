"""The configuration of a detector for a user's own data: what is decided from the data and the machine, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...datasets.own import DataSet
from ...datasets.statistics import anchors, overlaps, relative_sizes
from ...errors import UserError
from ...integrations.adapter import BACKBONES
from ...training.loading import usual_workers
from .. import project
from ..project import Decisions, Machine, Wishes
from ..trials import choose
from . import readers
from .heads import HEADS, Head

_BASES = project.CONFIGS / "detection" / "_base_"
# Pixels that the longer side of a small object should have at the network's input: three cells of the finest map.
_SMALL_OBJECT, _SMALL = 24, 0.1
_LEAST_SIZE, _MOST_SIZE = 192, {False: 320, True: 1024}
# A run of fewer iterations from random weights gets flips alone, as the demo's configuration has it.
_SHORT = 5_000
_HARD = ("RandomExpand", "RandomCrop", "RandomDistort", "Mixup")


@dataclass(frozen=True)
class _Recipe:
    """AdamW's learning rate for `batch` pictures a step, and bytes of a picture in training, per pixel of the input."""

    rate: float
    batch: int = 4
    bytes_a_pixel: int = 3_000


_RECIPES = {
    "PP-YOLOE": _Recipe(0.002),
    "PicoDet": _Recipe(0.002, bytes_a_pixel=2_500),
    "SSD": _Recipe(0.001),
    "YOLOv3": _Recipe(0.001, bytes_a_pixel=4_000),
}
_OTHERS = _Recipe(0.0002, bytes_a_pixel=5_000)
#: heads that read whole settings of their own, so that a leaf of twenty lines does not make them fit
_UNFIT = ("CenterNet", "Mask-RCNN", "RT-DETR")


def decide(data: DataSet, wishes: Wishes, folder: Path, place: Machine) -> Decisions:
    """The configuration of a detector.

    Args:
        data: boxes.
        wishes: what the user decides.
        folder: of the project.
        place: where it will be trained.

    Raises:
        UserError: a head or a model that there is not; a size, batch or rate that cannot be.
    """
    allowed = [name for name in HEADS if name not in _UNFIT]
    (head,) = choose([wishes.head or "PP-YOLOE"], allowed, "head for --head")
    model = wishes.model or ("hardnet39ds" if not place.gpu else "hardnet68")
    backbone = _backbone(model)
    settings, recipe = HEADS[head], _RECIPES.get(head, _OTHERS)
    bases = [
        _BASES / f"{name}.yml" for name in ("runtime", "coco", *settings.bases) if not name.startswith("schedule_")
    ]
    found = Decisions(bases, "_BASE_")
    size, why_size = _size(data, wishes, place, settings)
    batch, why_batch = project.batch_for(wishes, place, recipe.bytes_a_pixel * size * size, 32 if place.gpu else 4, 2)
    pictures = _with_boxes(data)
    if pictures < batch:
        batch, why_batch = max(1, pictures), f"there are {pictures} pictures with boxes"
    epochs, per_epoch, why_epochs = project.epochs_for("detection", wishes, place, pictures, batch)
    pretrained, why_pretrained = project.pretrained_for(wishes, model)
    rate, why_rate = project.rate_for(
        wishes, recipe.rate / (2 if pretrained else 1), batch, recipe.batch, False, "AdamW"
    )
    _general(found, data, folder, head, batch, epochs, per_epoch, why_epochs)
    _network(found, settings, head, backbone, pretrained, why_pretrained, place, epochs, per_epoch)
    own_anchors = _fit_boxes(found, data, head, size)
    iterations = epochs * per_epoch
    flips = project.has_sides(data.classes)
    _readers(
        found,
        bases,
        head,
        size,
        why_size,
        (batch, why_batch),
        _Pictures(flips, iterations < _SHORT and not pretrained, own_anchors),
    )
    _schedule(found, epochs, iterations, rate, why_rate)
    if flips:
        found.said.append(f"no horizontal flip: the classes {', '.join(flips[:3])} speak of left or right")
    return found


def _backbone(model):
    plain = {name.casefold(): name for name in BACKBONES}
    key = model.casefold().replace("_", "").replace("-", "")
    if key not in plain:
        raise UserError(
            f"--model {model} is no backbone for a detector; one of {', '.join(sorted(plain.values()))} is expected"
        )
    return plain[key]


def _with_boxes(data):
    return len(np.unique(data.parts["train"].picture))


def _size(data, wishes, place, settings: Head):
    """(side of the square input in pixels, why)."""
    project.check_size(wishes.size)
    least = max(_LEAST_SIZE, settings.side)
    if wishes.size is not None:
        if wishes.size < settings.side:
            raise UserError(
                f"--imgsz is {wishes.size}; this head needs {project.round_to(settings.side)} pixels or more"
            )
        return wishes.size, "as you said"
    small = float(np.quantile(relative_sizes(data.parts["train"]).max(1), _SMALL))
    longer = float(np.median(project.picture_sizes(data).max(1)))
    wanted = _SMALL_OBJECT / max(small, 1e-6)
    size = project.round_to(min(max(wanted, least), _MOST_SIZE[place.gpu], max(1.25 * longer, least)))
    return size, (
        f"one object in ten is at most {100 * small:.0f} % of its picture long, {size * small:.0f} pixels here; "
        f"pictures are {longer:.0f} long"
    )


def _general(found, data, folder, head, batch, epochs, per_epoch, why_epochs):
    root = str(data.source.root.resolve())
    place = folder.resolve()
    found.set(
        "num_classes", len(data.classes), ", ".join(data.classes[:6]) + (", ..." if len(data.classes) > 6 else "")
    )
    found.set("save_dir", str(place / "output"))
    found.set("weights", str(place / "output" / "config" / "model_final"))
    for name, part in (("TrainDataset", "train"), ("EvalDataset", "val")):
        found.block(name, {"dataset_dir": root, "image_dir": "", "anno_path": str(place / f"{part}.json")})
    found.block("TestDataset", {"dataset_dir": root, "anno_path": str(place / "train.json")}, "class names")
    found.set("epoch", epochs, why_epochs, say=f"{epochs} epochs")
    found.set("log_iter", max(1, min(20, per_epoch // 4)))
    found.set("snapshot_epoch", max(1, math.ceil(epochs / 5)), "a snapshot, and an evaluation with --eval")
    found.set("worker_num", usual_workers(), "processes that read pictures")


def _network(found, settings, head, backbone, pretrained, why, place, epochs, per_epoch):
    found.set("norm_type", "bn", "sync_bn for several GPUs")
    found.block(settings.block, {"backbone": backbone})
    found.said.insert(0, f"{head} on {backbone}")
    found.lines.append(f"{backbone}:")
    found.set("return_idx", list(settings.maps), indent=2)
    found.set("pretrained", pretrained or None, why, indent=2)
    found.said.append("ImageNet weights" if pretrained else why)
    iterations = epochs * per_epoch
    if head == "PP-YOLOE":
        if not place.gpu:
            found.set("width_mult", 0.25, "of the neck and head; 0.5 is the published size s")
        found.block("PPYOLOEHead", {"static_assigner_epoch": max(1, round(0.3 * epochs))})
    if head == "PicoDet":
        found.block("PicoHeadV2", {"static_assigner_epoch": max(1, round(0.3 * epochs))})
    if head in ("PP-YOLOE", "PicoDet"):
        found.set("use_ema", True)
        found.set(
            "ema_decay",
            float(f"{min(0.9998, max(0.9, 1 - 20 / iterations)):.4f}"),
            "reaches back over a twentieth of the run",
        )


def _fit_boxes(found, data, head, size):
    """Anchors and box sizes from the training boxes, where the head has some; returns YOLO's anchors."""
    if head == "YOLOv3":
        sizes = relative_sizes(data.parts["train"]) * size
        chosen = np.maximum(1, np.round(anchors(sizes, 9))).astype(int)
        fit = overlaps(sizes, chosen.astype(float)).max(1).mean()
        found.block(
            "YOLOv3Head", {"anchors": chosen.tolist()}, f"k-means of your boxes; mean IoU with the nearest {fit:.2f}"
        )
        found.said.append(f"anchors by k-means, mean IoU with the nearest {fit:.2f}")
        return chosen.tolist()
    if head == "SSD":
        longer = np.sqrt((relative_sizes(data.parts["train"]) * size).prod(1))
        edges = np.quantile(longer, [0.02, 0.98])
        low, high = max(8.0, 0.8 * edges[0]), min(size, max(1.25 * edges[1], 2 * edges[0]))
        steps = np.geomspace(low, high, 7).round(1).tolist()
        values = {"min_sizes": steps[:6], "max_sizes": steps[1:]}
        found.lines.append("SSDHead:")
        found.set("anchor_generator", {**_base_value("ssd300", "SSDHead", "anchor_generator"), **values,
                                       "steps": _ssd_steps(size)}, "sizes from your boxes", indent=2)  # fmt: skip
        found.said.append(f"box sizes {steps[0]:g} to {steps[-1]:g} pixels, from yours")
    return None


def _ssd_steps(size):
    """Pixels between the cells of SSD-300's six maps at another input size: strides 8, 16, 32, and three maps above."""
    third = math.ceil(size / 32)
    fourth = math.ceil(third / 2)
    fifth = math.ceil(fourth / 2)
    return [8, 16, 32, round(size / fourth, 3), round(size / fifth, 3), round(size / max(1, fifth - 2), 3)]


def _base_value(file, *keys):
    value = _read(_BASES / f"{file}.yml")
    for key in keys:
        value = value[key]
    return value


def _read(file):
    text = file.read_text(encoding="utf-8").replace("!!python/module:", "module:")
    content = yaml.safe_load(text)
    for base in content.pop("_BASE_", ()):
        content = _merged(_read(file.parent / base), content)
    return content


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result


@dataclass(frozen=True)
class _Pictures:
    """What the transforms depend on: classes that a flip makes wrong, whether hard ones are left out, anchors."""

    sides: list[str]
    light: bool
    anchors: list[list[int]] | None


def _readers(found, bases, head, size, why_size, batch, pictures):
    settings: dict[str, Any] = {}
    for base in bases:
        settings = _merged(settings, _read(base))
    readers.resize(settings, (size,), several=not pictures.light)
    found.said.append(f"input {size} x {size}: {why_size}")
    found.said.append(f"batch size {batch[0]}: {batch[1]}")
    for name in ("TrainReader", "EvalReader", "TestReader"):
        reader, training = settings[name], name == "TrainReader"
        found.block(name, why=f"{size} x {size}: {why_size}" if training else "")
        if "image_shape" in (reader.get("inputs_def") or {}):
            found.set("inputs_def", reader["inputs_def"], indent=2)
        for key in ("sample_transforms", "batch_transforms"):
            steps = [_fitted(step, pictures) for step in reader.get(key) or ()]
            steps = [step for step in steps if step and not (training and _left_out(step, pictures))]
            if steps:
                found.steps(key, steps)
        if training:
            found.set("batch_size", batch[0], batch[1], indent=2)
            if "mixup_epoch" in reader:
                found.set("mixup_epoch", -1 if pictures.light else round(0.9 * _epochs(found)), indent=2)
            if pictures.light:
                found.lines.append("  # left out, as the run is short and from random weights: " + ", ".join(_HARD))
            if pictures.sides:
                found.lines.append(f"  # no RandomFlip: {', '.join(pictures.sides[:3])} speak of left or right")
        else:
            found.set(
                "batch_size", 8 if name == "EvalReader" and not _keeps_ratio(reader) and head != "SSD" else 1, indent=2
            )


def _epochs(found):
    return next(int(line.split()[1]) for line in found.lines if line.startswith("epoch: "))


def _keeps_ratio(reader):
    return any((step.get("Resize") or {}).get("keep_ratio") for step in reader.get("sample_transforms") or ())


def _left_out(step, pictures):
    (name,) = step
    return (name == "RandomFlip" and pictures.sides) or (pictures.light and name in _HARD)


def _fitted(step, pictures):
    """A transform with the anchors of this data, and room for its boxes."""
    ((name, arguments),) = step.items()
    arguments = dict(arguments or {})
    if name == "Gt2YoloTarget" and pictures.anchors:
        arguments["anchors"] = pictures.anchors
    elif "num_max_boxes" in arguments:
        arguments["num_max_boxes"] = max(arguments["num_max_boxes"], 50)
    return {name: arguments}


def _schedule(found, epochs, iterations, rate, why):
    warm = max(1, min(1000, iterations // 30))
    found.lines.append("LearningRate:")
    found.set("base_lr", rate, why, indent=2, say=f"learning rate {rate:g}")
    found.steps("schedulers", [
        {"name": "CosineDecay", "max_epochs": epochs},
        {"name": "LinearWarmup", "start_factor": 0.0, "steps": warm},
    ])  # fmt: skip
    found.block("OptimizerBuilder", {"optimizer": {"type": "AdamW", "weight_decay": 0.0005}, "regularizer": False})
