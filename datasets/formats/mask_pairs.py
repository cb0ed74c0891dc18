"""Pictures with a label picture each: folders such as images and masks, endings such as _mask, Cityscapes and CamVid.

A label picture is known by its folder or its ending, and belongs to the picture of the same name. What its values mean
is read from a class table where there is one, else from the values themselves.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ...errors import UserError
from ...pictures.reading import open_picture
from .. import cityscapes
from ..label_map import Colour, Entry, LabelMap, code_of, read_colours, read_table, spelled
from ..masks import read_mask
from ..report import Report, few
from .listing import Format, Listing, Source, one_part_each, part_of_folder

_MASK_FOLDER = re.compile(
    r"(?P<rest>.*?)[-_ ]?"
    r"(masks?|labels?|annotations?|annots?|gt|segmentationclass|ground_?truth|labelmaps?|ann_dir|segmentation)",
    re.IGNORECASE,
)
_PICTURE_FOLDERS = {"images", "image", "imgs", "img", "img_dir", "jpegimages", "pictures", "photos", "rgb"}
_MASK_ENDING = re.compile(
    r"[-_](masks?|labels?|gt|seg|segmentation|annotation|labelids|labeltrainids|l)$", re.IGNORECASE
)
_PICTURE_ENDING = re.compile(r"[-_](image|img|rgb|leftimg8bit)$", re.IGNORECASE)
_TABLES = re.compile(r"(class|label|colou?r|palette|codes|categor|names)", re.IGNORECASE)
#: label pictures that are looked at to find out what their values mean, spread evenly
LOOKED_AT = 200
_MOST_COLOURS = 256
# a value beyond a gap is a mistake when so few of so many label pictures hold it
_STRAY, _ENOUGH = 0.05, 20
CAMVID = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign symbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
CAMVID_VOID = 11


@dataclass
class MaskSet:
    """Pictures with a label picture each.

    Attributes:
        pairs: (picture, label picture), names relative to the data set, sorted.
        classes: the class names.
        label_map: what the values or colours mean; None where they are the class numbers, and 255 does not count.
        facts: what was found out about the values, in words.
    """

    pairs: list[tuple[str, str]]
    classes: list[str]
    label_map: LabelMap | None
    facts: str

    def numbers(self, path: Path) -> np.ndarray:
        """uint8 (H, W): a label picture as class numbers; UserError as `label_map.LabelMap.read`."""
        return read_mask(path) if self.label_map is None else self.label_map.read(path)


@dataclass
class _Details:
    parts: dict[str, list[str]]
    masks: dict[str, str]
    tables: list[str]
    kind: str
    alone: list[str]
    lost: list[str]


def recognise(listing: Listing) -> Source | None:
    """Takes pictures of which half or more have a label picture."""
    if found := _cityscapes(listing):
        return found
    masks: dict[str, str] = {}
    pictures: dict[str, str] = {}
    for name in listing.pictures:
        key, is_mask = _key(name)
        (masks if is_mask else pictures).setdefault(key, name)
    both = [key for key in pictures if key in masks]
    if not both or 2 * len(both) < min(len(pictures), len(masks)):
        return None
    tables = [n for n in listing.of(".csv", ".txt") if _TABLES.search(PurePosixPath(n).stem) and n.count("/") <= 1]
    folders = {PurePosixPath(listing.pictures[0]).parts[0] for _ in both[:1]} | {
        n.split("/")[0] for n in listing.pictures
    }
    kind = "camvid" if {"train", "trainannot"} <= folders else "pairs"
    pairs = {pictures[key]: masks[key] for key in sorted(both)}
    alone = [name for key, name in pictures.items() if key not in masks]
    lost = [name for key, name in masks.items() if key not in pictures]
    details = _Details(one_part_each(list(pairs), part_of_folder), pairs, tables, kind, alone, lost)
    title = "CamVid's folders, " if kind == "camvid" else ""
    evidence = f"{title}{len(both)} pictures with a label picture"
    return Source("masks", "segmentation", listing.root, evidence, len(both), details)


def _key(name):
    """(what a picture and its label picture have in common, whether this is the label picture)."""
    path = PurePosixPath(name)
    parts, is_mask = [], False
    for folder in path.parts[:-1]:
        found = _MASK_FOLDER.fullmatch(folder)
        is_mask = is_mask or found is not None
        rest = found["rest"] if found else "" if folder.casefold() in _PICTURE_FOLDERS else folder
        parts += [rest.casefold()] if rest else []
    stem = path.stem
    if found := _MASK_ENDING.search(stem):
        stem, is_mask = stem[: found.start()], is_mask or path.suffix.lower() not in (".jpg", ".jpeg")
    stem = _PICTURE_ENDING.sub("", stem)
    return ("/".join([*parts, stem.casefold()]), is_mask)


def _cityscapes(listing):
    folders = {name.split("/")[0] for name in listing.pictures}
    if not {cityscapes.IMAGES, cityscapes.LABEL_PICTURES} <= folders:
        return None
    known, pairs = set(listing.pictures), {}
    ending = f"_{cityscapes.IMAGES}.png"
    frames = [n for n in listing.pictures if n.startswith(f"{cityscapes.IMAGES}/") and n.endswith(ending)]
    for kind in ("labelTrainIds", "labelIds"):
        stems = {n: n.replace(cityscapes.IMAGES, cityscapes.LABEL_PICTURES, 1)[: -len(ending)] for n in frames}
        pairs = {n: f"{stem}_{cityscapes.LABEL_PICTURES}_{kind}.png" for n, stem in stems.items()}
        pairs = {n: label for n, label in pairs.items() if label in known and part_of_folder(n) != "test"}
        if pairs:
            details = _Details(one_part_each(list(pairs), part_of_folder), pairs, [], kind, [], [])
            evidence = f"Cityscapes' folders, {len(pairs)} {kind} pictures"
            return Source("masks", "segmentation", listing.root, evidence, len(pairs), details)
    return None


def read(source: Source, report: Report) -> dict[str, MaskSet]:
    """Pairs the pictures, and finds out what the values of up to `LOOKED_AT` label pictures mean.

    Raises:
        UserError: a label picture that is damaged; values that mean nothing clear.
    """
    details = source.details
    report.note("pictures without a label picture, left out", details.alone)
    report.note("label pictures without a picture, left out", details.lost)
    labels = list(details.masks.values())
    chosen = [
        labels[i] for i in np.unique(np.linspace(0, len(labels) - 1, min(len(labels), LOOKED_AT)).round().astype(int))
    ]
    if details.kind in ("labelTrainIds", "labelIds"):
        meaning = _meaning_of_cityscapes(details.kind)
    else:
        counts, holders = _count([source.root / name for name in chosen], report)
        counts = _without_strays(counts, holders, len(chosen), report)
        meaning = _meaning(counts, _table(source, details.tables), details.kind, source.root)
    classes, label_map, facts = meaning
    return {
        part: MaskSet([(name, details.masks[name]) for name in names], list(classes), label_map, facts)
        for part, names in details.parts.items()
    }


def _meaning_of_cityscapes(kind):
    if kind == "labelTrainIds":
        return cityscapes.CLASS_NAMES, None, "labelTrainIds: 0 to 18 are the classes, 255 does not count"
    entries = {
        number: None if train == 255 else train
        for number, train in enumerate(cityscapes.TRAIN_ID_OF_ID[: max(cityscapes.IDS) + 1].tolist())
    }
    return (
        cityscapes.CLASS_NAMES,
        LabelMap(entries, 255),
        "labelIds, of which 19 are classes and the others do not count",
    )


def _count(paths, report) -> tuple[Counter[int | Colour], dict[int | Colour, list[Path]]]:
    """(pixels of each value, or of each colour, over label pictures; the label pictures that hold it)."""
    counts: Counter[int | Colour] = Counter()
    holders: dict[int | Colour, list[Path]] = {}
    for path in paths:
        try:
            found = _keys_of(path)
        except UserError:
            if not report.lenient:  # an inspection names it when it reads all
                raise
            continue
        for key, count in found:
            counts[key] += count
            holders.setdefault(key, []).append(path)
    if not counts:
        raise UserError("none of the label pictures can be read")
    if len({isinstance(key, tuple) for key in counts}) > 1:  # gray pictures among coloured ones
        gray = {key: number for key, number in counts.items() if not isinstance(key, tuple)}
        counts = Counter({key: n for key, n in counts.items() if isinstance(key, tuple)})
        for value, number in gray.items():
            counts[value, value, value] += number
    return counts, holders


def _keys_of(path):
    """(value or colour, its pixels) of a label picture."""
    if not _is_coloured(path):
        return _distinct(read_mask(path))
    codes = _distinct(code_of(read_colours(path)))
    if len(codes) > _MOST_COLOURS:
        raise UserError(
            f"{path} has {len(codes)} colours; a label picture has one for each class, stored without loss (PNG)"
        )
    return [((code >> 16, code >> 8 & 255, code & 255), number) for code, number in codes]


def _distinct(values):
    """[(value, how often)] of whole numbers of which neighbours are mostly equal; so runs are sorted, not pixels."""
    values = values.ravel()
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    found, place = np.unique(values[starts], return_inverse=True)
    pixels = np.bincount(place, np.diff(starts, append=values.size)).astype(np.int64)
    return list(zip(found.tolist(), pixels.tolist()))


def _without_strays(counts, holders, number, report):
    """Values without mistakes: those that few label pictures hold, beyond a gap, where others are 0, 1, 2, ..."""
    if any(isinstance(key, tuple) for key in counts) or number < _ENOUGH:
        return counts
    strays = [v for v in counts if v not in (0, 255) and v - 1 not in counts and len(holders[v]) <= _STRAY * number]
    common = [v for v in counts if v != 255 and len(holders[v]) > _STRAY * number]
    if not strays or not common or sorted(common) != list(range(len(common))):
        return counts
    for value in strays:
        if not report.lenient:
            raise UserError(
                f"{holders[value][0]} has the value {value}, as {len(holders[value])} of {number} label pictures do; "
                f"the others are 0 to {max(common)}; mend it, or say what it means in a class table (VALUE,NAME)"
            )
    return Counter({key: n for key, n in counts.items() if key not in strays})


def _is_coloured(path: Path) -> bool:
    """Whether a label picture's classes are colours: three channels that differ."""
    try:
        with open_picture(path) as picture:
            if picture.mode not in ("RGB", "RGBA"):
                return False
    except Exception:
        return False  # read_mask says what is wrong
    colours = read_colours(path)
    return bool((colours != colours[..., :1]).any())


