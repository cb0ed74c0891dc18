"""A user's own data set, opened: recognised, read, its pictures found, its classes in one order, divided into parts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..errors import UserError
from ..system.files import atomic_path
from . import formats, splitting
from .annotations import Annotations, check_boxes, locate
from .coco import content_of
from .formats.building import selected
from .formats.class_folders import Labelled
from .formats.listing import PARTS, PROJECT_FILE, PROJECT_MARK, Source
from .formats.mask_pairs import MaskSet
from .lists import read_text
from .report import Report, few


@dataclass
class Division:
    """How a data set is to be divided where it is not yet.

    Attributes:
        val, test: shares; None takes `splitting.default_shares`.
        seed: of the division.
        groups: one of `splitting.GROUPINGS`: pictures of a group stay together.
    """

    val: float | None = None
    test: float | None = None
    seed: int = 0
    groups: str = "auto"


@dataclass
class DataSet:
    """A user's data set.

    Attributes:
        source: what was recognised.
        parts: "train", "val" and perhaps "test" -> `Annotations`, `MaskSet` or `Labelled`; names of pictures are
            relative to `source.root`.
        classes: the class names, in the order of their numbers.
        division: how it came to these parts, in words.
        report: what was found on the way.
    """

    source: Source
    parts: dict[str, Any]
    classes: list[str]
    division: str
    report: Report

    @property
    def task(self) -> str:
        """detection, segmentation or classification."""
        return self.source.task

    def pictures(self, part: str) -> list[str]:
        """The names of a part's pictures."""
        return pictures_of(self.parts[part])


def pictures_of(content: Any) -> list[str]:
    """The names of the pictures of `Annotations`, a `MaskSet` or `Labelled`."""
    if isinstance(content, Annotations):
        return [picture.name for picture in content.pictures]
    return [name for name, _ in content.pairs] if isinstance(content, MaskSet) else list(content.pictures)


def open_data(
    path: str | Path, name: str | None = None, task: str | None = None, division: Division | None = None
) -> DataSet:
    """Opens a user's data set for training.

    Args:
        path: the folder, or the main annotation file.
        name: the format, where the user says it; see `formats.FORMATS`.
        task: the task, where the user says it.
        division: how to divide what is not divided.

    Raises:
        UserError: no annotations, or several formats; pictures that are not there; class names that differ in case
            alone; too few pictures to divide.
    """
    division = division or Division()
    about = _project(Path(path))
    if about is not None:
        division = replace(division, seed=about.get("seed", 0), **{k: about.get(k) for k in ("val", "test")})
        division.groups = about.get("groups", "auto")
    path, name, task = place_of(path, name, task)
    source = formats.recognise(path, name, task)
    report = Report(str(path))
    parts = dict(formats.read(source, report))
    parts = {part: content for part, content in parts.items() if pictures_of(content)}
    if not parts:
        raise UserError(f"{path}: no picture has an annotation")
    if source.task == "detection":
        for part, content in parts.items():
            _prepare(content, source, report, part)
    classes = _in_one_order(parts)
    check_case(classes, str(path))
    parts, words = _divide(parts, division)
    return DataSet(source, parts, classes, words, report)


def _prepare(found, source, report, part):
    """Finds the pictures, checks the boxes, and names pictures relative to the data set."""
    if not len(found):
        raise UserError(f"{source.root}: no object in {part or 'the annotations'}; nothing to learn from")
    locate(found, [source.root, *picture_folders(source.root, part)], report)
    check_boxes(found, report, need_masks=False)
    for picture in found.pictures:
        path = picture.path
        assert path is not None
        picture.name = (
            path.relative_to(source.root).as_posix() if path.is_relative_to(source.root) else str(path.resolve())
        )


