"""Pascal VOC (Everingham et al., 2010): its classes, its annotations, and the lists of pictures that training reads."""

from __future__ import annotations

import math
import os
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..system.files import atomic_path
from .annotations import Annotations, Picture
from .lists import read_pairs, read_text
from .report import Report, few

CLASSES = tuple(
    """
    aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep
    sofa train tvmonitor
    """.split()  # noqa: SIM905
)
LABELS = "label_list.txt"
#: list -> the image sets that it joins: (year, split)
LISTS = {
    "trainval.txt": (("VOC2007", "trainval"), ("VOC2012", "trainval")),
    "test.txt": (("VOC2007", "test"),),
}
DEVKIT = "VOCdevkit"


def write_lists(folder: str | Path) -> dict[str, int]:
    """Writes trainval.txt, test.txt and label_list.txt beside VOCdevkit, in the form that PaddleDetection reads.

    Args:
        folder: holds VOCdevkit/VOC2007 and, optionally, VOCdevkit/VOC2012, as the archives unpack.

    Returns:
        {list: number of pictures}. A list is left out, and not written, when none of its image sets exists.

    Raises:
        UserError: the folder has no VOCdevkit, VOCdevkit has no image sets, or files of an image set are missing.
    """
    folder = Path(folder)
    devkit = folder / DEVKIT
    if not devkit.is_dir():
        raise UserError(
            f"{folder} has no folder {DEVKIT}; unpack VOCtrainval_06-Nov-2007.tar, VOCtest_06-Nov-2007.tar and "
            f"VOCtrainval_11-May-2012.tar there"
        )
    lines = {name: [line for part in parts for line in _lines(devkit, *part)] for name, parts in LISTS.items()}
    if not any(lines.values()):
        raise UserError(f"{devkit} has no VOC2007/ImageSets/Main/trainval.txt or the like; unpack VOC's archives there")
    lines = {name: rows for name, rows in lines.items() if rows}
    for name, rows in {**lines, LABELS: CLASSES}.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return {name: len(rows) for name, rows in lines.items()}


def _lines(devkit, year, split):
    """["PICTURE XML", ...] of one image set, relative to the folder above `devkit`. [] when the set does not exist."""
    names = devkit / year / "ImageSets" / "Main" / f"{split}.txt"
    if not names.is_file():
        return []
    rows = []
    for name in names.read_text(encoding="utf-8").split():
        picture, annotation = (
            Path(year, kind).as_posix() for kind in (f"JPEGImages/{name}.jpg", f"Annotations/{name}.xml")
        )
        for file in (picture, annotation):
            if not (devkit / file).is_file():
                raise UserError(f"{names} names {name}, but {devkit / file} does not exist; unpack its archive again")
        rows.append(f"{DEVKIT}/{picture} {DEVKIT}/{annotation}")
    return rows


def read_list(file: str | Path, root: str | Path) -> list[tuple[str, str]]:
    """[(picture, annotation)] from a list of lines "PICTURE XML", two paths relative to `root`.

    Lines are read as `datasets.lists.read_pairs` does.

    Raises:
        UserError: the file is missing or empty, is not text, or has a line of another form.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{file} does not exist; write VOC's lists with densebone prepare voc {root}")

    def complaint(number, line):
        return f'{file}, line {number} is {line!r}; "PICTURE XML" is expected, two paths below {root}'

    pairs = [(picture, annotation) for _, picture, annotation in read_pairs(file, Path(root), complaint)]
    if not pairs:
        raise UserError(f'{file} lists no pictures; a line "PICTURE XML" for each is expected')
    return pairs


def read_classes(file: str | Path) -> list[str]:
    """The class names in a file with one name per line. Blank lines at the end do not count.

    Raises:
        UserError: the file is missing or empty, has an empty line or a name twice, or lists "background" as a class.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"class names {file} do not exist; one name in each line is expected")
    names = [line.strip() for line in read_text(file).rstrip().splitlines()]
    for number, name in enumerate(names, 1):
        if not name or name == "background" or name in names[: number - 1]:
            what = "is empty" if not name else "is background, which is no class" if name == "background" else "repeats"
            raise UserError(f"{file}, line {number} {what}{f' {name}' if what == 'repeats' else ''}; remove it")
    if not names:
        raise UserError(f"{file} holds no class names; one in each line is expected")
    return names


