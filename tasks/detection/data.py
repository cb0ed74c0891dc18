"""The data sets of a detection job: checks before anything is built on them, and the names of the classes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...datasets import voc
from ...datasets.coco import check_annotations, check_box, few, read_annotations
from ...errors import UserError
from ...pictures.reading import looks_like_a_picture
from .job import Job

_BLOCKS = {"train": "TrainDataset", "val": "EvalDataset"}


def check_data(job: Job, part: str) -> list[str]:
    """Checks a data set before training or evaluation; see `check_dataset`.

    Args:
        job: from `detection.config.load`.
        part: "train" for TrainDataset, "val" for EvalDataset.
    """
    name = _BLOCKS[part]
    return check_dataset(job.cfg.get(name) or {}, name, job.num_classes)


def class_names(job: Job) -> list[str]:
    """One name for each class: the data's, and "class N" for classes that the data does not name."""
    return [name for _, name in all_categories(job)]


def all_categories(job: Job) -> list[tuple[int, str]]:
    """(category id, name) of every class of the detector; see `categories_of`."""
    known = categories_of(job.cfg)
    return known + [(number, f"class {number}") for number in range(len(known), job.num_classes)]


def check_dataset(settings: Mapping[str, Any], name: str, num_classes: int) -> list[str]:
    """Checks a data set in COCO's or VOC's format. Other data sets of PaddleDetection are not checked.

    The folders and the annotation file must exist. Every annotation must name a known category and picture, and its box
    must lie in the picture, but for 2 pixels or 2 % of the side. There must not be more categories than classes. At
    least one picture must exist, and those that do must begin as pictures do.

    Args:
        settings: the TrainDataset or EvalDataset block: dataset_dir, image_dir, anno_path, label_list.
        name: "TrainDataset" or "EvalDataset", for messages.
        num_classes: of the detector.

    Returns:
        Notes for the user, such as how many pictures are missing and left out.

    Raises:
        UserError: one line with the name of the file that is wrong.
    """
    if settings.get("name") not in ("COCODataSet", "VOCDataSet"):
        return []
    root = Path(settings.get("dataset_dir") or ".")
    if not root.is_dir():
        raise UserError(
            f"{name}: data set folder {root} does not exist; put the data there, or say where it is with "
            f"--data DIR or -o {name}.dataset_dir=DIR"
        )
    images = root / (settings.get("image_dir") or "")
    if not images.is_dir():
        raise UserError(f"{name}: picture folder {images} does not exist; set {name}.image_dir")
    file = root / (settings.get("anno_path") or "")
    if settings["name"] == "VOCDataSet":
        names = _check_voc(settings, name, num_classes)
    else:
        content = read_annotations(file, name)
        check_annotations(content, file, num_classes)
        names = [picture["file_name"] for picture in content["images"]]
    return _check_pictures(names, images, file, name)


def _check_pictures(names, images, file, name):
    """Checks the pictures, whose names are relative to the folder `images`; returns notes."""
    missing = [picture for picture in names if not (images / picture).is_file()]
    if len(missing) == len(names):
        raise UserError(f"{name}: none of the {len(missing)} pictures that {file} lists is in {images}")
    absent = set(missing)
    present = [images / picture for picture in names if picture not in absent]
    broken = [path for path in present if not looks_like_a_picture(path)]
    if broken:
        raise UserError(
            f"{name}: {broken[0]} is not a picture (one of {len(broken)} such files); mend it, or take it out of {file}"
        )
    if not missing:
        return []
    return [
        f"{name}: {len(missing)} of {len(names)} pictures are not in {images} and are left out (first: {missing[0]})"
    ]


def _check_voc(settings, name, num_classes):
    """Checks VOC's class names and annotations; returns the names of the pictures."""
    root = Path(settings.get("dataset_dir") or ".")
    images = root / (settings.get("image_dir") or "")
    if not settings.get("label_list"):
        raise UserError(f"{name}: VOCDataSet needs class names: set {name}.label_list to a file with one in each line")
    file = root / settings["label_list"]
    classes = voc.read_classes(file)
    if len(classes) > num_classes:
        raise UserError(
            f"{file} has {len(classes)} classes but num_classes is {num_classes}; -o num_classes={len(classes)}"
        )
    pairs = voc.read_list(root / (settings.get("anno_path") or ""), images)
    for picture, annotation in pairs:
        if not picture.is_file():  # left out, with its annotation
            continue
        size, objects = voc.read_annotation(annotation)
        for category, (left, top, right, bottom) in objects:
            if category not in classes:
                raise UserError(f"{annotation} has an object {category!r}; the classes of {file} are {few(classes)}")
            check_box([left, top, right - left, bottom - top], size, f"{annotation}: {category}")
    return [str(picture.relative_to(images)) for picture, _ in pairs]


def first_picture(settings: Mapping[str, Any]) -> Path | None:
    """The first picture of a data set's block in a configuration, or None when it is not there."""
    root = Path(settings.get("dataset_dir") or "")
    file, images = root / (settings.get("anno_path") or ""), root / (settings.get("image_dir") or "")
    if not file.is_file():
        return None
    if settings.get("name") == "COCODataSet":
        path = images / read_annotations(file)["images"][0]["file_name"]
    elif settings.get("name") == "VOCDataSet":
        path = voc.read_list(file, images)[0][0]
    else:
        return None
    return path if path.is_file() else None


def categories_of(cfg: Mapping[str, Any]) -> list[tuple[int, str]]:
    """(category id, name) of every class that the configuration's data names, in class order.

    They come from TestDataset's annotation file or file of names, else from EvalDataset's. Without either they are
    COCO's for a detector of 80 classes, VOC's for one of 20 that is evaluated as VOC is, else numbers. A note on stderr
    then says how to give names.
    """
    for key in ("TestDataset", "EvalDataset"):
        settings = cfg.get(key) or {}
        listed = "label_list" if settings.get("name") == "VOCDataSet" else "anno_path"
        file = Path(settings.get("dataset_dir") or "") / (settings.get(listed) or "")
        if file.suffix == ".json" and file.is_file():
            return [(c["id"], c["name"]) for c in read_annotations(file, key)["categories"]]
        if file.suffix == ".txt" and file.is_file():
            names = [line.strip() for line in file.read_text().splitlines() if line.strip()]
            return list(enumerate(names[1:] if names[0] == "background" else names))
    classes = cfg["num_classes"]
    if classes == len(voc.CLASSES) and cfg.get("metric") == "VOC":
        return list(enumerate(voc.CLASSES))
    if classes != 80:
        print("note: class names are unknown; --data DIR names the data set that has them", file=sys.stderr)
        return [(i, f"class {i}") for i in range(classes)]
    from ppdet.data.source.category import get_categories

    class_to_category, names = get_categories("COCO", None)
    return [(class_to_category[i], names[class_to_category[i]]) for i in sorted(class_to_category)]
