"""Cityscapes (Cordts et al., 2016): its labels, its file names, and the label pictures that training reads.

A label has an `id`, which the label pictures and the evaluation server use, and a train id: 0 to 18 for the classes
that are scored, 255 for everything that training and scoring ignore. The numbers and the names of files and folders are
those of cityscapesScripts 2.3.0.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import UserError
from ..pictures.reading import open_picture, whole_pictures
from ..system.files import atomic_path
from ..system.progress import Progress

IGNORED = 255  # train id of everything that is not scored
UNLABELED = 0  # the id that IGNORED becomes when train ids are turned back into ids

IMAGES, LABEL_PICTURES = "leftImg8bit", "gtFine"  # the two folders of the data set
SPLITS = ("train", "val", "test")
# The files in gtFine for every picture. The published archive lacks labelTrainIds.
KINDS = {
    "labelIds": ".png",  # 8-bit gray: ids
    "instanceIds": ".png",  # 16-bit gray: id * 1000 + number of the instance, or the id alone
    "color": ".png",  # RGBA
    "polygons": ".json",
    "labelTrainIds": ".png",  # 8-bit gray: train ids
}


@dataclass(frozen=True)
class Label:
    """One row of the table. Evaluation skips `ignored` labels."""

    name: str
    id: int
    train_id: int
    category: str
    has_instances: bool
    ignored: bool
    colour: tuple[int, int, int]  # red, green, blue


_TABLE = (
    ("unlabeled", 0, 255, "void", (0, 0, 0)),
    ("ego vehicle", 1, 255, "void", (0, 0, 0)),
    ("rectification border", 2, 255, "void", (0, 0, 0)),
    ("out of roi", 3, 255, "void", (0, 0, 0)),
    ("static", 4, 255, "void", (0, 0, 0)),
    ("dynamic", 5, 255, "void", (111, 74, 0)),
    ("ground", 6, 255, "void", (81, 0, 81)),
    ("road", 7, 0, "flat", (128, 64, 128)),
    ("sidewalk", 8, 1, "flat", (244, 35, 232)),
    ("parking", 9, 255, "flat", (250, 170, 160)),
    ("rail track", 10, 255, "flat", (230, 150, 140)),
    ("building", 11, 2, "construction", (70, 70, 70)),
    ("wall", 12, 3, "construction", (102, 102, 156)),
    ("fence", 13, 4, "construction", (190, 153, 153)),
    ("guard rail", 14, 255, "construction", (180, 165, 180)),
    ("bridge", 15, 255, "construction", (150, 100, 100)),
    ("tunnel", 16, 255, "construction", (150, 120, 90)),
    ("pole", 17, 5, "object", (153, 153, 153)),
    ("polegroup", 18, 255, "object", (153, 153, 153)),
    ("traffic light", 19, 6, "object", (250, 170, 30)),
    ("traffic sign", 20, 7, "object", (220, 220, 0)),
    ("vegetation", 21, 8, "nature", (107, 142, 35)),
    ("terrain", 22, 9, "nature", (152, 251, 152)),
    ("sky", 23, 10, "sky", (70, 130, 180)),
    ("person", 24, 11, "human", (220, 20, 60)),
    ("rider", 25, 12, "human", (255, 0, 0)),
    ("car", 26, 13, "vehicle", (0, 0, 142)),
    ("truck", 27, 14, "vehicle", (0, 0, 70)),
    ("bus", 28, 15, "vehicle", (0, 60, 100)),
    ("caravan", 29, 255, "vehicle", (0, 0, 90)),
    ("trailer", 30, 255, "vehicle", (0, 0, 110)),
    ("train", 31, 16, "vehicle", (0, 80, 100)),
    ("motorcycle", 32, 17, "vehicle", (0, 0, 230)),
    ("bicycle", 33, 18, "vehicle", (119, 11, 32)),
    ("license plate", -1, -1, "vehicle", (0, 0, 142)),  # exists only as polygons: no pixel has this id
)


def _label(name: str, number: int, train_id: int, category: str, colour: tuple[int, int, int]) -> Label:
    """Derives the other columns: people and vehicles have instances, labels without a train id are ignored."""
    has_instances = category in ("human", "vehicle") and number >= 0
    return Label(name, number, train_id, category, has_instances, train_id in (-1, IGNORED), colour)


def _lookup(default: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Read-only array (256,) with the (index, value) pairs filled in, and `default` elsewhere."""
    result = np.full(256, default, np.uint8)
    for index, value in pairs:
        result[index] = value
    result.setflags(write=False)
    return result


LABELS = tuple(_label(*row) for row in _TABLE)
BY_NAME = {label.name: label for label in LABELS}
_PICTURED = [label for label in LABELS if label.id >= 0]
_CLASSES = sorted((label for label in _PICTURED if not label.ignored), key=lambda label: label.train_id)

