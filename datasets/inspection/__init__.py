"""Looking for faults in a user's data set: `densebone data check`. A fault is named and never raised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...errors import UserError
from ...pictures.reading import read_header
from .. import formats, own
from ..formats.listing import Source, look
from ..masks import FORMATS
from ..report import Report
from .boxes import find_pictures, inspect_boxes
from .files import inspect_files
from .findings import LEVELS, Finding, Findings

__all__ = ["LEVELS", "Finding", "Findings", "inspect"]


def inspect(
    path: str | Path,
    name: str | None = None,
    task: str | None = None,
    progress: Callable[[], None] = lambda: None,
) -> tuple[Source, list[Finding]]:
    """Reads all of a data set, decodes every picture, and lists the faults.

    Args:
        path: the folder, or the main annotation file.
        name: the format, where the user says it.
        task: the task, where the user says it.
        progress: called after each picture.

    Returns:
        (what was recognised, the faults, the worst first).

    Raises:
        UserError: no annotations are recognised, or those of several formats.
    """
    source = formats.recognise(path, name, task)
    report, findings = Report(str(path), lenient=True), Findings()
    try:
        parts = dict(formats.read(source, report))
    except UserError as error:
        findings.add("annotations that cannot be read", "stops", "training ends with this line", [str(error)])
        parts = {}
    findings.add("annotations that cannot be read", "stops", "training ends at the first", report.faults)
    _names_of_classes(parts, findings)
    if source.task == "detection":
        folders = lambda part: own.picture_folders(source.root, part)  # noqa: E731
        listed = find_pictures(source.root, folders, parts, findings)
        sizes = inspect_files(source.root, listed, findings, progress)
        inspect_boxes(parts, sizes, findings)
    else:
        listed = {part: own.pictures_of(content) for part, content in parts.items()}
        sizes = inspect_files(source.root, listed, findings, progress)
        (_masks if source.task == "segmentation" else _labels)(source, parts, sizes, findings)
    _unused(source, listed, findings)
    return source, findings.in_order()


def _names_of_classes(parts, findings):
    classes = list(dict.fromkeys(name for content in parts.values() for name in content.classes))
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(name.casefold(), []).append(name)
    findings.add(
        "class names that differ in upper and lower case alone", "stops", "make them one name in the annotations",
        [" = ".join(names) for names in alike.values() if len(names) > 1],
    )  # fmt: skip


def _unused(source, listed, findings):
    """Pictures that belong to no annotation."""
    used = {name for names in listed.values() for name in names}
    labels = set(source.details.masks.values()) if source.task == "segmentation" else set()
    lost = set(source.details.lost) if source.task == "segmentation" else set()
    alone = [name for name in look(source.root).pictures if name not in used | labels | lost]
    kind = "pictures without a label picture" if source.task == "segmentation" else "pictures without an annotation"
    findings.add(kind, "left out", "not trained on", alone)


def _masks(source, parts, sizes, findings):
    """Faults of label pictures: damaged, of another size, with values that are no class, with nothing that counts."""
    findings.add("label pictures without a picture", "left out", "left out", source.details.lost)
    damaged, unlike, lossy, strange, empty = [], [], [], [], []
    total = np.zeros(256, np.int64)
    for content in parts.values():
        for picture, label in content.pairs:
            path = source.root / label
            try:
                header = read_header(path)
                if header.kind not in FORMATS:
                    lossy.append(f"{label} is a {header.kind}")
                    continue
                values = content.numbers(path)
            except UserError as error:
                (strange if "colour" in str(error) else damaged).append(str(error).replace(f"{source.root}/", ""))
                continue
            if picture in sizes and header.stored != sizes[picture]:
                own, other = " x ".join(map(str, header.stored)), " x ".join(map(str, sizes[picture]))
                unlike.append(f"{label} {own}, picture {other}")
            counts = np.bincount(values.ravel(), minlength=256)
            wrong = [value for value in np.flatnonzero(counts).tolist() if len(content.classes) <= value < 255]
            if wrong:
                strange.append(f"{label} has {', '.join(map(str, wrong[:5]))}")
            if not counts[: len(content.classes)].any():
                empty.append(label)
            total += counts
    findings.add("label pictures that are damaged", "stops", "training ends at them", damaged)
    findings.add("label pictures that are stored with loss", "stops", "save them as PNG", lossy)
    findings.add("label pictures of another size than their picture", "stops", "training ends at them", unlike)
    findings.add(
        "label values outside the classes", "stops", "training ends at them: label_map says what they mean", strange
    )
    findings.add("label pictures without a pixel that counts", "used", "nothing is learned from them", empty)
    if parts:
        classes = next(iter(parts.values())).classes
        absent = [name for name, count in zip(classes, total) if not count]
        findings.add("classes without a pixel", "used", "never learned", absent)


def _labels(source, parts, sizes, findings):
    """Faults of classes of pictures: without a picture, out of balance."""
    from .boxes import IMBALANCE

    if not parts:
        return
    classes = next(iter(parts.values())).classes
    counts = sum(own.objects_per_class(content, len(classes)) for content in parts.values())
    folders = [] if not isinstance(source.details, dict) else [
        n for p in source.details.values() if isinstance(p, dict) for n, names in p.items() if names == []
    ]  # fmt: skip
    findings.add("classes without a picture", "used", "never learned", dict.fromkeys(folders))
    there = {name: int(count) for name, count in zip(classes, counts) if count}
    if len(there) > 1 and max(there.values()) >= IMBALANCE * min(there.values()):
        rare = min(there, key=lambda name: there[name])
        findings.add(
            "classes out of balance", "used", "the rare ones are learned last", [f"{rare} has {there[rare]} pictures"]
        )
