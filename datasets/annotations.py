"""Boxes on pictures, in the one form that every annotation format is read into.

    coco.read or voc.read  ->  Annotations  ->  locate, match_classes, check_boxes  ->  what training and evaluation get

The readers resolve ids and parse numbers. The checks complete what is missing, leave out what cannot be used, and say
so in a `Report`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..pictures.listed import find_listed
from ..pictures.reading import OPENCV_FORMATS, Header, read_header
from .names import match_names
from .report import Report, few

# COCO itself has boxes that overhang a picture by a fraction of a pixel.
OVERHANG_PIXELS = 2.0
OVERHANG_SHARE = 0.02
# Sides of a picture and of its annotation with this ratio belong to one picture in two sizes.
_SAME_SHAPE = 0.01


@dataclass
class Picture:
    """A picture that an annotation file lists.

    Attributes:
        id: as the file has it: a number or a text.
        name: as the file has it, such as "a/0001.jpg".
        width, height: in pixels, as the file has them; None where it does not say. `locate` corrects them.
        path: the file, once `locate` has found it.
    """

    id: Any
    name: str
    width: float | None = None
    height: float | None = None
    path: Path | None = None


@dataclass
class Annotations:
    """The pictures and boxes of one data set.

    Attributes:
        source: the annotation file, for messages.
        pictures: all that are listed, with boxes or without.
        classes: the name of each class.
        category_ids: the id of each class in the file.
        picture: int (M,), the place of each box's picture in `pictures`.
        label: int (M,), the place of each box's class in `classes`.
        boxes: float (M, 4): left, top, width, height in pixels.
        area: float (M,) in square pixels; nan where the file does not say.
        crowd: bool (M,): the box holds a crowd, or does not count.
        difficult: bool (M,), VOC's flag.
        names: what messages call each box, (M,).
        masks: polygons or RLE of each box as COCO has them, None for none; or None when masks are not needed.
        has_truth: whether the file has annotations at all; a list of pictures has none.
    """

    source: str
    pictures: list[Picture]
    classes: list[str]
    category_ids: list[Any]
    picture: np.ndarray
    label: np.ndarray
    boxes: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    difficult: np.ndarray
    names: np.ndarray
    masks: list[Any] | None = None
    has_truth: bool = True

    def __len__(self) -> int:
        return len(self.label)

    def what(self, index: int) -> str:
        """What messages call a box: "annotation 7 of a.jpg [3, 3, 0, 5]"."""
        box = ", ".join(f"{value:.6g}" for value in self.boxes[index])
        return f"{self.names[index]} of {self.pictures[self.picture[index]].name} [{box}]"

    def keep(self, kept: np.ndarray) -> None:
        """Drops the boxes where `kept`, bool (M,), is False."""
        if kept.all():
            return
        for name in ("picture", "label", "boxes", "area", "crowd", "difficult", "names"):
            setattr(self, name, getattr(self, name)[kept])
        if self.masks is not None:
            self.masks = [mask for mask, stays in zip(self.masks, kept) if stays]

    def drop(self, wrong: np.ndarray, kind: str, report: Report) -> None:
        """Drops the boxes where `wrong`, bool (M,), is True, and reports them as of a kind."""
        found = np.flatnonzero(wrong)
        report.drop(kind, [self.what(index) for index in found[:4]], len(found))
        self.keep(~wrong)

    def keep_pictures(self, kept: np.ndarray) -> None:
        """Drops the pictures where `kept`, bool, is False, and their boxes."""
        if kept.all():
            return
        self.keep(kept[self.picture])
        self.picture = (np.cumsum(kept) - 1)[self.picture]
        self.pictures = [picture for picture, stays in zip(self.pictures, kept) if stays]

    def per_class(self) -> np.ndarray:
        """int (number of classes,): the boxes of each class that count, crowds left out."""
        return np.bincount(self.label[~self.crowd], minlength=len(self.classes))


def locate(annotations: Annotations, folders: Sequence[Path], report: Report) -> None:
    """Finds the pictures' files and makes sizes and boxes those of the pictures as they are shown.

    A name is looked for as `pictures.listed.find_listed` does. Pictures that are not there are left out with their
    boxes. Entries of one file become one picture. Where a file has no sizes, the picture's own count. Boxes of a
    picture that its EXIF orientation turns, and that were drawn on the picture as it is stored, are turned with it.
    Boxes of a picture that was made smaller or larger since are scaled.

    Args:
        annotations: changed in place.
        folders: where the pictures may be, the likeliest first.
        report: receives what was found.

    Raises:
        UserError: none of the pictures is there; a file that is no picture.
    """
    paths, respelled = find_listed([picture.name for picture in annotations.pictures], folders)
    for picture, path in zip(annotations.pictures, paths):
        picture.path = path
    missing = np.array([picture.path is None for picture in annotations.pictures])
    names = [picture.name for picture in annotations.pictures if picture.path is None]
    if missing.all():
        raise UserError(
            f"{report.subject}: none of the {len(names)} pictures that {annotations.source} lists is in {folders[0]} "
            f"({few(names, 3)}); say where they are"
        )
    report.drop(f"pictures that are not in {folders[0]} and are left out", names)
    annotations.keep_pictures(~missing)
    report.note(
        "pictures that were found by another spelling of their names",
        [f"{name} is {path}" for name, path in respelled],
    )
    _join_entries_of_one_file(annotations, report)
    _correct_sizes(annotations, _headers(annotations, report), report)


def _join_entries_of_one_file(annotations, report):
    first = {}
    places = np.array([first.setdefault(picture.path, i) for i, picture in enumerate(annotations.pictures)])
    double = places != np.arange(len(places))
    report.note(
        "pictures that are listed again, whose boxes are joined",
        [annotations.pictures[i].name for i in np.flatnonzero(double)],
    )
    annotations.picture = places[annotations.picture]
    annotations.keep_pictures(~double)


def _headers(annotations, report):
    headers, broken, foreign = [], [], []
    for picture in annotations.pictures:
        try:
            headers.append(read_header(picture.path))
            if headers[-1].kind not in OPENCV_FORMATS:
                foreign.append(f"{picture.path} is a {headers[-1].kind}")
        except UserError:
            broken.append(picture.path)
    if broken:
        raise UserError(
            f"{report.subject}: {broken[0]} is not a picture (one of {len(broken)} such files); mend it, or take it "
            f"out of {annotations.source}"
        )
    if foreign:
        raise UserError(
            f"{report.subject}: {foreign[0]}, whatever its name (one of {len(foreign)} such files), which the toolkits "
            f"do not read; convert it to JPEG or PNG"
        )
    return headers


def _correct_sizes(annotations, headers, report):
    absent, turned, scaled, wrong, unclear = [], [], [], [], []
    changes = {}  # place of the picture -> what turns its boxes
    for place, (picture, header) in enumerate(zip(annotations.pictures, headers)):
        given, shown = (picture.width, picture.height), header.shown
        picture.width, picture.height = shown
        if given == shown:
            if header.orientation in (2, 3, 4) or (header.turns and shown[0] == shown[1]):
                unclear.append(picture.name)
        elif not all(isinstance(side, (int, float)) and side > 0 for side in given):
            absent.append(picture.name)
        elif header.turns and given == header.stored:
            turned.append(picture.name)
            changes[place] = _Turn(header)
        else:
            listed = f"{picture.name} {given[0]:g} x {given[1]:g}, is {shown[0]} x {shown[1]}"
            factors = shown[0] / given[0], shown[1] / given[1]
            if abs(factors[0] / factors[1] - 1) <= _SAME_SHAPE:
                scaled.append(listed)
                changes[place] = _Scale(factors)
            else:
                wrong.append(listed)
    report.note("pictures without width and height, which are read from them", absent)
    report.note("pictures that EXIF turns, whose boxes are turned with them", turned)
    report.note("pictures of another size than their boxes were drawn on, which are scaled", scaled)
    report.note("pictures with a wrong width or height in the annotations; their own counts", wrong)
    report.note("pictures that EXIF turns or mirrors; their boxes are taken as of the picture as it is shown", unclear)
    for index in np.flatnonzero(np.isin(annotations.picture, list(changes))) if changes else ():
        change = changes[annotations.picture[index]]
        annotations.boxes[index] = change.box(annotations.boxes[index])
        annotations.area[index] *= change.enlargement
        if annotations.masks is not None:
            annotations.masks[index] = change.mask(annotations.masks[index])


class _Turn:
    """Boxes and masks of a picture as it is stored -> of the picture as EXIF shows it, with its sides swapped."""

    enlargement = 1.0

    def __init__(self, header: Header):
        self.width, self.height = header.stored
        self.orientation = header.orientation

    def points(self, x, y):
        return {
            5: lambda: (y, x),
            6: lambda: (self.height - y, x),
            7: lambda: (self.height - y, self.width - x),
            8: lambda: (y, self.width - x),
        }[self.orientation]()

    def box(self, box):
        x, y, width, height = box
        corners = np.array([self.points(x, y), self.points(x + width, y + height)])
        return [*corners.min(0), *np.ptp(corners, 0)]

    def mask(self, mask):
        if not isinstance(mask, list):
            return None  # RLE: its pixels are counted along the stored columns
        return [np.stack(self.points(*np.reshape(p, (-1, 2)).T), 1).ravel().tolist() for p in mask]


class _Scale:
    """Boxes and masks of a picture in one size -> of the same picture in another."""

    def __init__(self, factors: tuple[float, float]):
        self.factors = np.array(factors)
        self.enlargement = float(self.factors.prod())

    def box(self, box):
        return np.asarray(box) * np.tile(self.factors, 2)

    def mask(self, mask):
        if not isinstance(mask, list):
            return None
        return [(np.reshape(p, (-1, 2)) * self.factors).ravel().tolist() for p in mask]


def match_classes(annotations: Annotations, classes: Sequence[str], report: Report) -> None:
    """Renumbers the labels so that they are places in `classes`, matched by name.

    Names are matched as `datasets.names.match_names` does. Boxes of other classes are left out.

    Args:
        annotations: changed in place: `classes` and `category_ids` too. A class that the file lacks gets a new id.
        classes: what the network was trained on.
        report: receives what was found.

    Raises:
        UserError: none of the file's classes is known.
    """
    places = match_names(annotations.classes, classes)
    pairs = [(name, classes[place]) for name, place in zip(annotations.classes, places) if place is not None]
    if not pairs and annotations.classes:
        raise UserError(
            f"{report.subject}: {annotations.source} has the classes {few(annotations.classes)}, and the network was "
            f"trained on {few(classes)}; none is in both"
        )
    report.note(
        "classes that are taken for one of the network by another spelling",
        [f"{theirs!r} is {ours!r}" for theirs, ours in pairs if theirs != ours],
    )
    ids: dict[int, Any] = {p: i for p, i in zip(places, annotations.category_ids) if p is not None}
    unknown = np.array([place is None for place in places], bool)
    counts = np.bincount(annotations.label, minlength=len(places))
    for index in np.flatnonzero(unknown & (counts > 0)):
        kind = f"boxes of class {annotations.classes[index]!r}, which the network does not know, left out"
        report.drop(kind, count=int(counts[index]))
    unused = [annotations.classes[i] for i in np.flatnonzero(unknown & (counts == 0))]
    report.note("classes that the network does not know, and of which there is no box", unused)
    annotations.keep(~unknown[annotations.label])
    annotations.label = np.array([-1 if p is None else p for p in places], np.int64)[annotations.label]
    free = 1 + max([i for i in ids.values() if isinstance(i, int)], default=0)
    annotations.classes = list(classes)
    annotations.category_ids = []
    for place in range(len(classes)):
        annotations.category_ids.append(ids.get(place, free))
        free += place not in ids


def check_boxes(annotations: Annotations, report: Report, need_masks: bool = True) -> None:
    """Leaves out boxes that cannot be used, cuts those that overhang their pictures, and fills in areas.

    Args:
        annotations: after `locate`; changed in place.
        report: receives what was found.
        need_masks: where masks were read, leave out boxes without one.

    Raises:
        UserError: there were boxes, and none can be used; all boxes lie within 0..1.
    """
    count = len(annotations)
    boxes = annotations.boxes
    annotations.drop(~np.isfinite(boxes).all(1), "boxes that are not four numbers, left out", report)
    _refuse_shares(annotations, report)
    _warn_of_corners(annotations, report)
    wrong = (annotations.boxes[:, 2:] <= 0).any(1)
    annotations.drop(wrong, "boxes of zero or negative size, left out", report)
    _cut(annotations, report)
    repeated = _repeats(annotations)
    annotations.drop(repeated, "annotations that repeat another one, left out", report)
    if annotations.masks is not None and need_masks:
        without = np.array([mask is None for mask in annotations.masks], bool) & ~annotations.crowd
        annotations.drop(without, "boxes without a usable mask, left out", report)
    if count and not len(annotations):
        raise UserError(f"{'; '.join(report.lines())}; no box of {annotations.source} can be used")
    absent = ~(annotations.area > 0)
    annotations.area[absent] = annotations.boxes[absent, 2:].prod(1)


def sizes_of(annotations: Annotations) -> np.ndarray:
    """float (M, 2): width and height in pixels of each box's picture."""
    sizes = np.array([(picture.width, picture.height) for picture in annotations.pictures], float).reshape(-1, 2)
    return sizes[annotations.picture]


