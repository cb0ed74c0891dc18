"""Pictures sorted into a folder for each class, divided into train, val and test or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from ...errors import UserError
from ..labelled import readable
from ..report import Report
from .listing import Format, Listing, Source, part_of_word


@dataclass
class Labelled:
    """Pictures with a class each.

    Attributes:
        pictures: names relative to the data set, sorted.
        labels: the place of each picture's class in `classes`.
        classes: the names of the folders, sorted.
    """

    pictures: list[str]
    labels: list[int]
    classes: list[str]

    @property
    def titles(self) -> list[str]:
        """The class names in words: ImageNet's synsets are translated."""
        return readable(self.classes)


def recognise(listing: Listing) -> Source | None:
    """Takes a folder whose pictures all lie in sub-folders, at least two, with no annotation beside them."""
    parts: dict[str, dict[str, list[str]]] = {}
    for picture in listing.pictures:
        folders = PurePosixPath(picture).parts[:-1]
        if not folders:
            return None
        part = part_of_word(folders[0])
        if part and len(folders) < 2:
            return None
        parts.setdefault(part, {}).setdefault(folders[1] if part else folders[0], []).append(picture)
    if not parts or ("" in parts and len(parts) > 1) or len({name for part in parts.values() for name in part}) < 2:
        return None
    for folder in listing.folders:
        names = PurePosixPath(folder).parts
        part = part_of_word(names[0])
        if part in parts and len(names) == (2 if part else 1):
            parts[part].setdefault(names[-1], [])
    count = len(listing.pictures)
    return Source("folders", "classification", listing.root, f"{count} pictures in folders of classes", 0, parts)


def read(source: Source, report: Report) -> dict[str, Labelled]:
    """The pictures of each part. UserError for a part with a class that training lacks."""
    parts = source.details
    training = parts.get("train") or parts.get("") or {n: p for part in parts.values() for n, p in part.items()}
    classes = sorted(name for name, pictures in training.items() if pictures)
    report.note("class folders without a picture, passed over", [n for n, pictures in training.items() if not pictures])
    places = {name: place for place, name in enumerate(classes)}
    result = {}
    for part, folders in parts.items():
        for name in folders:
            if name not in places and folders[name]:
                raise UserError(
                    f"{source.root}: {part} has the folder {name!r}, which is no class of the training pictures; these "
                    f"are {', '.join(classes[:8])}"
                )
        pairs = sorted((picture, places[name]) for name, pictures in folders.items() for picture in pictures)
        result[part] = Labelled([picture for picture, _ in pairs], [label for _, label in pairs], classes)
    return result


FORMAT = Format("folders", "folders of classes", "classification", recognise, read)
