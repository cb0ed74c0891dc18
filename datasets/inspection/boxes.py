"""Faults of boxes: outside, of no size, tiny, repeated; pictures and classes without any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...pictures.listed import find_listed
from ..annotations import OVERHANG_PIXELS, OVERHANG_SHARE, Annotations
from .findings import Findings

#: a box is tiny when its longer side is below this many pixels
TINY = 4
#: classes are out of balance when the commonest has this many times the boxes of the rarest
IMBALANCE = 100


def find_pictures(
    root: Path, folders: Callable[[str], Sequence[Path]], parts: Mapping[str, Annotations], findings: Findings
) -> dict[str, list[str]]:
    """Finds the files of the pictures; names become relative to `root`.

    Args:
        root: the folder of the data set.
        folders: part -> further folders to look in.
        parts: the boxes of each part; pictures get their paths.
        findings: receives what is missing or listed twice.

    Returns:
        part -> the names of its pictures that are there.
    """
    found: dict[str, list[str]] = {}
    for part, content in parts.items():
        paths, respelled = find_listed([picture.name for picture in content.pictures], [root, *folders(part)])
        missing: list[str] = []
        names: list[str] = []
        first: Counter[str] = Counter()
        for picture, path in zip(content.pictures, paths):
            picture.path = path
            if path is None:
                missing.append(picture.name)
                continue
            picture.name = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
            names.append(picture.name)
            first[picture.name] += 1
        findings.add(
            f"pictures of {part or 'the annotations'} that are not there",
            "left out",
            "left out with their boxes",
            missing,
        )
        findings.add(
            "pictures that are found by another spelling", "used", "used",
            [f"{name} is {path.name}" for name, path in respelled],
        )  # fmt: skip
        findings.add(
            "pictures that are listed twice", "used", "their boxes are joined", [n for n, c in first.items() if c > 1]
        )
        found[part] = list(dict.fromkeys(names))
    return found


def inspect_boxes(parts: Mapping[str, Annotations], sizes: Mapping[str, tuple[int, int]], findings: Findings) -> None:
    """Looks at the boxes of pictures that can be read.

    Args:
        parts: after `find_pictures`.
        sizes: name -> (width, height) in pixels.
        findings: receives the faults.
    """
    for part, content in parts.items():
        _sizes_given(content, sizes, findings)
        _each_box(content, sizes, findings)
        with_boxes = set(content.picture.tolist())
        findings.add(
            f"pictures of {part or 'the data'} without an object", "used" if part == "val" else "left out",
            "count as pictures without objects" if part == "val" else "not trained on (allow_empty trains on them)",
            [p.name for i, p in enumerate(content.pictures) if i not in with_boxes and p.path is not None],
        )  # fmt: skip
    _classes(parts, findings)


def _sizes_given(content, sizes, findings):
    wrong = []
    for picture in content.pictures:
        shown = sizes.get(picture.name)
        given = picture.width, picture.height
        if shown and picture.width and picture.height and given != shown and given != shown[::-1]:
            wrong.append(f"{picture.name} {given[0]:g} x {given[1]:g}, is {shown[0]} x {shown[1]}")
    findings.add(
        "pictures of another size than their annotation says", "used", "boxes are scaled where the shape agrees", wrong
    )


def _each_box(content: Annotations, sizes, findings):
    shown = np.array([sizes.get(p.name, (np.nan, np.nan)) for p in content.pictures], float).reshape(-1, 2)[
        content.picture
    ]
    boxes = content.boxes
    numbers = np.isfinite(boxes).all(1)
    positive = numbers & (boxes[:, 2:] > 0).all(1)
    known = positive & np.isfinite(shown).all(1)
    with np.errstate(invalid="ignore"):
        centres, ends = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:]
        outside = known & ((centres < 0) | (centres > shown)).any(1)
        slack = np.maximum(OVERHANG_PIXELS, OVERHANG_SHARE * shown)
        over = known & ~outside & ((boxes[:, :2] < -slack) | (ends > shown + slack)).any(1)
    tiny = positive & ~outside & (boxes[:, 2:].max(1) < TINY)
    keys = [(p, c, *np.round(b, 3)) for p, c, b in zip(content.picture.tolist(), content.label.tolist(), boxes)]
    first: dict = {}
    repeated = positive & np.array([first.setdefault(key, place) != place for place, key in enumerate(keys)], bool)

    def name(chosen):
        return [content.what(index) for index in np.flatnonzero(chosen)]

    findings.add("boxes that are not four numbers", "left out", "left out", name(~numbers))
    findings.add("boxes of zero or negative size", "left out", "left out", name(numbers & ~positive))
    findings.add("boxes outside their pictures", "left out", "left out", name(outside))
    findings.add("boxes that reach beyond their pictures", "used", "cut at the edge", name(over))
    findings.add("boxes that are there twice", "left out", "counted once", name(repeated))
    findings.add(
        f"boxes of less than {TINY} pixels",
        "used",
        "learned by chance at most: enlarge the input, or drop them",
        name(tiny),
    )


def _classes(parts, findings):
    if not parts:
        return
    first = next(iter(parts.values()))
    training = parts.get("train") or parts.get("") or first
    total = sum(content.per_class() for content in parts.values() if content.classes == first.classes)
    if not isinstance(total, np.ndarray):
        return
    findings.add("classes without a box", "used", "never learned", [n for n, c in zip(first.classes, total) if not c])
    learned = training.per_class()
    findings.add(
        "classes without a box in train, and with boxes elsewhere", "used", "never learned, and counted as missed",
        [n for n, c, t in zip(first.classes, learned, total) if t and not c],
    )  # fmt: skip
    there = {name: int(count) for name, count in zip(first.classes, total) if count}
    if len(there) > 1 and max(there.values()) >= IMBALANCE * min(there.values()):
        rare = sorted(there, key=lambda name: there[name])
        findings.add(
            "classes out of balance", "used", "the rare ones are learned last",
            [f"{rare[0]} {there[rare[0]]}, {rare[-1]} {there[rare[-1]]} boxes"],
        )  # fmt: skip
