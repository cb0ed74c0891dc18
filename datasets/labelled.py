"""Pictures with one label each: from folders of classes, or from lists."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..pictures.finding import EXTENSIONS, is_hidden, is_picture_name
from ..pictures.reading import read_image
from .imagenet import NAMES, SYNSETS


class PictureSet:
    """Pictures and their labels.

    Args:
        pictures: paths, or a uint8 array (N, H, W, 3) in RGB.
        labels: one for each picture, 0 to num_classes - 1.
        classes: the name of each label, where the data says; else None.
        source: where the pictures are, for messages.
    """

    def __init__(
        self,
        pictures: Sequence[str] | np.ndarray,
        labels: Sequence[int] | np.ndarray,
        classes: Sequence[str] | None,
        source: str,
    ):
        self.pictures, self.classes, self.source = pictures, classes, source
        self.labels = np.asarray(labels, np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def in_memory(self) -> bool:
        """Whether the pictures are an array and not files."""
        return isinstance(self.pictures, np.ndarray)

    def read(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3) in RGB; UserError when the file cannot be read."""
        picture = self.pictures[index]
        return picture if isinstance(picture, np.ndarray) else read_image(picture, min_side=1)

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


def class_folders(folder: Path) -> list[str]:
    """Names of the sub-folders, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name))


def read_folders(folder: Path, found: Sequence[str], classes: Sequence[str], num_classes: int, part: str) -> PictureSet:
    """The pictures of class folders. A label is the place of the folder's name among `classes`.

    A part of ImageNet's synsets also serves a network with all 1000 classes.

    Args:
        folder: holds the class folders.
        found: their names.
        classes: the class folders of the training data.
        num_classes: of the network.
        part: "train" or "val". A class without pictures is an error in training only.

    Raises:
        UserError: a folder that is no class; another number of classes; a folder without pictures.
    """
    if unknown := [name for name in found if name not in classes]:
        raise UserError(f"{folder} has the folder {unknown[0]!r}, which is no class of the training pictures")
    places = {name: number for number, name in enumerate(classes)}
    if len(classes) != num_classes:
        if num_classes != len(SYNSETS) or not set(classes) <= set(SYNSETS):
            raise UserError(
                f"{folder} has {len(classes)} classes, and model.num_classes is {num_classes}; set it to "
                f"{len(classes)}, or give a folder with {num_classes} classes"
            )
        places = {name: SYNSETS.index(name) for name in classes}
        classes = SYNSETS
    paths: list[str] = []
    labels: list[int] = []
    for name in found:
        pictures = _pictures_below(folder / name)
        if not pictures and part == "train":
            raise UserError(f"{folder / name} holds no pictures; looked for {' '.join(EXTENSIONS)}")
        paths += pictures
        labels += [places[name]] * len(pictures)
    if not paths:
        raise UserError(f"the folders of {folder} hold no pictures; looked for {' '.join(EXTENSIONS)}")
    return PictureSet(paths, labels, readable(classes), str(folder))


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
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"the list {path} cannot be read as text ({error}); give PATH LABEL in each line") from error
    rows = [(number, line) for number, line in enumerate(lines, 1) if line]
    if not rows:
        raise UserError(f"the list {path} is empty; give PATH LABEL in each line")
    if in_order and all(len(line.split()) == 1 for _, line in rows):
        names = _names_in_order(path, in_order, len(rows))
        rows = [(number, f"{name} {line}") for (number, line), name in zip(rows, names)]
    paths, labels = [], []
    for number, line in rows:
        name, _, text = line.replace("\t", " ").rpartition(" ")
        if not name:
            raise UserError(f"{path}, line {number}: {line!r} is not PATH LABEL, two words with a space between them")
        paths.append(name.strip())
        labels.append(_label(text, num_classes, classes, f"{path}, line {number}"))
    root = next((root for root in roots if (root / paths[0]).is_file()), roots[0])
    return PictureSet([str(root / name) for name in paths], labels, classes and readable(classes), str(path))


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
        return known.index(text)
    if not text.isdecimal() or int(text) >= num_classes:
        raise UserError(f"{where}: the label is {text!r}; a number from 0 to {num_classes - 1} is expected")
    return int(text)