def _table(source, names):
    """(entries, name) of the first class table among the files; None where there is none."""
    for name in names:
        try:
            return read_table(source.root / name), name
        except UserError:
            continue
    return None


def _meaning(counts, table, kind, root):
    """(class names, LabelMap or None, what was found out)."""
    keys = sorted(counts, key=lambda key: key if isinstance(key, tuple) else (key,))
    coloured = isinstance(keys[0], tuple)
    if table is not None and (found := _by_table(keys, *table, coloured, root)):
        return found
    if kind == "camvid" and not coloured and max(v for v in keys if v != 255) <= CAMVID_VOID:
        return list(CAMVID), LabelMap({CAMVID_VOID: None}, 255), "CamVid's 11 classes; 11 is void and does not count"
    if coloured:
        names = [f"colour {spelled(key)}" for key in keys]
        entries = {key: number for number, key in enumerate(keys)}
        return names, LabelMap(entries, 255), f"{len(keys)} colours and no class table (NAME,R,G,B in classes.csv)"
    if set(keys) <= {0, 255} and 255 in keys:
        return ["background", "object"], LabelMap({0: 0, 255: 1}, 255), "masks of 0 and 255: background and object"
    values = [value for value in keys if value != 255]
    ignored = ", and 255 does not count" if 255 in keys else ""
    if values and max(values) < max(2 * len(values), len(values) + 16):
        names = [f"class {value}" for value in range(max(values) + 1)]
        if max(values) == 1:
            names = ["background", "object"]
        return names, None, f"values of 0 to {max(values)}{ignored}"
    entries = {value: number for number, value in enumerate(keys)}
    return (
        [f"value {value}" for value in keys],
        LabelMap(entries, -1 if len(keys) > 255 else 255),
        (f"the values {few(keys, 12)}, each a class"),
    )


