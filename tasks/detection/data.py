"""The data sets of a detection job: one reading and checking step before training, evaluation and browsing.

`using` puts what this step found in the place of the data sets, so that PaddleDetection never reads the user's
annotation files itself.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets import coco, voc
from ...datasets.annotations import Annotations, check_boxes, locate, match_classes
from ...datasets.report import Report
from ...errors import UserError
from ..weights import starting_order
from .classes import class_names as class_names  # the interface of tasks wants it here
from .classes import training_classes
from .job import Job
from .records import CheckedDataSet, write_names

_BLOCKS = {"train": "TrainDataset", "val": "EvalDataset"}


def check_data(job: Job, part: str) -> Report:
    """Reads and checks a data set before training or evaluation, once.

    The folders and the annotation file must exist, and some picture. What is missing in the annotations is completed,
    what cannot be used is left out, and the report says so; docs/data.md has the rules. Classes are matched by name to
    those that the detector was trained on. Data sets that are neither in COCO's nor in VOC's format are not checked.

    Args:
        job: from `detection.config.load`.
        part: "train" for TrainDataset, "val" for EvalDataset.

    Raises:
        UserError: data that cannot be used, in one line.
    """
    return _checked(job, part)[1]


def _checked(job, part):
    """(annotations, or None for a format that is not checked; report)."""
    if part not in job.checked:
        settings = job.cfg.get(_BLOCKS[part]) or {}
        report = Report(_BLOCKS[part])
        annotations = read_dataset(settings, report, job, part) if _is_known(settings) else None
        job.checked[part] = annotations, report
        if part == "train" and annotations is not None and job.trained_classes is None:
            job.trained_classes = list(annotations.classes)
    return job.checked[part]


def _is_known(settings):
    return isinstance(settings, Mapping) and settings.get("name") in ("COCODataSet", "VOCDataSet")


def read_dataset(settings: Mapping[str, Any], report: Report, job: Job, part: str) -> Annotations:
    """Reads and checks a data set in COCO's or VOC's format.

    Args:
        settings: the TrainDataset or EvalDataset block: dataset_dir, image_dir, anno_path, label_list.
        report: receives what was found.
        job: says which classes the detector has.
        part: "train" or "val".

    Raises:
        UserError: one line with the name of the file that is wrong.
    """
    name = report.subject
    root = Path(settings.get("dataset_dir") or ".")
    if not root.is_dir():
        raise UserError(
            f"{name}: data set folder {root} does not exist; put the data there, or say where it is with "
            f"--data DIR or -o {name}.dataset_dir=DIR"
        )
    images, file = root / (settings.get("image_dir") or ""), root / (settings.get("anno_path") or "")
    if not images.is_dir():
        raise UserError(f"{name}: picture folder {images} does not exist; set {name}.image_dir")
    if settings["name"] == "VOCDataSet":
        if not settings.get("label_list"):
            raise UserError(
                f"{name}: VOCDataSet needs class names: set {name}.label_list to a file with one in each line"
            )
        names = root / settings["label_list"]
        found = voc.read(file, images, names, report)
        if len(found.classes) > job.num_classes and not job.trained_classes:
            raise UserError(
                f"{names} has {len(found.classes)} classes but num_classes is {job.num_classes}; "
                f"-o num_classes={len(found.classes)}"
            )
    else:
        found = coco.read(file, report, masks=_uses_masks(job.cfg))
    _match(found, job, part, report)
    locate(found, [images, root], report)
    check_boxes(found, report)
    _check_truth(found, job, part, report)
    return found


def _uses_masks(cfg):
    """Whether the detector learns masks, told by what its training data must have."""
    return "gt_poly" in ((cfg.get("TrainDataset") or {}).get("data_fields") or ())


def _match(found, job, part, report):
    """Numbers the classes as the detector does."""
    classes = job.trained_classes or (training_classes(job) if part == "val" else None)
    if classes is None:
        classes = starting_order(job.cfg.get("pretrain_weights"), found.classes) if part == "train" else found.classes
        if len(classes) > job.num_classes:
            classes = [name for name, count in zip(classes, found.per_class()) if count]
            report.note("classes without a box, which are passed over", [c for c in found.classes if c not in classes])
        if len(classes) > job.num_classes:
            raise UserError(
                f"{found.source} has {len(classes)} categories but num_classes is {job.num_classes}; "
                f"-o num_classes={len(classes)}"
            )
    match_classes(found, classes, report)


def _check_truth(found, job, part, report):
    """Raises UserError where there is nothing to learn from or to measure against; notes classes without truth."""
    if not found.has_truth and part == "val" and job.cfg.get("save_prediction_only"):
        return
    counts = found.per_class()
    if not counts.sum():
        need = "nothing to learn from" if part == "train" else "nothing to measure"
        seen = "; ".join(["", *report.lines()]) if report.lines() else ""
        raise UserError(f"{report.subject}: no truth in {found.source}, which has no box that counts: {need}{seen}")
    without = [name for name, count in zip(found.classes, counts) if not count]
    effect = "never learned" if part == "train" else "left out of the mean"
    report.note(f"classes without a box, {effect}", without)


@contextmanager
def using(job: Job, *parts: str) -> Iterator[None]:
    """Within this context PaddleDetection's `create` gives the checked data sets of these parts, and our class names.

    Args:
        job: from `detection.config.load`.
        *parts: "train", "val", or none, for the class names alone.
    """
    cfg, before = job.cfg, {}
    with tempfile.TemporaryDirectory(prefix="densebone-") as folder:
        for part in parts:
            annotations, _ = _checked(job, part)
            if annotations is not None:
                place = Path(folder, part)
                before[_BLOCKS[part]] = cfg[_BLOCKS[part]]
                cfg[_BLOCKS[part]] = CheckedDataSet(annotations, before[_BLOCKS[part]], place)
        batch_size = _evaluate_alone(cfg) if "val" in parts else None
        test = cfg.get("TestDataset")
        names = test.get("anno_path") if isinstance(test, dict) else None
        try:
            if names is not None:
                test["anno_path"] = str(write_names(class_names(job), Path(folder).resolve()))
            yield
        finally:
            cfg.update(before)
            if batch_size:
                cfg["EvalReader"]["batch_size"] = batch_size
            if names is not None:
                test["anno_path"] = names


def _evaluate_alone(cfg):
    """Evaluates pictures one by one where a batch would be padded to its largest picture, which changes what is found.

    Returns:
        The batch size before; None where it stays.
    """
    reader = cfg.get("EvalReader") or {}
    steps = {
        name: arguments or {} for step in reader.get("sample_transforms") or () for name, arguments in step.items()
    }
    padded = any("PadBatch" in step for step in reader.get("batch_transforms") or ())
    batch_size = reader.get("batch_size", 1)
    if not padded or batch_size == 1 or not steps.get("Resize", {}).get("keep_ratio", True):
        return None
    print(
        f"note: EvalReader pads the {batch_size} pictures of a batch to one size, which changes the result; they are "
        f"evaluated one by one",
        file=sys.stderr,
    )
    reader["batch_size"] = 1
    return batch_size


def first_picture(settings: Mapping[str, Any]) -> Path | None:
    """The first picture of a data set's block in a configuration, or None when it is not there."""
    root = Path(settings.get("dataset_dir") or "")
    file, images = root / (settings.get("anno_path") or ""), root / (settings.get("image_dir") or "")
    if not file.is_file():
        return None
    if settings.get("name") == "COCODataSet":
        path = images / coco.read_pictures(file)[0].name
    elif settings.get("name") == "VOCDataSet":
        path = images / voc.read_list(file, images)[0][0]
    else:
        return None
    return path if path.is_file() else None


def picture_ids(job: Job, pictures: list[Path]) -> list[Any]:
    """The ids that the data set's annotation file gives these pictures, or 1, 2, ... when it lacks one of them.

    A picture is known by its path below the data set's folder, else by its name where only one has it.
    """
    for key in ("TestDataset", "EvalDataset"):
        settings = job.cfg.get(key) or {}
        root = Path(settings.get("dataset_dir") or "")
        file = root / (settings.get("anno_path") or "")
        if file.suffix in (".json", ".gz") and file.is_file():
            listed = coco.read_pictures(file, key)
            images = job.cfg.get("EvalDataset", {}).get("image_dir") or ""
            by_path = {(root / images / picture.name).resolve(): picture.id for picture in listed}
            names, counts = np.unique([Path(picture.name).name for picture in listed], return_counts=True)
            single = set(names[counts == 1])
            by_name = {Path(p.name).name: p.id for p in listed if Path(p.name).name in single}
            ids = [by_path.get(path.resolve(), by_name.get(path.name)) for path in pictures]
            if None not in ids and len(set(ids)) == len(ids):
                return ids
    return list(range(1, len(pictures) + 1))
