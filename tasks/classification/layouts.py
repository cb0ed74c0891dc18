"""The layouts of labelled pictures that are read, each the block of a configuration: what is in them, what is wrong."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...datasets.cifar import read_cifar, read_names
from ...datasets.imagenet import NAMES, SYNSETS
from ...errors import UserError
from ...pictures.finding import EXTENSIONS
from ...pictures.reading import read_image
from .schema import setting

_FLAT_LISTS = ("val.txt", "val_list.txt")


class PictureSet:
    """Pictures and their labels.

    Args:
        pictures (sequence): paths, or an array uint8 (N, H, W, 3), red-green-blue.
        labels (sequence of int): 0 to num_classes - 1.
        classes (list of str | None): the name of each label, where the data says.
        source (str): where they are, for messages.
    """

    def __init__(self, pictures, labels, classes, source):
        self.pictures, self.classes, self.source = pictures, classes, source
        self.labels = np.asarray(labels, np.int64)

    def __len__(self):
        return len(self.labels)

    @property
    def in_memory(self):
        """Whether the pictures are an array and no files."""
        return isinstance(self.pictures, np.ndarray)

    def read(self, index):
        """uint8 (H, W, 3), red-green-blue; UserError when the file cannot be read."""
        return self.pictures[index] if self.in_memory else read_image(self.pictures[index], min_side=1)

    def name(self, index):
        """What a picture is called in messages: its path, or its number."""
        return f"picture {index} of {self.source}" if self.in_memory else str(self.pictures[index])


# layouts


@dataclass(kw_only=True)
class Folder:
    """A folder for each class, in the order of their names, with pictures in it and below.

    Attributes:
        root (str): the folder.
        part (str | None): the sub-folder of root that holds the classes' folders, such as "train".
    """

    root: str = setting("text")
    part: str | None = setting("text", None)

    def class_folders(self, part):
        """Names of the classes' folders, sorted; None when there is no such folder."""
        place = self._place(part)
        return _sub_folders(place) if place.is_dir() else None

    def class_names(self):
        """The names of the classes in words; None when the folder is not there."""
        folders = self.class_folders("train")
        return folders and readable(folders)

    def _place(self, part):
        return Path(self.root) / (self.part or "")

    def open(self, part, num_classes, classes=None):
        """The PictureSet; `classes` are the folders that training has, when they are known."""
        place = self._place(part)
        _check_folder(place)
        found = _sub_folders(place)
        if not found:
            raise UserError(f"{place} has no folders; a folder for each class is expected, with its pictures in it")
        return _of_folders(place, found, classes or found, num_classes, part)


@dataclass(kw_only=True)
class ImageNetFolder(Folder):
    """ImageNet as it is unpacked: root/train/SYNSET/..., root/val/SYNSET/... or all of root/val with a list.

    Attributes:
        root (str): the folder.
        part (str | None): in place of "train" and "val".
        list (str | None): for a val folder without classes' folders: a file with "NAME LABEL" in each line, or one
            synset in each line for the pictures in the order of their names; default: val.txt or val_list.txt in root.
    """

    list: str | None = setting("text", None)

    def class_folders(self, part):
        """Names of the training classes' folders, else of this part's."""
        return super().class_folders("train") or super().class_folders(part) or None

    def _place(self, part):
        return Path(self.root) / (self.part or part)

    def open(self, part, num_classes, classes=None):
        """The PictureSet."""
        place = self._place(part)
        _check_folder(place)
        classes = classes or self.class_folders(part)
        if _sub_folders(place):
            return super().open(part, num_classes, classes)
        lists = [self.list] if self.list else [Path(self.root) / name for name in _FLAT_LISTS]
        for path in map(Path, lists):
            if path.is_file():
                return _of_list(path, (place, Path(self.root)), num_classes, classes, in_order=place)
        raise UserError(
            f"{place} has no folders of classes, and there is no {' or '.join(map(str, lists))} that says which "
            f"picture is of which class; give list:"
        )


