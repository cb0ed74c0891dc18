"""The data sets that a classification configuration can name, each a block with its own keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...datasets.cifar import read_cifar, read_names
from ...datasets.labelled import PictureSet, check_folder, class_folders, read_folders, read_list, readable
from ...datasets.report import Report
from ...errors import UserError
from .schema import setting

_FLAT_LISTS = ("val.txt", "val_list.txt")


@dataclass(kw_only=True)
class Folder:
    """A folder for each class, in the order of their names, with pictures in it and below.

    Attributes:
        root: the folder.
        part: the sub-folder of root that holds the class folders, such as "train".
    """

    root: str = setting("text")
    part: str | None = setting("text", None)

    def class_folders(self, part: str, most: int | None = None) -> Sequence[str] | None:
        """Names of the class folders, as `datasets.labelled.class_folders`; None when there is no such folder."""
        place = self._place(part)
        return class_folders(place, most) if place.is_dir() else None

    def class_names(self, most: int | None = None) -> Sequence[str] | None:
        """The class names in words; None when the folder does not exist."""
        folders = self.class_folders("train", most)
        return folders and readable(folders)

    def _place(self, part):
        return Path(self.root) / (self.part or "")

    def open(
        self, part: str, num_classes: int, classes: Sequence[str] | None = None, report: Report | None = None
    ) -> PictureSet:
        """Reads the data set.

        Args:
            part: "train" or "val".
            num_classes: of the network.
            classes: the class folders of training, or what the network was trained on, where that is known.
            report: receives what is left out.
        """
        place = self._place(part)
        check_folder(place)
        found = class_folders(place, num_classes)
        if not found:
            raise UserError(f"{place} has no folders; a folder for each class is expected, with its pictures in it")
        report = Report(f"{part}_dataset") if report is None else report
        return read_folders(place, found, classes or found, num_classes, part, report)


@dataclass(kw_only=True)
class ImageNetFolder(Folder):
    """ImageNet as it is unpacked: root/train/SYNSET/..., and root/val/SYNSET/... or all of root/val with a list.

    Attributes:
        root: the folder.
        part: the sub-folder to read, in place of "train" and "val".
        list: for a val folder without class folders: a file with "NAME LABEL" in each line, or with one synset in each
            line for the pictures in the order of their names. None takes val.txt or val_list.txt in root.
    """

    list: str | None = setting("text", None)

    def class_folders(self, part: str, most: int | None = None) -> Sequence[str] | None:
        """Names of the training class folders, else of this part's."""
        return super().class_folders("train", most) or super().class_folders(part, most) or None

    def _place(self, part):
        return Path(self.root) / (self.part or part)

    def open(
        self, part: str, num_classes: int, classes: Sequence[str] | None = None, report: Report | None = None
    ) -> PictureSet:
        """Reads the data set."""
        place = self._place(part)
        check_folder(place)
        classes = classes or self.class_folders(part, num_classes)
        if class_folders(place):
            return super().open(part, num_classes, classes, report)
        lists = [self.list] if self.list else [Path(self.root) / name for name in _FLAT_LISTS]
        for path in map(Path, lists):
            if path.is_file():
                return read_list(path, (place, Path(self.root)), num_classes, classes, in_order=place)
        raise UserError(
            f"{place} has no folders of classes, and there is no {' or '.join(map(str, lists))} that says which "
            f"picture is of which class; give list:"
        )


@dataclass(kw_only=True)
class ListFile:
    """A text file with "PATH LABEL" in each line. Labels are numbers from 0 on.

    Attributes:
        list: the file.
        root: the folder that the paths are relative to; None takes the list's own folder.
    """

    list: str = setting("text")
    root: str | None = setting("text", None)

    def class_folders(self, part: str, most: int | None = None) -> None:
        """None: a list has no class folders."""

    def class_names(self, most: int | None = None) -> None:
        """None: a list has no class names."""

    def open(
        self, part: str, num_classes: int, classes: Sequence[str] | None = None, report: Report | None = None
    ) -> PictureSet:
        """Reads the data set. Where there is no such file, `list` is looked for below `root`."""
        path = Path(self.list)
        if self.root and not path.is_file() and (Path(self.root) / path).is_file():
            path = Path(self.root) / path
        if not path.is_file():
            raise UserError(f"the list {path} does not exist; give a text file with PATH LABEL in each line")
        return read_list(path, (Path(self.root) if self.root else path.parent,), num_classes, classes)


@dataclass(kw_only=True)
class Cifar10:
    """CIFAR-10. `root` is the archive, the folder that was unpacked from it, or a folder that holds one of them."""

    root: str = setting("text")
    count = 10

    def class_folders(self, part: str, most: int | None = None) -> None:
        """None: CIFAR has no class folders."""

    def class_names(self, most: int | None = None) -> Sequence[str] | None:
        """The names in the archive; None when it does not exist."""
        try:
            return read_names(self.root, self.count)
        except UserError:
            return None

    def open(
        self, part: str, num_classes: int, classes: Sequence[str] | None = None, report: Report | None = None
    ) -> PictureSet:
        """Reads the data set into memory."""
        pictures, labels, names = read_cifar(self.root, self.count, part)
        if num_classes != self.count:
            raise UserError(f"CIFAR-{self.count} has {self.count} classes; set model.num_classes to {self.count}")
        return PictureSet(pictures, labels, names, f"{self.root} ({part})")


@dataclass(kw_only=True)
class Cifar100(Cifar10):
    """CIFAR-100 with its 100 fine labels. `root` as for CIFAR-10."""

    count = 100


DATASETS = {cls.__name__: cls for cls in (ImageNetFolder, ListFile, Folder, Cifar10, Cifar100)}
