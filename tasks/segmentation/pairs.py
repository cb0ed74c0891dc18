"""Which pictures and labels a segmentation data set has: from a list, from Cityscapes' layout, or from PaddleSeg."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...datasets import cityscapes
from ...datasets.lists import below, read_pairs
from ...errors import UserError
from .job import Job

#: (picture, label), two files
Pair = tuple[Path, Path]


def default_of(component: Any, name: str) -> Any:
    """The default value of an argument of a component."""
    parameter = inspect.signature(component).parameters.get(name)
    return None if parameter is None else parameter.default


def find_pairs(job: Job, name: str, block: Mapping[str, Any], mode: str) -> list[Pair]:
    """The pictures of a data set with their labels.

    Args:
        job: from `segmentation.config.load`.
        name: "train_dataset" or "val_dataset", for messages.
        block: its settings.
        mode: "train", "val" or "test".

    Raises:
        UserError: one line with the name of the folder, list or file that is wrong.
    """
    root: Any = block.get("dataset_root")
    if root is not None and not Path(root).is_dir():
        raise UserError(
            f"{name}: data set folder {root} does not exist; put the data there, or say where it is with --data DIR or "
            f"-o {name}.dataset_root=DIR"
        )
    if block["type"] == "Cityscapes":
        return _cityscapes_pairs(Path(root), mode, name)
    if block["type"] == "Dataset":
        return _listed_pairs(block, mode, name)
    try:
        files = getattr(getattr(job.builder, name), "file_list", [])
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    except AssertionError as error:  # PaddleSeg: there are none
        raise UserError(f"{name}: {root} holds no pictures in the layout of {block['type']}") from error
    pairs = [(Path(image), Path(label)) for image, label in files if label]
    for path in (path for pair in pairs for path in pair):
        if not os.path.isfile(path):
            raise UserError(f"{name}: {path} does not exist; {block['type']} expects it")
    return pairs


def _cityscapes_pairs(root, mode, name):
    for folder in (cityscapes.IMAGES, cityscapes.LABEL_PICTURES):
        if not (root / folder).is_dir():
            raise UserError(
                f"{name}: {root} has no folder {folder}; --data DIR names the folder that holds {cityscapes.IMAGES} "
                f"and {cityscapes.LABEL_PICTURES}"
            )
    images = _frames(root / cityscapes.IMAGES / mode, f"_{cityscapes.IMAGES}.png")
    labels = _frames(root / cityscapes.LABEL_PICTURES / mode, f"_{cityscapes.LABEL_PICTURES}_labelTrainIds.png")
    if not images:
        raise UserError(f"{name}: {root / cityscapes.IMAGES / mode} holds no CITY/*_{cityscapes.IMAGES}.png")
    for frame in images:
        if frame not in labels:
            stem = root / cityscapes.LABEL_PICTURES / mode / f"{frame}_{cityscapes.LABEL_PICTURES}"
            if Path(f"{stem}_labelIds.png").is_file():
                raise UserError(
                    f"{name}: {stem}_labelIds.png is there and {stem.name}_labelTrainIds.png, which training needs, is "
                    f"not; write it with: densebone prepare cityscapes {root}"
                )
            raise UserError(f"{name}: {images[frame]} has no label {stem}_labelTrainIds.png")
    for frame in labels:
        if frame not in images:
            raise UserError(
                f"{name}: {labels[frame]} has no picture {frame}_{cityscapes.IMAGES}.png in "
                f"{root / cityscapes.IMAGES / mode}; PaddleSeg would pair the pictures after it wrongly"
            )
    return [(images[frame], labels[frame]) for frame in images]


def _frames(folder, ending):
    """{"CITY/CITY_SEQUENCE_FRAME": path}, sorted."""
    return {path.relative_to(folder).as_posix()[: -len(ending)]: path for path in sorted(folder.glob(f"*/*{ending}"))}


def _listed_pairs(block, mode, name):
    key, separator, root = f"{mode}_path", block.get("separator", " "), Path(block["dataset_root"])
    if not block.get(key):
        raise UserError(f"{name}: {key} is not set; it names the list of pictures and labels")
    file = Path(block[key])
    if not file.is_file():
        raise UserError(f"{name}: the list of pictures {file} does not exist; set {name}.{key}")

    def complaint(number, line):
        return (
            f"{name}: line {number} of {file} is {line!r}; a picture and its label with {separator!r} between them are "
            f"expected"
        )

    pairs = []
    for number, *names in read_pairs(file, root, complaint, separator):
        pairs.append((below(root, names[0]), below(root, names[1])))
        for path in pairs[-1]:
            if not os.path.isfile(path):
                raise UserError(f"{name}: {path}, in line {number} of {file}, does not exist")
    if not pairs:
        raise UserError(f"{name}: {file} lists no pictures")
    return pairs
