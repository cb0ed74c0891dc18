"""Pictures with one label each: from folders of classes, or from lists."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL.Image import Image, fromarray

from ..errors import UserError
from ..pictures.finding import EXTENSIONS, is_hidden, is_picture_name
from ..pictures.reading import read_picture
from .imagenet import NAMES, SYNSETS
from .lists import rows_of, unquoted
from .names import match_names
from .report import Report, few


class PictureSet:
    """Pictures and their labels.

    Args:
        pictures: paths, or a uint8 array (N, H, W, 3) in RGB.
        labels: one for each picture, 0 to num_classes - 1.
        classes: the name of each label, where the data says; else None.
        source: where the pictures are, for messages.
        folders: the class folder of each label, where there are some; else None.
    """

    def __init__(
        self,
        pictures: Sequence[str] | np.ndarray,
        labels: Sequence[int] | np.ndarray,
        classes: Sequence[str] | None,
        source: str,
        folders: Sequence[str] | None = None,
    ):
        self.pictures, self.classes, self.source, self.folders = pictures, classes, source, folders
        self.labels = np.asarray(labels, np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def in_memory(self) -> bool:
        """Whether the pictures are an array and not files."""
        return isinstance(self.pictures, np.ndarray)

    def read(self, index: int) -> Image:
        """A Pillow picture in RGB; UserError when the file cannot be read."""
        picture = self.pictures[index]
        return fromarray(picture) if isinstance(picture, np.ndarray) else read_picture(picture, min_side=1)

    def name(self, index: int) -> str:
        """What messages call a picture: its path, or its number."""
        return f"picture {index} of {self.source}" if self.in_memory else str(self.pictures[index])


def readable(classes: Sequence[str]) -> list[str]:
    """Class names in words: ImageNet's synsets, such as "n01440764", are translated, other names stay."""
    words = dict(zip(SYNSETS, NAMES))
    return [words.get(name, name) for name in classes]


def check_folder(folder: Path) -> None:
    """Raises UserError unless the folder exists."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give the data set's folder with --data or root:")


def class_folders(folder: Path, most: int | None = None) -> list[str]:
    """Names of the sub-folders, sorted, without hidden ones.

    Args:
        folder: holds the class folders.
        most: how many classes there should be. Where there are more folders, those without pictures do not count.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name))
    return names if most is None or len(names) <= most else [n for n in names if has_pictures(folder / n)]


def has_pictures(folder: Path) -> bool:
    """Whether there is a picture in a folder or below it."""
    return any(is_picture_name(name) for _, _, names in os.walk(folder, followlinks=True) for name in names)


def read_folders(
    folder: Path, found: Sequence[str], classes: Sequence[str], num_classes: int, part: str, report: Report
) -> PictureSet:
    """The pictures of class folders. A label is the place of the folder's name among `classes`.

    Names are matched as `datasets.names.match_names` does, and a synset by its name in words too. A part of ImageNet's
    synsets also serves a network with all 1000 classes.

    Args:
        folder: holds the class folders.
        found: their names.
        classes: the class folders of the training data, or what the network was trained on.
        num_classes: of the network.
        part: "train" or "val". A folder that is no class is an error in training; in evaluation it is left out.
        report: receives what is left out.

    Raises:
        UserError: no folder is a class; another number of classes; no picture at all.
    """
    keys = list(classes)
    if len(classes) != num_classes:
        if num_classes != len(SYNSETS) or not set(classes) <= set(SYNSETS):
            raise UserError(
                f"{folder} has {len(classes)} classes, and model.num_classes is {num_classes}; set it to "
                f"{len(classes)}, or give a folder with {num_classes} classes"
            )
        keys = list(SYNSETS)
    places = _places(found, keys)
    unknown = [name for name, place in zip(found, places) if place is None]
    if unknown and (part == "train" or len(unknown) == len(found)):
        raise UserError(
            f"{folder} has the folder {unknown[0]!r}, which is no class of the training pictures; these are {few(keys)}"
        )
    paths: list[str] = []
    labels: list[int] = []
    for name, place in zip(found, places):
        pictures = _pictures_below(folder / name)
        if place is None:
            report.drop(f"pictures of {name!r}, which is no class of the training pictures, left out", pictures)
            continue
        paths += pictures
        labels += [place] * len(pictures)
    if not paths:
        raise UserError(f"the folders of {folder} hold no pictures; looked for {' '.join(EXTENSIONS)}")
    respelled = [f"{a} is {keys[p]}" for a, p in zip(found, places) if p is not None and a != keys[p]]
    report.note("folders that are taken for a class by another spelling", respelled)
    return PictureSet(paths, labels, readable(keys), str(folder), keys)


def _places(found, keys):
    """The place of each folder among the classes, by its name or by its name in words; None where there is none."""
    places = match_names(found, keys)
    in_words = match_names(readable(found), readable(keys))
    return [place if place is not None else other for place, other in zip(places, in_words)]


def _pictures_below(folder):
    """The pictures in a class folder and below it; hidden folders inside are searched too."""
    walk = os.walk(folder, followlinks=True)
    return sorted(os.path.join(place, name) for place, _, names in walk for name in names if is_picture_name(name))


def read_list(
    path: Path,
    roots: Sequence[Path],
    num_classes: int,
    classes: Sequence[str] | None,
    in_order: Path | None = None,
) -> PictureSet:
    """The pictures of a text file with "PATH LABEL" in each line.

    Args:
        path: the list.
        roots: paths in the list are relative to the first of these folders that holds the first picture.
        num_classes: of the network.
        classes: the class folders of the training data, which may stand in the place of numbers; or None.
        in_order: a folder whose pictures, sorted by name, belong to lines that hold a label alone; or None.

    Raises:
        UserError: the list cannot be read, is empty, or has a line of another form.
    """
    rows = rows_of(path)
    if not rows:
        raise UserError(f"the list {path} is empty; give PATH LABEL in each line")
    if in_order and all(len(line.split()) == 1 for _, line in rows):
        names = _names_in_order(path, in_order, len(rows))
        rows = [(number, f"{name} {line}") for (number, line), name in zip(rows, names)]
    paths, labels = [], []
    for number, line in rows:
        name, text = _parted(line)
        if not name:
            raise UserError(f"{path}, line {number}: {line!r} is not PATH LABEL, two words with a space between them")
        paths.append(name)
        labels.append(_label(text, num_classes, classes, f"{path}, line {number}"))
    root = next((root for root in roots if os.path.isfile(root / paths[0])), roots[0])
    return PictureSet([str(root / name) for name in paths], labels, classes and readable(classes), str(path))


def _parted(line):
    """(name, label) of a line: what stands before and after the last tab, comma, semicolon or space."""
    parts = re.match(r"(.*?)\s*(?:[\t,;]|\s)\s*(\"[^\"]*\"|[^\t,;\s]+)$", line)
    return (unquoted(parts[1]), unquoted(parts[2])) if parts else ("", line)


def _names_in_order(path, folder, count):
    names = sorted(name for name in os.listdir(folder) if is_picture_name(name))
    if len(names) != count:
        raise UserError(
            f"{path} has {count} lines of one word, and {folder} has {len(names)} pictures; one each is due"
        )
    return names


def _label(text, num_classes, classes, where):
    known = classes if classes and len(classes) == num_classes else SYNSETS if num_classes == len(SYNSETS) else ()
    if text in known:
        return list(known).index(text)
    if not text.isdecimal() or int(text) >= num_classes:
        raise UserError(
            f"{where}: the label is {text!r}; a number from 0 to {num_classes - 1} is expected (the first class is 0)"
        )
    return int(text)