def _refuse_shares(annotations, report):
    """Raises UserError for boxes in shares of the picture's sides: as pixels all would be smaller than one."""
    if len(annotations) > 2 and annotations.boxes.max() <= 1:
        raise UserError(
            f"{report.subject}: all {len(annotations)} boxes of {annotations.source} lie within 0..1, such as "
            f"{annotations.what(0)}; left, top, width and height in pixels are expected; convert the file"
        )


def _warn_of_corners(annotations, report):
    """Notes boxes that look like left, top, right, bottom in place of left, top, width, height."""
    boxes, sizes = annotations.boxes, sizes_of(annotations)
    outside = ((boxes[:, :2] + boxes[:, 2:]) > sizes * (1 + OVERHANG_SHARE) + OVERHANG_PIXELS).any(1)
    as_corners = (boxes[:, 2:] > boxes[:, :2]).all(1) & (boxes[:, 2:] <= sizes + 1).all(1)
    if len(boxes) > 2 and as_corners.all() and outside.mean() > 0.1:
        found = np.flatnonzero(outside)
        report.note(
            "boxes that look like left, top, right, bottom where left, top, width, height is expected",
            [annotations.what(index) for index in found[:4]],
            len(boxes),
        )


def _cut(annotations, report):
    """Leaves out boxes whose centre is outside the picture. Cuts those that overhang by more than COCO's own do."""
    boxes, sizes = annotations.boxes, sizes_of(annotations)
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    outside = ((centres < 0) | (centres > sizes)).any(1)
    annotations.drop(outside, "boxes outside their pictures, left out", report)
    boxes, sizes = annotations.boxes, sizes_of(annotations)
    ends, slack = boxes[:, :2] + boxes[:, 2:], np.maximum(OVERHANG_PIXELS, OVERHANG_SHARE * sizes)
    over = np.flatnonzero(((boxes[:, :2] < -slack) | (ends > sizes + slack)).any(1))
    report.note(
        "boxes that reach beyond their pictures, cut at the edge", [annotations.what(i) for i in over[:4]], len(over)
    )
    starts, ends = np.maximum(boxes[over, :2], 0), np.minimum(ends[over], sizes[over])
    boxes[over] = np.hstack([starts, ends - starts])
    annotations.area[over] = np.nan


def _repeats(annotations):
    """bool (M,): True for a box that equals an earlier one in picture, class, place, area and crowd."""
    columns = (annotations.picture, annotations.label, annotations.area, annotations.crowd)
    rows = np.column_stack([*columns, annotations.boxes]).astype(float)
    rows[np.isnan(rows)] = -1
    bits = np.ascontiguousarray(rows).view(np.uint64)
    keys = (bits * np.random.default_rng(0).integers(1, 2**62, bits.shape[1], np.uint64) * 2 + bits).sum(1)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    earlier = first[inverse.ravel()]
    return (earlier != np.arange(len(rows))) & (rows == rows[earlier]).all(1)