@dataclass
class Sheet:
    """One annotation file.

    Attributes:
        filename: the picture that it names, or "".
        size: (width, height) in pixels; None where it does not say.
        objects: (class, [left, top, right, bottom] in pixels, difficult). A place that is no number is nan.
    """

    filename: str
    size: tuple[float, float] | None
    objects: list[tuple[str, list[float], bool]]


def read_annotation(file: str | Path) -> Sheet:
    """Reads an annotation. `size` and `difficult` may be missing.

    Raises:
        UserError: the file is missing or is not a VOC annotation.
    """
    try:
        root = ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{file} cannot be read as an annotation of VOC ({error})") from error
    if root.tag != "annotation":
        raise UserError(f"{file} has the root <{root.tag}>; an annotation of VOC begins with <annotation>")
    width, height = (_number(root, f"size/{side}") for side in ("width", "height"))
    objects = []
    for found in root.findall("object"):
        name = " ".join((found.findtext("name") or "").split())
        box = [_number(found, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
        objects.append((name, box, _number(found, "difficult") > 0))
    return Sheet(root.findtext("filename") or "", (width, height) if width > 0 and height > 0 else None, objects)


def _number(element, path):
    try:
        value = float(element.findtext(path))
    except (TypeError, ValueError):
        return math.nan
    return value if math.isfinite(value) else math.nan


def read(list_file: str | Path, root: str | Path, class_file: str | Path, report: Report) -> Annotations:
    """Reads the annotations of a list of pictures. Boxes keep VOC's pixels, whose first one is 1.

    Args:
        list_file: with "PICTURE XML" in each line.
        root: the paths in the list are relative to it.
        class_file: the class names, one in each line.
        report: receives what is left out.

    Raises:
        UserError: a file that cannot be read; an object of a class that `class_file` lacks.
    """
    classes = read_classes(class_file)
    places = {name: place for place, name in enumerate(classes)}
    spelled = {name.casefold(): place for name, place in places.items()}
    pictures: list[Picture] = []
    unlabelled, renamed = [], []
    rows: list[tuple[int, int, list[float], bool, str]] = []
    for name, annotation in read_list(list_file, root):
        path = Path(root, annotation)
        if not os.path.isfile(path):
            unlabelled.append(name)
            continue
        sheet = read_annotation(path)
        if sheet.filename and sheet.filename.rpartition("/")[2].rpartition(".")[0] not in ("", Path(name).stem):
            renamed.append(f"{path} names {sheet.filename}")
        for kind, (left, top, right, bottom), difficult in sheet.objects:
            place = places.get(kind, spelled.get(kind.casefold()))
            if place is None:
                raise UserError(f"{path} has an object {kind!r}; the classes of {class_file} are {few(classes)}")
            rows.append((len(pictures), place, [left, top, right - left, bottom - top], difficult, path.name))
        pictures.append(Picture(len(pictures), name, *(sheet.size or (None, None))))
    if not pictures:
        raise UserError(f"{report.subject}: none of the {len(unlabelled)} annotations that {list_file} lists exists")
    report.drop("pictures whose annotation does not exist, left out", unlabelled)
    report.note("annotations that name another picture than the list, which counts", renamed)
    return Annotations(
        str(list_file),
        pictures,
        classes,
        list(range(len(classes))),
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], float).reshape(-1, 4),
        np.full(len(rows), math.nan),
        np.zeros(len(rows), bool),
        np.array([row[3] for row in rows], bool),
        np.array([f"{classes[row[1]]} in {row[4]}" for row in rows], object),
    )
