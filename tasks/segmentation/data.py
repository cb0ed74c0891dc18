"""The data sets of a segmentation job: one reading and checking step before anything is built on them; class names."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from paddleseg.cvlibs import manager

from ...datasets import cityscapes, label_map, masks
from ...datasets.report import Report
from ...errors import UserError
from ...pictures.drawing import class_colours
from ...pictures.reading import OPENCV_FORMATS, Header, looks_like_a_picture, read_header, read_image
from .checks import argument
from .job import Job
from .pairs import Pair, default_of, find_pairs
from .records import CheckedDataset, wrong_label

# Labels of 2 million pixels take about 20 ms each to read: all of Cityscapes would be a minute before every training.
# The others are checked when training reads them.
LABELS_READ = 200
# The picture that fills a training crop best must give this share of its pixels.
LEAST_FILLED = 0.5
_LAST_BYTES = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}


@dataclass
class _Checked:
    """What the check of a data set found.

    Attributes:
        report: what the user should know.
        pairs: the pictures and their labels; None for a data set whose class in PaddleSeg reads labels in its own way.
    """

    report: Report
    pairs: list[Pair] | None = field(default_factory=list)


def check_data(job: Job, part: str) -> Report:
    """Checks a data set before training or evaluation, once.

    Every picture and its label must exist, begin as pictures do, be complete and have the same size. A label must be
    one that `datasets.masks.read_mask` takes. In every label of an evaluation, and in up to LABELS_READ of training,
    spread evenly, every value must be a class or ignore_index; training checks the others when it reads them. For
    training, some picture must fill a part of the crop. Of data sets whose class in PaddleSeg reads labels in its own
    way, only the first bytes are checked.

    Args:
        job: from `segmentation.config.load`.
        part: "train" or "val".

    Raises:
        UserError: one line with the name of the file that is wrong.
    """
    return _checked(job, part).report


def _checked(job, part):
    if part not in job.checked:
        job.checked[part] = _check(job, part)
    return job.checked[part]


def _check(job, part):
    name = f"{part}_dataset"
    block, report = job.dic.get(name), Report(name)
    if not block:
        raise UserError(f"{job.path} has no {name}; give it the block that says where the pictures are")
    component = manager.DATASETS[block["type"]]
    mode = str(block.get("mode", default_of(component, "mode"))).lower()
    if part == "val" and mode.startswith("train"):
        raise UserError(f"{name}.mode is {mode!r}; evaluation needs the pictures of mode val")
    pairs = find_pairs(job, name, block, mode)
    if not issubclass(component, manager.DATASETS["Dataset"]) or (
        component.__getitem__ is not manager.DATASETS["Dataset"].__getitem__
    ):
        _check_begin(pairs, name)
        return _Checked(report, None)
    sizes = [_check_pair(image, label, name) for image, label in pairs]
    if part == "train":
        _check_crop(block.get("transforms") or (), [image for image, _ in pairs], sizes, name)
    _check_values([label for _, label in pairs], job, part, report)
    return _Checked(report, pairs)


def open_dataset(job: Job, part: str) -> Any:
    """PaddleSeg's data set of a part, with the pictures and labels that the check has found.

    Args:
        job: from `segmentation.config.load`.
        part: "train" or "val".

    Raises:
        UserError: as `check_data`.
    """
    name, checked = f"{part}_dataset", _checked(job, part)
    if checked.pairs is None:
        return getattr(job.builder, name)
    block = job.dic[name]
    if block["type"] != "Dataset":
        dataset = getattr(job.builder, name)
    else:  # whose list PaddleSeg reads line by line, and not all lists are so simple
        mode = str(block.get("mode", "train")).lower()
        with tempfile.TemporaryDirectory(prefix="densebone-") as folder:
            file = Path(folder, "list.txt")
            image, label = (path.resolve() for path in checked.pairs[0])
            file.write_text(f"{image}\t{label}\n", encoding="utf-8")
            dataset = job.builder.build_component({**block, f"{mode}_path": str(file), "separator": "\t"})
    _pad_with(job.ignore_index, dataset, block)
    own, trained = own_class_names(job), job.trained_classes
    table = masks.renumbering(own, trained, job.ignore_index) if trained else None
    return CheckedDataset(dataset, checked.pairs, name, table, mapping_of(job))


def mapping_of(job: Job) -> label_map.LabelMap | None:
    """What the values of the user's label pictures mean, where the configuration has a label_map.

    Raises:
        UserError: it names a value, a colour or a class that is none.
    """
    if job.label_map is None:
        return None
    try:
        return label_map.parse(job.label_map, own_class_names(job), job.ignore_index, job.path.parent)
    except UserError as error:
        raise UserError(f"{job.path}: {error}") from error


def in_own_values(job: Job, labels: np.ndarray) -> np.ndarray:
    """Class numbers of the network as the user's label pictures have them, by label_map.

    Args:
        job: from `segmentation.config.load`.
        labels: uint8 (H, W).

    Returns:
        uint8 (H, W) of values, or (H, W, 3) of colours.
    """
    mapping = mapping_of(job)
    if mapping is None:
        return labels
    own, trained = own_class_names(job), class_names(job)
    if own != trained and set(own) == set(trained):
        table = np.arange(256, dtype=np.uint8)
        table[: len(trained)] = [own.index(name) for name in trained]
        labels = table[labels]
    return mapping.write_back(labels)


def _pad_with(ignore_index, dataset, block):
    """Lets transforms fill labels with ignore_index where the configuration names no other value; PaddleSeg has 255."""
    for step, transform in zip(block.get("transforms") or (), dataset.transforms.transforms):
        if hasattr(transform, "label_padding_value") and "label_padding_value" not in step:
            transform.label_padding_value = ignore_index


def _check_begin(pairs, name):
    for path in (path for pair in pairs for path in pair):
        if not looks_like_a_picture(path):
            raise UserError(f"{name}: {path} is not a picture; mend it")


def _check_pair(image, label, name):
    """Checks that a picture and its label fit each other; returns the picture's (width, height)."""
    header = _header(image, name)
    if header.kind not in OPENCV_FORMATS:
        raise UserError(f"{name}: {image} is a {header.kind}, which PaddleSeg does not read; convert it to PNG or JPEG")
    size, found = header.shown, _header(label, name)
    if found.kind not in masks.FORMATS:
        raise UserError(f"{name}: {label} is a {found.kind}; labels must be stored without loss: 8-bit gray PNG")
    if size != found.stored:
        raise UserError(
            f"{name}: {image} is {size[0]} x {size[1]} pixels, as it is shown, and its label {label} "
            f"{found.stored[0]} x {found.stored[1]}; they must be alike"
        )
    return size