@dataclass(kw_only=True)
class ListFile:
    """A text file with "PATH LABEL" in each line; the label is a number from 0 on.

    Attributes:
        list (str): the file.
        root (str | None): the folder from which the paths are; default: the list's own.
    """

    list: str = setting("text")
    root: str | None = setting("text", None)

    def class_folders(self, part):
        """None: a list has no folders."""

    def class_names(self):
        """None: a list has no names of classes."""

    def open(self, part, num_classes, classes=None):
        """The PictureSet. Without such a file, `list` is looked for below `root`."""
        path = Path(self.list)
        if self.root and not path.is_file() and (Path(self.root) / path).is_file():
            path = Path(self.root) / path
        if not path.is_file():
            raise UserError(f"the list {path} does not exist; give a text file with PATH LABEL in each line")
        return _of_list(path, (Path(self.root) if self.root else path.parent,), num_classes, classes)


@dataclass(kw_only=True)
class Cifar10:
    """CIFAR-10; `root` is the archive, the folder that was unpacked from it, or a folder that holds one of them."""

    root: str = setting("text")
    count = 10

    def class_folders(self, part):
        """None: CIFAR has no folders."""

    def class_names(self):
        """The names that the archive has; None when it is not there."""
        try:
            return read_names(self.root, self.count)
        except UserError:
            return None

    def open(self, part, num_classes, classes=None):
        """The PictureSet, in memory."""
        pictures, labels, names = read_cifar(self.root, self.count, part)
        if num_classes != self.count:
            raise UserError(f"CIFAR-{self.count} has {self.count} classes; set model.num_classes to {self.count}")
        return PictureSet(pictures, labels, names, f"{self.root} ({part})")


@dataclass(kw_only=True)
class Cifar100(Cifar10):
    """CIFAR-100, with its 100 fine labels; `root` as for CIFAR-10."""

    count = 100


DATASETS = {cls.__name__: cls for cls in (ImageNetFolder, ListFile, Folder, Cifar10, Cifar100)}


def _check_folder(place):
    if not place.is_dir():
        raise UserError(f"there is no folder {place}; give the data set's folder with --data or root:")


def _sub_folders(place):
    with os.scandir(place) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _of_folders(place, found, classes, num_classes, part):
    """The pictures of the folders `found` in `place`, with labels by their places among `classes`."""
    if unknown := [name for name in found if name not in classes]:
        raise UserError(f"{place} has the folder {unknown[0]!r}, which is no class of the training pictures")
    places = {name: number for number, name in enumerate(classes)}
    if len(classes) != num_classes:
        if num_classes != len(SYNSETS) or not set(classes) <= set(SYNSETS):
            raise UserError(
                f"{place} has {len(classes)} classes, and model.num_classes is {num_classes}; set it to "
                f"{len(classes)}, or give a folder with {num_classes} classes"
            )
        places = {name: SYNSETS.index(name) for name in classes}  # a part of ImageNet, for a network of all of it
        classes = list(SYNSETS)
    paths, labels = [], []
    for name in found:
        pictures = _pictures_below(place / name)
        if not pictures and part == "train":
            raise UserError(f"{place / name} holds no pictures; looked for {' '.join(EXTENSIONS)}")
        paths += pictures
        labels += [places[name]] * len(pictures)
    if not paths:
        raise UserError(f"the folders of {place} hold no pictures; looked for {' '.join(EXTENSIONS)}")
    return PictureSet(paths, labels, readable(classes), str(place))


def _pictures_below(folder):
    return sorted(
        os.path.join(place, name)
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(EXTENSIONS) and not name.startswith(".")
    )


def readable(classes):
    """Names of classes; those that are synsets of ImageNet, such as "n01440764", become words."""
    words = dict(zip(SYNSETS, NAMES))
    return [words.get(name, name) for name in classes]


def _of_list(path, roots, num_classes, classes, in_order=None):
    """The pictures of a list; names in it are from the first of `roots` where the first of them is. Lines of one word
    are the labels of the pictures in the folder `in_order`, if there is one."""
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
    names = sorted(name for name in os.listdir(folder) if name.lower().endswith(EXTENSIONS))
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
