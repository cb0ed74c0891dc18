"""A checked data set as PaddleDetection's readers and metrics take it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from ppdet.data.source.dataset import DetDataset

from ...datasets.annotations import Annotations
from ...datasets.coco import content_of, whole_ids
from ...system.files import atomic_path

# What PaddleDetection's reader puts in the place of a crowd's mask.
_CROWD_MASK = [[0.0] * 8]


class CheckedDataSet(DetDataset):
    """The records that `COCODataSet` or `VOCDataSet` would make of a file without a fault.

    PaddleDetection reads no annotation file for it. Records hold the same keys, types and numbers.

    Args:
        annotations: after all checks of `datasets.annotations`.
        settings: the block of the configuration: name, data_fields, load_crowd, allow_empty, empty_ratio, sample_num,
            repeat.
        folder: receives the files that PaddleDetection's metrics read.
    """

    def __init__(self, annotations: Annotations, settings: Mapping[str, Any], folder: Path):
        super().__init__(
            data_fields=settings.get("data_fields", ["image"]),
            sample_num=settings.get("sample_num", -1),
            repeat=settings.get("repeat", 1),
        )
        self.annotations, self.settings, self.folder = annotations, settings, folder
        self.is_voc = settings["name"] == "VOCDataSet"
        self.roidbs: list[dict[str, Any]] = []
        ids = whole_ids(annotations.category_ids)
        self.catid2clsid = {category: number for number, category in enumerate(ids)}
        self.cname2cid = {name: number for number, name in enumerate(annotations.classes)}

    def check_or_download_dataset(self) -> None:
        """Does nothing: the check has found all files."""

    def get_anno(self) -> str:
        """The annotations as a file for pycocotools."""
        file = self.folder / "annotations.json"
        if not file.exists():
            content = content_of(self.annotations)
            taken = self.taken()
            if taken is not None:  # what is not predicted on would count as missed
                content["images"] = [row for row in content["images"] if row["id"] in taken]
                content["annotations"] = [row for row in content["annotations"] if row["image_id"] in taken]
            with atomic_path(file) as temporary:
                temporary.write_bytes(msgspec.json.encode(content))
        return str(file)

    def taken(self) -> set[int] | None:
        """The ids of the pictures that sample_num lets through; None where it lets all through."""
        if self.sample_num <= 0:
            return None
        self.parse_dataset()
        return {int(record["im_id"][0]) for record in self.roidbs}

    def get_label_list(self) -> str:
        """The class names as a file with one in each line."""
        return str(write_names(self.annotations.classes, self.folder))

    def parse_dataset(self) -> None:
        """Makes the records, once."""
        if self.roidbs:
            return
        order = np.argsort(self.annotations.picture, kind="stable")
        ends = np.cumsum(np.bincount(self.annotations.picture, minlength=len(self.annotations.pictures)))
        full, empty = [], []
        ids = whole_ids([picture.id for picture in self.annotations.pictures])
        for place in sorted(range(len(ids)), key=ids.__getitem__):
            count = int(ends[place] - (ends[place - 1] if place else 0))
            boxes = order[ends[place] - count : ends[place]]
            record, any_box = self._record(place, ids[place], boxes)
            if any_box or not self.annotations.has_truth:
                full.append(record)
            elif self.settings.get("allow_empty"):
                empty.append(record)
            if 0 < self.sample_num <= len(full) + len(empty):
                break
        self.roidbs = full + self._some(empty, len(full))

    def _some(self, empty, full):
        """As many of the pictures without boxes as empty_ratio allows."""
        ratio = self.settings.get("empty_ratio", 1.0)
        if not 0 <= ratio < 1:
            return empty
        return random.sample(empty, min(int(full * ratio / (1 - ratio)), len(empty)))

    def _record(self, place, number, boxes):
        """(the record of a picture, whether it has a box)."""
        found, picture = self.annotations, self.annotations.pictures[place]
        record = {}
        if "image" in self.data_fields:
            record = {"im_file": str(picture.path), "im_id": np.array([number])}
            record |= {"h": float(picture.height), "w": float(picture.width)}
        if not found.has_truth:
            return record, True
        if not self.settings.get("load_crowd"):
            boxes = boxes[~found.crowd[boxes]]
        corners = found.boxes[boxes].copy()
        corners[:, 2:] += corners[:, :2]
        if self.is_voc:  # whose reader cuts boxes at the last pixel
            corners[:, :2] = np.maximum(corners[:, :2], 0)
            corners[:, 2:] = np.minimum(corners[:, 2:], [picture.width - 1, picture.height - 1])
            wide = (corners[:, 2:] > corners[:, :2]).all(1)
            corners, boxes = corners[wide], boxes[wide]
        else:
            corners = corners.round(3)
        values = {
            "gt_bbox": corners.astype(np.float32),
            "gt_class": found.label[boxes, None].astype(np.int32),
            "gt_score": np.ones((len(boxes), 1), np.float32),
            "is_crowd": found.crowd[boxes, None].astype(np.int32),
            "difficult": found.difficult[boxes, None].astype(np.int32),
        }
        for name in ("gt_score", "difficult") if not self.is_voc else ("is_crowd",):
            values.pop(name)  # the readers of the two formats differ in these
        if found.masks is not None:
            values["gt_poly"] = [_CROWD_MASK if found.crowd[i] else found.masks[i] for i in boxes]
        record |= {name: value for name, value in values.items() if name in self.data_fields}
        return record, len(boxes) > 0


def write_names(names: list[str], folder: Path) -> Path:
    """Writes class names into FOLDER/classes.txt, one in each line; returns the file."""
    file = folder / "classes.txt"
    with atomic_path(file) as temporary:
        temporary.write_text("".join(f"{' '.join(name.split())}\n" for name in names), encoding="utf-8")
    return file
