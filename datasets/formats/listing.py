"""One look at a folder: its files by kind, and the part of a data set that a name speaks of."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ...errors import UserError
from ...pictures.finding import is_hidden, is_picture_name

PARTS = ("train", "val", "test")
#: the first line of the file that `densebone init` writes; a folder that holds it is no part of a data set
PROJECT_FILE, PROJECT_MARK = "data.yml", "# written by densebone init"
_WORDS = {
    "train": "train", "training": "train", "trainval": "train", "trn": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "eval": "val",
    "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip


@dataclass
class Listing:
    """The files below a folder.

    Attributes:
        root: the folder.
        pictures: paths relative to `root` with slashes, sorted.
        folders: such paths of the folders, sorted.
        files: extension in lower case, such as ".json" -> such paths of the other files, sorted.
        given: the annotation file that the user named in place of a folder, relative to `root`; else None.
    """

    root: Path
    pictures: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    files: dict[str, list[str]] = field(default_factory=dict)
    given: str | None = None

    def of(self, *extensions: str) -> list[str]:
        """The files with these extensions; where the user named a file, that one alone."""
        if self.given is not None:
            return [self.given] if self.given.lower().endswith(extensions) else []
        return sorted(name for extension in extensions for name in self.files.get(extension, ()))


def look(path: str | Path) -> Listing:
    """Lists a folder, or that of an annotation file, without hidden folders and projects of `densebone init`.

    Raises:
        UserError: there is no such folder or file.
    """
    path = Path(path).expanduser()
    given = path.name if path.is_file() else None
    root = path.parent if given else path
    result = _look(path, root, given)
    if given and not result.pictures and root.resolve().parent != root.resolve():  # annotations/train.json
        result = _look(path, root.resolve().parent, f"{root.resolve().name}/{given}")
    return result


def _look(path, root, given):
    if not root.is_dir():
        raise UserError(f"{path} does not exist; give the folder of your pictures and annotations, or its main file")
    result, seen = Listing(root, given=given), set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen or (place != str(root) and _is_project(place)):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        below = Path(place).relative_to(root)
        result.folders += [(below / name).as_posix() for name in folders]
        for name in sorted(names):
            if is_hidden(name):
                continue
            relative = (below / name).as_posix()
            if is_picture_name(name):
                result.pictures.append(relative)
            else:
                result.files.setdefault(os.path.splitext(name)[1].lower(), []).append(relative)
    result.pictures.sort()
    result.folders.sort()
    return result


def _is_project(folder):
    file = Path(folder, PROJECT_FILE)
    try:
        with open(file, encoding="utf-8") as stream:
            return stream.readline().startswith(PROJECT_MARK)
    except (OSError, UnicodeDecodeError):
        return False


def part_of_word(word: str) -> str:
    """The part that a word means: "train", "val", "test", or "" for none."""
    return _WORDS.get(word.casefold(), "")


def part_of_folder(name: str) -> str:
    """The part that a path's folders name, the last one that does: "images/train/a.jpg" is "train"; else ""."""
    for folder in reversed(PurePosixPath(name).parts[:-1]):
        if part := part_of_word(folder):
            return part
    return ""


def part_of_file(name: str) -> str:
    """The part that a file's name speaks of, or its folders: "instances_train2017.json" is "train"; else ""."""
    for word in re.split(r"[^a-z]+", PurePosixPath(name).stem.casefold()):
        if part := part_of_word(word):
            return part
    return part_of_folder(name)


@dataclass
class Source:
    """A data set that was recognised.

    Attributes:
        format: a name of `datasets.formats.FORMATS`.
        task: "detection", "segmentation" or "classification".
        root: the folder that names of pictures are relative to.
        evidence: why it is taken for this format, such as "300 label files, data.yaml".
        files: how many annotation files speak for it; decides between formats.
        details: what the format's `read` needs.
    """

    format: str
    task: str
    root: Path
    evidence: str
    files: int
    details: Any = None


@dataclass(frozen=True)
class Format:
    """One format of annotations.

    Attributes:
        name: for `--format` and `--to`.
        title: for messages.
        task: as of `Source`.
        recognise: listing -> `Source`, or None.
        read: (source, report) -> {part: content}, where part "" is for data that is not divided.
        write: see `datasets.formats.converting`; None where nothing is written in it.
        holds: what it can hold besides boxes: "masks", "crowd", "difficult", "sizes".
    """

    name: str
    title: str
    task: str
    recognise: Callable[[Listing], Source | None]
    read: Callable[..., dict[str, Any]]
    write: Callable[..., None] | None = None
    holds: tuple[str, ...] = ()


def one_part_each(names: list[str], part_of: Callable[[str], str] = part_of_file) -> dict[str, list[str]]:
    """{part: names}. Where some name says no part, none counts: all are of part ""."""
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(part_of(name), []).append(name)
    return {"": list(names)} if "" in parts else parts