def _header(path, name) -> Header:
    """The header of a picture; UserError when it is cut short."""
    try:
        header = read_header(path)
        if header.kind in _LAST_BYTES:
            with open(path, "rb") as stream:
                stream.seek(max(0, path.stat().st_size - 64))
                whole = _LAST_BYTES[header.kind] in stream.read()
            if not whole:  # a camera may append something; such a file can still be read
                read_image(path, min_side=1)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    return header


def _check_crop(transforms, images, sizes, name):
    """Raises UserError when even the picture that fills the crop best leaves more than half of it to padding."""
    largest = 1.0
    for step in transforms:
        if step["type"] == "ResizeStepScaling":
            largest *= argument(step, "max_scale_factor")
        elif step["type"].startswith(("Resize", "LimitLong", "Padding", "ScalePadding")):
            return  # from here on the size does not follow from the picture's
        elif step["type"] == "RandomPaddingCrop":
            crop = argument(step, "crop_size")
            filled = [min(w * largest, crop[0]) * min(h * largest, crop[1]) for w, h in sizes]
            best = int(np.argmax(filled))
            if filled[best] < LEAST_FILLED * crop[0] * crop[1]:
                scaled = f", {largest:g} times that at most," if largest != 1 else ""
                raise UserError(
                    f"{name}: the crop of {crop[0]} x {crop[1]} is larger than every picture ({images[best]} is "
                    f"{sizes[best][0]} x {sizes[best][1]} pixels{scaled} and fills "
                    f"{100 * filled[best] / (crop[0] * crop[1]):.0f} % of it); set a smaller crop_size"
                )
            return


