"""The classes of a detector: their names, in the order of its outputs, and the ids that the data has for them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...datasets import coco, voc
from ...datasets.report import Report
from ...errors import UserError
from .job import Job


def class_names(job: Job) -> list[str]:
    """One name for each class: those that the detector was trained on, and "class N" for classes without a name."""
    names = job.trained_classes or training_classes(job) or [name for _, name in categories_of(job.cfg)]
    return names + [f"class {number}" for number in range(len(names), job.num_classes)]


def training_classes(job: Job) -> list[str] | None:
    """The classes of TrainDataset, in the order in which training numbers them; None where its file is not there.

    As in training, classes without a box do not count where there are more than the detector has.
    """
    settings = job.cfg.get("TrainDataset") or {}
    try:
        names = [name for _, name in _listed(settings)]
        if len(names) > job.num_classes and settings.get("name") == "COCODataSet":
            found = coco.read(Path(settings.get("dataset_dir") or "", settings["anno_path"]), Report("TrainDataset"))
            names = [name for name, count in zip(found.classes, found.per_class()) if count]
    except UserError:
        return None
    return names if 0 < len(names) <= job.num_classes else None


def all_categories(job: Job) -> list[tuple[Any, str]]:
    """(category id, name) of every class of the detector. The ids are the data's where it names the class."""
    names = class_names(job)
    known = {name: number for number, name in categories_of(job.cfg)}
    if not set(names) & set(known):
        return list(enumerate(names))
    free = 1 + max((number for number in known.values() if isinstance(number, int)), default=0)
    missing = {name: free + place for place, name in enumerate(n for n in names if n not in known)}
    return [(known.get(name, missing.get(name)), name) for name in names]


def categories_of(cfg: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """(category id, name) of every class that the configuration's data names, in the data's order.

    They come from TestDataset's annotation file or file of names, else from EvalDataset's. Without either they are
    COCO's for a detector of 80 classes, VOC's for one of 20 that is evaluated as VOC is, else numbers. A note on stderr
    then says how to give names.
    """
    for key in ("TestDataset", "EvalDataset"):
        if found := _listed(cfg.get(key) or {}):
            return found
    classes = cfg["num_classes"]
    if classes == len(voc.CLASSES) and cfg.get("metric") == "VOC":
        return list(enumerate(voc.CLASSES))
    if classes != 80:
        print("note: class names are unknown; --data DIR names the data set that has them", file=sys.stderr)
        return [(i, f"class {i}") for i in range(classes)]
    from ppdet.data.source.category import get_categories

    class_to_category, names = get_categories("COCO", None)
    return [(class_to_category[i], names[class_to_category[i]]) for i in sorted(class_to_category)]


def _listed(settings):
    """(id, name) of every class in the annotation file or file of names of a data set; [] where there is none."""
    listed = "label_list" if settings.get("name") == "VOCDataSet" else "anno_path"
    file = Path(settings.get("dataset_dir") or "") / (settings.get(listed) or "")
    if not file.is_file():
        return []
    if file.suffix == ".txt":
        names = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        return list(enumerate(names[1:] if names[:1] == ["background"] else names))
    return coco.read_categories(file) if file.suffix in (".json", ".gz") else []