def picture_folders(root: Path, part: str) -> list[Path]:
    """Folders directly below the root, those that speak of the part first: COCO's names are relative to one of them."""
    found = sorted(place for place in root.iterdir() if place.is_dir())
    deeper = [place for folder in found for place in sorted(folder.iterdir()) if place.is_dir()][:200]
    every = [*found, *deeper]
    return sorted(every, key=lambda place: formats.part_of_file(f"{place.name}.x") != part or not part)


def _in_one_order(parts):
    """The classes of all parts in one order; detection's labels are renumbered to it."""
    order = [part for part in PARTS if part in parts] + [part for part in parts if part not in PARTS]
    classes = list(dict.fromkeys(name for part in order for name in parts[part].classes))
    if any(list(content.classes) != classes for content in parts.values()):
        for content in parts.values():
            places = np.array([classes.index(name) for name in content.classes], np.int64)
            if isinstance(content, Annotations):
                content.label = places[content.label] if len(content) else content.label
                content.category_ids = list(range(1, len(classes) + 1))
            elif isinstance(content, Labelled):
                content.labels = [int(places[label]) for label in content.labels]
            content.classes = list(classes)
    return classes


def check_case(classes: Sequence[str], where: str) -> None:
    """Raises UserError for two class names that differ in upper and lower case alone."""
    seen: dict[str, str] = {}
    for name in classes:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise UserError(
                f"{where}: the classes {other!r} and {name!r} differ in upper and lower case alone; make them one name "
                f"in the annotations"
            )


def _divide(parts, division):
    """({part: content}, in words how the data came to be divided)."""
    if "train" in parts and "val" in parts:
        return {part: parts[part] for part in PARTS if part in parts}, "as the data is divided"
    if "train" in parts and "test" in parts:
        return {"train": parts["train"], "val": parts["test"]}, "as the data is divided; test serves as val"
    if len(parts) > 1:
        raise UserError(f"the data has the parts {' and '.join(map(repr, parts))} and no train; name a folder train")
    (whole,) = parts.values()
    names = pictures_of(whole)
    shares = splitting.shares_of(division.val, division.test, len(names))
    by = "none" if division.groups == "auto" and isinstance(whole, Labelled) else division.groups
    groups, how = splitting.group_names(names, by)
    chosen = splitting.split(groups, _classes_of(whole), shares, division.seed)
    kept = "" if how == "none" else f", {len(set(groups))} groups by {how} kept together"
    words = f"divided {' / '.join(f'{100 * share:.0f}' for share in shares.values())} % by seed {division.seed}{kept}"
    return {name: take(whole, places) for name, places in chosen.items()}, words


def _classes_of(content):
    """The classes on each picture, one entry for each object."""
    if isinstance(content, Annotations):
        rows: list[list[int]] = [[] for _ in content.pictures]
        for picture, label in zip(content.picture.tolist(), content.label.tolist()):
            rows[picture].append(label)
        return rows
    return [[label] for label in content.labels] if isinstance(content, Labelled) else [[] for _ in content.pairs]


def take(content: Any, places: Sequence[int]) -> Any:
    """A copy of `Annotations`, a `MaskSet` or `Labelled` with some of the pictures."""
    if isinstance(content, Annotations):
        return selected(content, places)
    if isinstance(content, MaskSet):
        return replace(content, pairs=[content.pairs[place] for place in places])
    return replace(content, pictures=[content.pictures[i] for i in places], labels=[content.labels[i] for i in places])


def objects_per_class(content: Any, count: int) -> np.ndarray:
    """int (count,): boxes of each class, or pictures of each class; zeros for label pictures."""
    if isinstance(content, Annotations):
        return np.bincount(content.label[~content.crowd], minlength=count)
    if isinstance(content, Labelled):
        return np.bincount(np.array(content.labels, np.int64), minlength=count)
    return np.zeros(count, np.int64)