CLASS_NAMES = tuple(label.name for label in _CLASSES)  # the 19 that are scored, by train id
PALETTE = np.array([label.colour for label in _CLASSES], np.uint8)  # (19, 3), by train id
PALETTE.setflags(write=False)
IDS = tuple(label.id for label in _PICTURED)  # what a pixel of labelIds may hold
# (256,) uint8 each. Values that the table lacks become IGNORED, and IGNORED becomes UNLABELED.
TRAIN_ID_OF_ID = _lookup(IGNORED, [(label.id, label.train_id) for label in _PICTURED])
ID_OF_TRAIN_ID = _lookup(UNLABELED, [(label.train_id, label.id) for label in _CLASSES])


def frame_name(city: str, sequence: int, frame: int) -> str:
    """The common prefix of all files of one picture: ("aachen", 0, 19) -> "aachen_000000_000019"."""
    return f"{city}_{sequence:06d}_{frame:06d}"


def image_file(split: str, name: str) -> Path:
    """Path of a picture, relative to the folder of the data set. `name` is a `frame_name`."""
    return Path(IMAGES, split, name.split("_")[0], f"{name}_{IMAGES}.png")


def label_file(split: str, name: str, kind: str) -> Path:
    """Path of a label file, relative to the folder of the data set. `kind` is one of KINDS."""
    return Path(LABEL_PICTURES, split, name.split("_")[0], f"{name}_{LABEL_PICTURES}_{kind}{KINDS[kind]}")


def _label_pictures(folder):
    """{split: sorted paths of the labelIds pictures}. UserError that names the missing part of the layout."""
    folder = Path(folder)
    ending = f"{LABEL_PICTURES}_labelIds{KINDS['labelIds']}"
    wanted = f"{LABEL_PICTURES}/train/CITY/*_{ending}"
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give the folder of Cityscapes, which holds {wanted}")
    if not (folder / LABEL_PICTURES).is_dir():
        near = [path for path in (folder.parent, *sorted(folder.iterdir())) if (path / LABEL_PICTURES).is_dir()]
        advice = f"give {near[0]}" if near else f"unpack {LABEL_PICTURES}_trainvaltest.zip there, to get {wanted}"
        raise UserError(f"{folder} is not laid out as Cityscapes: it has no folder {LABEL_PICTURES}; {advice}")
    found = {split: sorted((folder / LABEL_PICTURES / split).glob(f"*/*_{ending}")) for split in SPLITS}
    if not any(found.values()):
        raise UserError(
            f"{folder} is not laid out as Cityscapes: {LABEL_PICTURES} holds no label pictures; {wanted} are expected"
        )
    return found


def read_ids(path: str | Path) -> np.ndarray:
    """The ids in a labelIds picture, uint8 (H, W).

    Raises:
        UserError: the file cannot be read, is not an 8-bit gray PNG, or holds a value that is not an id of the table.
    """
    try:
        with whole_pictures(), open_picture(path) as picture:
            kind = f"{picture.format} of mode {picture.mode}"
            ids = np.array(picture)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a damaged PNG
        raise UserError(f"{path} cannot be read as a picture ({error}); unpack it again") from error
    if kind != "PNG of mode L":
        raise UserError(
            f"{path} is a {kind}; label pictures of Cityscapes are 8-bit gray PNG (mode L): unpack it again"
        )
    strange = np.setdiff1d(ids, IDS)
    if strange.size:
        raise UserError(
            f"{path} holds the value {strange[0]}; the ids of Cityscapes are {min(IDS)} to {max(IDS)}:"
            " is it a picture of ids?"
        )
    return ids


def write_train_ids(folder: str | Path, progress: bool = True) -> dict[str, tuple[int, int]]:
    """Writes a labelTrainIds picture beside every labelIds picture that has none yet.

    Every file appears whole or not at all. Call it again to finish an interrupted call.

    Args:
        folder: the folder of Cityscapes, which holds gtFine/{train,val,test}/CITY.
        progress: show a progress bar.

    Returns:
        {split: (pictures written now, pictures that existed before)}, for the splits that have label pictures.

    Raises:
        UserError: the layout is another one, or `read_ids` refuses a label picture. Those before it stay written.
    """
    found = {split: paths for split, paths in _label_pictures(folder).items() if paths}
    counts = {}
    with Progress(total=sum(map(len, found.values())), desc="label pictures", disable=not progress) as bar:
        for split, paths in found.items():
            written = 0
            for path in paths:
                target = path.with_name(path.name.replace("_labelIds", "_labelTrainIds"))
                if not target.is_file():
                    train_ids = Image.fromarray(TRAIN_ID_OF_ID[read_ids(path)])
                    with atomic_path(target) as temporary:
                        train_ids.save(temporary)
                    written += 1
                bar.update()
            counts[split] = (written, len(paths) - written)
    return counts
