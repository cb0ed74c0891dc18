"""YOLO's layout (Darknet, Ultralytics): a text file for each picture, with a line CLASS X Y WIDTH HEIGHT for each box.

X and Y are of the centre; all four are shares of the picture's sides. A line of CLASS and three points or more is a
polygon. Class names are in data.yaml, classes.txt or obj.names.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from ...errors import UserError
from ...pictures.reading import read_header
from ..annotations import Annotations
from ..lists import read_text, rows_of
from ..report import Report, few
from .building import Builder, box_of_points
from .listing import PARTS, Format, Listing, Source, one_part_each, part_of_folder
from .writing import Output

_NAME_FILES = ("classes.txt", "obj.names", "labels.txt", "_darknet.labels")
_LOOKED_AT = 20
_ALIASES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


@dataclass
class _Details:
    """pictures of each part, the class names or None, label file of each picture, the file of names."""

    parts: dict[str, list[str]]
    classes: list[str] | None
    labels: dict[str, str]
    names_file: str


def recognise(listing: Listing) -> Source | None:
    """Takes a folder in which text files of numbers lie beside the pictures, or in `labels` where they are in `images`.

    A data.yaml alone, with `names` and `train`, is enough too.
    """
    described = _description(listing)
    texts = set(listing.files.get(".txt", ()))
    labels = {}
    for picture in listing.pictures:
        found = next((name for name in _label_names(picture) if name in texts), None)
        if found is not None:
            labels[picture] = found
    some = list(labels.values())[:: max(1, len(labels) // _LOOKED_AT)]
    if not some or 2 * sum(_is_label_file(listing.root / name) for name in some) < len(some):
        labels = {}
    if not labels and described is None:
        return None
    names_file, classes, parts = described or _names_beside(listing, texts)
    if parts is None:
        folders = {os.path.dirname(picture) for picture in labels}
        parts = one_part_each([p for p in listing.pictures if os.path.dirname(p) in folders], part_of_folder)
    evidence = f"{len(labels)} label files" + (f", {names_file}" if names_file else "")
    return Source(
        "yolo", "detection", listing.root, evidence, len(labels), _Details(parts, classes, labels, names_file)
    )


def _label_names(picture):
    path = PurePosixPath(picture)
    folders = list(path.parts[:-1])
    for place in range(len(folders) - 1, -1, -1):
        if folders[place] == "images":
            yield PurePosixPath(*folders[:place], "labels", *folders[place + 1 :], f"{path.stem}.txt").as_posix()
    yield path.with_suffix(".txt").as_posix()
    yield (path.parent / "labels" / f"{path.stem}.txt").as_posix()


def _is_label_file(file):
    """Whether every line is a class number and an even count of shares."""
    try:
        lines = [line.split() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        return False
    return all(line[0].isdecimal() and len(line) >= 5 and _are_numbers(line[1:]) for line in lines[:5])


def _are_numbers(words):
    try:
        return all(math.isfinite(float(word)) or True for word in words)
    except ValueError:
        return False


def _description(listing):
    """(file, class names, parts or None) from a data.yaml; None where there is none."""
    for name in sorted(listing.of(".yaml", ".yml"), key=lambda name: (name.count("/"), name)):
        try:
            content = yaml.safe_load(read_text(listing.root / name))
        except (yaml.YAMLError, UserError, RecursionError):
            continue
        if (
            isinstance(content, Mapping)
            and "names" in content
            and any(key in content for key in ("train", "val", "nc"))
        ):
            return name, _names_of(content, listing.root / name), _parts_of(content, listing, name)
    return None


def _names_of(content, file):
    names = content["names"]
    if isinstance(names, Mapping):
        if set(names) != set(range(len(names))):
            raise UserError(f"{file}: the numbers of names are {few(sorted(names, key=str))}; 0, 1, 2, ... is expected")
        names = [names[number] for number in range(len(names))]
    plain = isinstance(names, list) and all(isinstance(name, (str, int, float)) for name in names)
    if not names or not plain:
        shown = repr(names)[:60] if plain else f"a {type(names).__name__}"
        raise UserError(f"{file}: names is {shown}; a list of class names is expected")
    return [" ".join(str(name).split()) for name in names]


def _parts_of(content, listing, name):
    """{part: pictures} as a data.yaml says; None where its folders hold none, as on another machine."""
    base = PurePosixPath(name).parent
    parts = {}
    for part in PARTS:
        given = next((content[key] for key in _ALIASES[part] if content.get(key)), None)
        found = [p for item in (given if isinstance(given, list) else [given] if given else []) for p in
                 _pictures_at(str(item), str(content.get("path") or ""), base, listing)]  # fmt: skip
        if found:
            parts[part] = sorted(dict.fromkeys(found))
    if parts.get("val") == parts.get("train"):  # Ultralytics wants a val, and has none
        parts.pop("val", None)
    return parts or None


def _pictures_at(given, path, base, listing):
    """The listed pictures in a folder or list of a data.yaml, relative to its path, to itself or to neither."""
    given = given.replace("\\", "/")
    tried = [PurePosixPath(base, path, given), PurePosixPath(base, given)]
    parts = PurePosixPath(given).parts
    tried += [PurePosixPath(base, *parts[cut:]) for cut in range(1, len(parts))]
    for place in tried:
        absolute = Path(os.path.normpath(listing.root / place))
        if absolute.is_file() and absolute.suffix == ".txt":
            return _listed(absolute, listing)
        if absolute.is_relative_to(listing.root):
            folder = absolute.relative_to(listing.root).as_posix()
            found = [p for p in listing.pictures if folder == "." or p.startswith(f"{folder}/")]
            if found:
                return found
    return []


def _listed(file, listing):
    known = set(listing.pictures)
    found = []
    for _, line in rows_of(file):
        line = line.replace("\\", "/").removeprefix("./")
        options = [os.path.relpath(os.path.join(place, line), listing.root) for place in (file.parent, listing.root)]
        tail = [p for p in (line.split("/", cut)[-1] for cut in range(line.count("/") + 1)) if p in known]
        found += [next((p for p in options if p in known), tail[0] if tail else line)]
    return found


def _names_beside(listing, texts):
    for name in sorted(texts | set(listing.files.get(".names", ())) | set(listing.files.get(".labels", ()))):
        if PurePosixPath(name).name.casefold() in _NAME_FILES:
            return name, [line for _, line in rows_of(listing.root / name)], None
    return "", None, None


def read(source: Source, report: Report) -> dict[str, Annotations]:
    """Reads the label files. A picture without one has no boxes, as in Ultralytics.

    Raises:
        UserError: a line of another form; a class number that has no name.
    """
    details, without = source.details, []
    classes = details.classes
    if classes is None:
        classes = _numbered(source, details)
        report.note("classes without a name (no data.yaml, no classes.txt)", classes)
    result = {}
    for part, pictures in details.parts.items():
        builder = Builder(str(source.root), classes)
        for name in pictures:
            size = _size(source.root / name)
            place = builder.add_picture(name, *size)
            label = details.labels.get(name) or next(
                (n for n in _label_names(name) if (source.root / n).is_file()), None
            )
            if label is None:
                without.append(name)
                continue
            for number, line in rows_of(source.root / label):
                try:
                    _add_line(builder, place, line.split(), size, source.root / label, number, details.names_file)
                except UserError as error:
                    report.fault(str(error))
        result[part] = builder.build()
    report.note("pictures without a label file, taken as without objects", without)
    return result


def _numbered(source, details):
    last = -1
    for label in details.labels.values():
        for number, line in rows_of(source.root / label):
            word = line.split()[0]
            if not word.isdecimal():
                raise _wrong(source.root / label, number, line)
            last = max(last, int(word))
    return [f"class {number}" for number in range(last + 1)]


def _size(path):
    try:
        return read_header(path).shown
    except UserError:  # named where all pictures are looked at
        return None, None


def _wrong(file, number, line):
    return UserError(
        f"{file}, line {number} is {line!r}; CLASS X Y WIDTH HEIGHT is expected, or CLASS and the points of a polygon"
    )


def _add_line(builder, place, words, size, file, number, names_file):
    if not words[0].isdecimal() or len(words) < 5 or not len(words) % 2 or not _are_numbers(words[1:]):
        raise _wrong(file, number, " ".join(words))
    label = int(words[0])
    if label >= len(builder.classes):
        raise UserError(
            f"{file}, line {number} has class {label}; {names_file or 'the data'} has "
            f"{len(builder.classes)} classes, 0 to {len(builder.classes) - 1}"
        )
    width, height = (math.nan if side is None else side for side in size)
    values = [float(word) * (height if i % 2 else width) for i, word in enumerate(words[1:])]
    mask = None
    if len(words) == 5:
        x, y, w, h = values
        box = [x - w / 2, y - h / 2, w, h]
    else:
        box, mask = box_of_points(values), [values]
    builder.add(place, label, box, f"line {number} of {file.name}", mask)


def write(parts: Mapping[str, Annotations], output: Output) -> None:
    """Writes images/PART, labels/PART and data.yaml. A mask of one polygon becomes a polygon, others their box."""
    classes: list[str] = []
    where: dict[str, Any] = {}
    for part, found in parts.items():
        classes = found.classes
        where[part or "train"] = f"images/{part or 'train'}"
        for picture, boxes in output.by_picture(found):
            name = output.picture(picture, f"images/{part or 'train'}")
            label = PurePosixPath("labels", *PurePosixPath(name).parts[1:]).with_suffix(".txt")
            lines = [_line(found, box, picture) for box in boxes]
            output.text(str(label), "".join(f"{line}\n" for line in lines))
    if "val" not in where:
        where["val"] = where["train"]
    names = dict(enumerate(classes))
    output.text(
        "data.yaml", yaml.safe_dump({"path": ".", **where, "names": names}, sort_keys=False, allow_unicode=True)
    )


def _line(found, index, picture):
    sides = picture.width, picture.height
    mask = found.masks[index] if found.masks is not None else None
    if isinstance(mask, list) and len(mask) == 1:
        values = [value / sides[i % 2] for i, value in enumerate(mask[0])]
    else:
        left, top, width, height = found.boxes[index]
        values = [(left + width / 2) / sides[0], (top + height / 2) / sides[1], width / sides[0], height / sides[1]]
    return " ".join([str(found.label[index]), *(f"{value:.8g}" for value in values)])


FORMAT = Format("yolo", "YOLO", "detection", recognise, read, write, ("masks",))