def _by_table(keys, table, name, coloured, root):
    """The meaning of values or colours by a class table; None where the table is of something else."""
    entries = [entry for entry in table if entry.key is None or isinstance(entry.key, tuple) == coloured]
    if not entries:
        return None
    if any(entry.key is None for entry in entries):
        return None if coloured else _by_names(keys, entries, name)
    listed = {entry.key for entry in entries}
    strange = [key for key in keys if key not in listed and key != 255]
    if strange:
        shown = few([spelled(key) for key in strange], 3)
        raise UserError(
            f"the label pictures of {root} have {shown}, which {name} does not list; add them, or mend the labels"
        )
    classes = list(dict.fromkeys(entry.name for entry in entries if not entry.ignored))
    numbers = {e.key: None if e.ignored else classes.index(e.name) for e in entries}
    if not coloured and all(number == key or (number is None and key == 255) for key, number in numbers.items()):
        return classes, None, f"{len(classes)} classes of {name}"
    return classes, LabelMap(numbers, 255), f"{len(classes)} classes of {name}"


def _by_names(keys, entries: list[Entry], name):
    """Values that a list of names numbers, from 0 on; from 1 on, with 0 for void, where there is one value more."""
    classes = [entry.name for entry in entries if not entry.ignored]
    values = [value for value in keys if value != 255]
    if max(values, default=0) == len(entries):
        numbers: dict[Any, int | None] = {
            0: None,
            **{place: number_in(classes, e) for place, e in enumerate(entries, 1)},
        }
        return classes, LabelMap(numbers, 255), f"{len(classes)} classes of {name}, from 1 on; 0 does not count"
    if max(values, default=0) > len(entries):
        return None
    numbers = {place: number_in(classes, entry) for place, entry in enumerate(entries)}
    plain = all(number == place for place, number in numbers.items())
    return classes, None if plain else LabelMap(numbers, 255), f"{len(classes)} classes of {name}"


def number_in(classes: list[str], entry: Entry) -> int | None:
    """The number of an entry's class; None for one that does not count."""
    return None if entry.ignored else classes.index(entry.name)


FORMAT = Format("masks", "pictures with label pictures", "segmentation", recognise, read)