def _check_values(labels, job, part, report):
    """Raises UserError for a label with a value that is neither a class nor ignore_index."""
    name, read = report.subject, len(labels) if part == "val" else LABELS_READ
    chosen = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), read)).round().astype(int))
    total, empty, ignored = np.zeros(256, np.int64), [], 0
    for index in chosen:
        counts = np.bincount(_values(labels[index], job, name).ravel(), minlength=256)
        if 0 <= job.ignore_index < 256:
            ignored += counts[job.ignore_index]
            counts[job.ignore_index] = 0
        total += counts
        if not counts.any():
            empty.append(labels[index].name)
    present = total[: job.num_classes] > 0
    if not present.any():
        raise UserError(f"{name}: every pixel of the labels is {job.ignore_index}, which does not count ({labels[0]})")
    if len(chosen) < len(labels):
        report.note(f"labels whose values were checked, spread evenly over {len(labels)}", count=len(chosen))
    report.note("labels in which no pixel counts", empty)
    _note_absent(np.flatnonzero(~present), ignored, job, part, report)


def _values(label, job, name):
    """The values of a label; UserError for one that is neither a class nor ignore_index."""
    mapping = mapping_of(job)
    try:
        values = masks.read_mask(label) if mapping is None else mapping.read(label)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    if wrong := masks.wrong_value(values, job.num_classes, job.ignore_index):
        raise UserError(f"{name}: {wrong_label(label, wrong, job.num_classes, job.ignore_index)}")
    return values


def _note_absent(absent, ignored, job, part, report):
    names = own_class_names(job)
    kind = f"classes without a pixel, {'never learned' if part == 'train' else 'left out of the mean'}"
    if ignored and job.label_map is None and len(absent) == job.num_classes - 1 and absent[0] == 1:
        hint = f"masks of 0 and {job.ignore_index} need label_map: {{0: 0, {job.ignore_index}: 1}} in the configuration"
        if part == "train" and job.num_classes == 2:
            raise UserError(
                f"{report.subject}: the labels hold class 0 alone, and {job.ignore_index} does not count; {hint}"
            )
        kind += f" ({hint})"
    listed = [names[i] if names[i] == f"class {i}" else f"{i} {names[i]}" for i in absent if i != job.ignore_index]
    report.note(kind, listed)


def class_names(job: Job) -> list[str]:
    """One name for each output of the network: those that it was trained on, else `own_class_names`."""
    return list(job.trained_classes or own_class_names(job))


def own_class_names(job: Job) -> list[str]:
    """The name of each label value: the configuration's class_names, else Cityscapes', else "class N"."""
    if job.class_names is not None:
        return list(job.class_names)
    if _is_cityscapes(job):
        return list(cityscapes.CLASS_NAMES)
    return [f"class {index}" for index in range(job.num_classes)]


def palette(job: Job) -> np.ndarray:
    """The colours of the classes, uint8 (256, 3): Cityscapes' own, else colours far apart; black past the classes."""
    colours = np.zeros((256, 3), np.uint8)
    names = class_names(job)
    if _is_cityscapes(job):
        colours[: len(names)] = cityscapes.PALETTE
    else:
        chosen = class_colours(names)
        colours[: len(names)] = [chosen[name] for name in names]
    return colours


def _is_cityscapes(job):
    """Whether the classes are those of Cityscapes, told by the data set's type or by their names."""
    if job.class_names is not None:
        return tuple(job.class_names) == cityscapes.CLASS_NAMES
    return job.dic["train_dataset"]["type"] == "Cityscapes"
