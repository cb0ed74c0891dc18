"""Pascal VOC (Everingham et al., 2010): its classes, its annotations, and the lists of pictures that training reads."""

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ..errors import UserError
from ..system.files import atomic_path

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


def read_list(file: str | Path, root: str | Path) -> list[tuple[Path, Path]]:
    """[(path of the picture, path of its annotation)] from a list of lines "PICTURE XML", relative to `root`.

    Raises:
        UserError: the file is missing or empty, or has a line of another form.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{file} does not exist; write VOC's lists with densebone prepare voc {root}")
    pairs = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        parts = line.split()
        if len(parts) < 2:
            raise UserError(f'{file}, line {number} is {line!r}; "PICTURE XML" is expected, two paths below {root}')
        pairs.append((Path(root, parts[0]), Path(root, parts[1])))
    if not pairs:
        raise UserError(f'{file} lists no pictures; a line "PICTURE XML" for each is expected')
    return pairs


def read_classes(file: str | Path) -> list[str]:
    """The class names in a file with one name per line.

    Raises:
        UserError: the file is missing or empty, has an empty line or a name twice, or lists "background" as a class.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"class names {file} do not exist; one name in each line is expected")
    names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    for number, name in enumerate(names, 1):
        if not name or name == "background" or name in names[: number - 1]:
            what = "is empty" if not name else "is background, which is no class" if name == "background" else "repeats"
            raise UserError(f"{file}, line {number} {what}{f' {name}' if what == 'repeats' else ''}; remove it")
    if not names:
        raise UserError(f"{file} holds no class names; one in each line is expected")
    return names


def read_annotation(file: str | Path) -> tuple[tuple[float, float], list[tuple[str, list[float]]]]:
    """((width, height), [(class, [x1, y1, x2, y2])]) of an annotation, in pixels.

    Raises:
        UserError: the file is missing or is not a VOC annotation.
    """
    try:
        root = ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(f"{file} cannot be read as an annotation of VOC ({error})") from error
    width, height = (_number(root, f"size/{side}", file) for side in ("width", "height"))
    objects = []
    for found in root.findall("object"):
        name = (found.findtext("name") or "").strip()
        objects.append((name, [_number(found, f"bndbox/{side}", file) for side in ("xmin", "ymin", "xmax", "ymax")]))
    return (width, height), objects


def _number(element, path, file):
    text = element.findtext(path)
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{file}: {element.tag}/{path} is {text!r}; a number of pixels is expected")
    return value