def in_words(data: DataSet) -> list[str]:
    """What was found, for the user: format, parts with counts, classes."""
    lines = [f"{data.source.root}: {formats.FORMATS[data.source.format].title} ({data.source.evidence}), {data.task}"]
    for part, content in data.parts.items():
        extra = f", {len(content)} boxes" if isinstance(content, Annotations) else ""
        lines.append(f"{part:5} {len(pictures_of(content))} pictures{extra}")
    lines.append(f"{data.division}; {len(data.classes)} classes: {few(data.classes, 12)}")
    if isinstance(next(iter(data.parts.values())), MaskSet):
        lines.append(f"labels: {next(iter(data.parts.values())).facts}")
    return lines


def counts_of(data: DataSet) -> Mapping[str, Mapping[str, int]]:
    """{part: {"pictures": number, "boxes": number for detection}}."""
    return {
        part: {"pictures": len(pictures_of(c)), **({"boxes": len(c)} if isinstance(c, Annotations) else {})}
        for part, c in data.parts.items()
    }


def write_parts(data: DataSet, folder: Path) -> list[Path]:
    """Writes PART.txt, a line for each picture with its label picture or class, and PART.json, boxes as COCO has them.

    Names are relative to `data.source.root`. Returns the files. UserError for a name that a list cannot hold.
    """
    written = []
    for part, content in data.parts.items():
        odd = next((name for name in pictures_of(content) if set("\n\r\t") & set(name)), None)
        if odd is not None:
            raise UserError(
                f"the picture {odd!r} has a tab or a line's end in its name, which a list cannot hold; rename it"
            )
        for name, text in _files_of(part, content):
            with atomic_path(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
            written.append(folder / name)
    return written


def _files_of(part, content):
    """(name, text) of the files of a part."""
    if isinstance(content, Annotations):
        yield f"{part}.txt", "".join(f"{picture.name}\n" for picture in content.pictures)
        yield f"{part}.json", json.dumps(content_of(content), ensure_ascii=False)
    elif isinstance(content, MaskSet):
        yield f"{part}.txt", "".join(f"{picture}\t{label}\n" for picture, label in content.pairs)
    else:
        yield f"{part}.txt", "".join(f"{name}\t{label}\n" for name, label in zip(content.pictures, content.labels))


def place_of(path: str | Path, name: str | None, task: str | None) -> tuple[Path, str | None, str | None]:
    """(folder, format, task) of what the user names: a project of `densebone init` stands for its data set."""
    about = _project(Path(path))
    if about is None:
        return Path(path), name, task
    return Path(about["path"]), name or about.get("format"), task or about.get("task")


def _project(path):
    """What data.yml says, where `path` is a project of `densebone init` or its data.yml; else None."""
    file = path / PROJECT_FILE if path.is_dir() else path
    if file.name != PROJECT_FILE or not file.is_file():
        return None
    text = read_text(file)
    if not text.startswith(PROJECT_MARK):
        return None
    try:
        about = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(about, dict) or not isinstance(about.get("path"), str):
        raise UserError(f"{file} names no path: the folder of the data set; write it anew with densebone init")
    return about


def state_of(root: Path) -> dict[str, int]:
    """Number, bytes and newest time (nanoseconds) of the files below a data set's folder that are no pictures."""
    listing = formats.look(root)
    facts = [os.stat(root / name) for names in listing.files.values() for name in names]
    newest = max((fact.st_mtime_ns for fact in facts), default=0)
    return {"files": len(facts), "bytes": sum(fact.st_size for fact in facts), "newest": newest}


def changed_since(folder: Path) -> str | None:
    """What to say where the annotations changed since `densebone init` wrote a project into a folder; else None."""
    about = _project(folder) if (folder / PROJECT_FILE).is_file() else None
    known = about and about.get("annotations")
    if not about or not isinstance(known, dict) or not Path(about["path"]).is_dir():
        return None
    if state_of(Path(about["path"])) == known:
        return None
    return (
        f"the annotations in {about['path']} changed since densebone init read them; training uses what it read then: "
        f"densebone init {about['path']} -O {folder} --overwrite reads them anew"
    )
