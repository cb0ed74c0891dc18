"""COCO's annotation files, as COCO and as labelling tools write them: reading, and writing what pycocotools reads.

Lin et al., "Microsoft COCO: Common Objects in Context", 2014. A file is read with msgspec: 860,000 annotations take
seconds and not minutes, and what is not needed is passed over.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..errors import UserError
from .annotations import Annotations, Picture
from .coco_masks import area_of, box_of, mask_of
from .report import Report, few

_GZIP = b"\x1f\x8b"
_LEAST_UNPACKED, _MOST_TIMES = 100_000_000, 100
_WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "": 0.0}


class _Image(msgspec.Struct, gc=False):
    id: Any = None
    file_name: Any = None
    width: Any = None
    height: Any = None


class _Category(msgspec.Struct, gc=False):
    id: Any = None
    name: Any = None


class _Box(msgspec.Struct, gc=False):
    id: Any = None
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    area: Any = None
    iscrowd: Any = 0
    ignore: Any = 0


class _Instance(_Box, gc=False):
    segmentation: Any = None


class _Index(msgspec.Struct):
    images: list[_Image] | None = None
    categories: list[_Category] | None = None


class _Boxes(_Index):
    annotations: list[_Box] | None = None


class _Instances(_Index):
    annotations: list[_Instance] | None = None


def read(file: str | Path, report: Report, masks: bool = False) -> Annotations:
    """Reads an annotation file: JSON, with a byte-order mark or without, or JSON that gzip packed.

    Ids may be whole numbers, numbers with a point or texts, and need not be the same kind in all places. The ids of
    annotations do not count. `iscrowd`, `area`, `width` and `height` may be missing. An annotation with `ignore` counts
    as a crowd. Without `bbox` the box is that of the mask.

    Args:
        file: the file.
        report: receives what is left out.
        masks: read masks too.

    Raises:
        UserError: the file is missing, is not COCO's JSON or lists no pictures; ids or names of classes repeat; an
            annotation names a class that the file does not define.
    """
    content = _parse(Path(file), _Instances if masks else _Boxes, report.subject)
    classes, category_ids, places = _categories(content, file)
    pictures, entries = _pictures(content, file, report)
    rows = content.annotations or []
    full = rows  # with masks, where something has to be made of them
    if not masks and any(not row.bbox for row in rows):
        full = _parse(Path(file), _Instances, report.subject).annotations
    boxes = _boxes(full, report)
    area = _areas(full, file, report)
    picture = _places([row.image_id for row in rows], entries)
    label = _places([row.category_id for row in rows], places)
    _check_categories(rows, label, picture, pictures, file, dict(zip(category_ids, classes)), report)
    names = np.array([f"annotation {number if row.id is None else row.id}" for number, row in enumerate(rows)], object)
    found = Annotations(
        str(file),
        pictures,
        classes,
        category_ids,
        picture,
        label,
        boxes,
        area,
        (_numbers([row.iscrowd for row in rows]) > 0) | (_numbers([row.ignore for row in rows]) > 0),
        np.zeros(len(rows), bool),
        names,
        [mask_of(row.segmentation) for row in rows] if masks else None,
        content.annotations is not None,
    )
    if report.lenient and (label < 0).any():
        known = label >= 0
        found.keep(known)
        picture, rows, names = picture[known], [row for row, stays in zip(rows, known) if stays], names[known]
    if (picture < 0).any():
        lost = picture < 0
        examples = [f"{names[i]} of picture {rows[i].image_id}" for i in np.flatnonzero(lost)[:4]]
        report.drop(f"annotations of pictures that {file} does not list, left out", examples, int(lost.sum()))
        found.keep(~lost)
        if lost.all():
            raise UserError(f"{report.subject}: {'; '.join(report.lines())}; no annotation can be used")
    return found


def read_categories(file: str | Path, name: str = "annotations") -> list[tuple[Any, str]]:
    """(id, name) of every class of an annotation file, in the file's order; UserError as `read`."""
    classes, ids, _ = _categories(_parse(Path(file), _Index, name), file)
    return list(zip(ids, classes))


def read_pictures(file: str | Path, name: str = "annotations") -> list[Picture]:
    """The pictures that a file lists, in its order; UserError as `read`."""
    return _pictures(_parse(Path(file), _Index, name), file, Report(name))[0]


def _parse(file, kind, name):
    """Decodes a file into one of the structs above."""
    if not file.is_file():
        raise UserError(f"{name}: annotation file {file} does not exist; set {name}.anno_path")
    try:
        data = file.read_bytes()
        if data.startswith(_GZIP):
            data = _unpacked(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{name}: {file} cannot be read ({error})") from error
    if data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode(json.detect_encoding(data), "replace").encode()
    try:
        content = _decode(data, kind)
    except msgspec.ValidationError as error:
        raise UserError(f"{name}: {file} is not COCO's ({error}); a COCO annotation file is expected") from error
    except (ValueError, RecursionError) as error:
        if _is_lines(data):
            raise UserError(
                f"{name}: {file} holds one JSON value in each line (NDJSON); one COCO annotation file is expected: "
                f'{{"images": [...], "annotations": [...], "categories": [...]}}'
            ) from error
        reason = " ".join(str(error).split())
        raise UserError(f"{name}: {file} is not JSON ({reason}); a COCO annotation file is expected") from error
    for key in ("images", "categories"):
        if getattr(content, key) is None:
            raise UserError(f"{name}: {file} has no {key!r}; a COCO annotation file is expected")
    if not content.images:
        raise UserError(f"{name}: {file} lists no pictures")
    return content


def _unpacked(data):
    """What gzip packed; OSError where it is immense. JSON becomes about a tenth."""
    most = max(_LEAST_UNPACKED, _MOST_TIMES * len(data))
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(f"it unpacks to more than {most / 1e6:.0f} MB")
    return content


def _decode(data, kind):
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        if data.lstrip()[:1] != b"{":
            return kind()  # a list, as of COCO's results: it has no pictures
        if "out of range" not in str(error):
            raise
        content = json.loads(data)  # which also reads numbers of more than 64 bits
        return msgspec.convert(content, kind)
    except msgspec.DecodeError:
        content = json.loads(data)  # which also reads NaN and Infinity
        return msgspec.convert(content, kind) if isinstance(content, dict) else kind()


def _is_lines(data):
    """Whether the first two lines are JSON objects of their own."""
    lines = data.split(b"\n", 2)[:2]
    try:
        return len(lines) == 2 and all(isinstance(json.loads(line), dict) for line in lines)
    except ValueError:
        return False


def _key(value):
    """An id in one spelling: 3.0 is 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _categories(content, file):
    """(names, ids, {id: place})."""
    names = {}
    for row in content.categories:
        number = _id(row.id, file, "category")
        name = f"class {number}" if row.name is None else str(row.name).strip()
        if names.setdefault(number, name) != name:
            raise UserError(
                f"{file} has two categories with the id {number}, {names[number]!r} and {name!r}; give each its own"
            )
    first = {}
    for number, name in names.items():
        if name in first:
            raise UserError(
                f"{file} has two categories with the name {name!r}, with the ids {first[name]} and {number}; give each "
                f"its own name, or make them one"
            )
        first[name] = number
    return list(names.values()), list(names), {number: place for place, number in enumerate(names)}


def _pictures(content, file, report):
    """(pictures, {id: place}). Repeated entries count once."""
    pictures, places, repeated = [], {}, []
    for row in content.images:
        number, name = _id(row.id, file, "picture"), row.file_name
        if not isinstance(name, str) or not name or "\0" in name:
            raise UserError(f"{file}: picture {number} has the file_name {name!r}; the name of a file is expected")
        if number in places:
            if pictures[places[number]].name != name:
                other = pictures[places[number]].name
                raise UserError(f"{file} has two pictures with the id {number}, {other} and {name}; give each its own")
            repeated.append(name)
            continue
        places[number] = len(pictures)
        pictures.append(Picture(number, name, _side(row.width), _side(row.height)))
    report.note("pictures that are listed twice, used once", repeated)
    return pictures, places


def _id(value, file, what):
    value = _key(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise UserError(f"{file} has a {what} with the id {value!r}; a whole number or a text is expected")
    return value


def _side(value):
    number = _number(value)
    return number if number > 0 and math.isfinite(number) else None


def _places(ids, places):
    """int (M,): the place of each id, -1 where it is unknown. Where 7 is unknown, "7" counts, and the other way."""
    spelled = {str(number): place for number, place in places.items()}

    def place(number):
        found = places.get(_key(number), -1) if isinstance(number, (int, str, float)) else -1
        return found if found >= 0 else spelled.get(str(_key(number)), -1)

    return np.fromiter((place(number) for number in ids), np.int64, len(ids))


def _check_categories(rows, label, picture, pictures, file, names, report):
    for index in np.flatnonzero(label < 0):
        row, place = rows[index], picture[index]
        of = f" of {pictures[place].name}" if place >= 0 else ""
        defined = few([f"{number} ({name})" for number, name in names.items()])
        report.fault(
            f"{file}: annotation {row.id}{of} has category {row.category_id}, which the file does not define; "
            f"it defines {defined or 'none'}"
        )


def _number(value):
    """A number that is given as one, as a text or as true or false; else nan."""
    if isinstance(value, str):
        value = _WORDS.get(value.strip().lower(), value)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _numbers(values):
    return np.fromiter((_number(value) for value in values), float, len(values))


def _boxes(rows, report):
    """float (M, 4): left, top, width, height; nan where a box is not four numbers."""
    boxes, from_masks = np.full((len(rows), 4), math.nan), 0
    for index, row in enumerate(rows):
        box = row.bbox
        if not box and (mask := mask_of(getattr(row, "segmentation", None))):
            box, from_masks = box_of(mask), from_masks + 1
        if isinstance(box, list) and len(box) == 4:
            try:
                boxes[index] = box
            except (TypeError, ValueError, OverflowError):
                boxes[index] = [_number(value) for value in box]
    report.note("annotations without a box, which is that of their mask", count=from_masks)
    return boxes


def _areas(rows, file, report):
    """float (M,): the area of each annotation; where the file has none, that of its mask; nan without a mask too."""
    areas = _numbers([row.area for row in rows])
    absent = np.flatnonzero(~(areas > 0))
    if len(absent):
        with_masks = rows if hasattr(rows[0], "segmentation") else _parse(Path(file), _Instances, "").annotations
        areas[absent] = [area_of(mask_of(with_masks[index].segmentation)) for index in absent]
        report.note("annotations without an area, which is that of their mask, or else of their box", count=len(absent))
    return areas


def whole_ids(ids: Sequence[Any]) -> list[int]:
    """The ids where all are whole numbers of 0 or more, else 1, 2, ...: what pycocotools and the toolkits can hold."""
    usable = all(type(number) is int and 0 <= number < 2**53 for number in ids)
    return list(ids) if usable else list(range(1, len(ids) + 1))


def content_of(annotations: Annotations) -> dict[str, Any]:
    """What pycocotools reads without a mistake: every field there, every id a number of its own, annotations from 1."""
    picture_ids = whole_ids([picture.id for picture in annotations.pictures])
    category_ids = whole_ids(annotations.category_ids)
    rows = zip(
        annotations.picture.tolist(),
        annotations.label.tolist(),
        annotations.boxes.tolist(),
        annotations.area.tolist(),
        annotations.crowd.tolist(),
        annotations.masks or [None] * len(annotations),
    )
    return {
        "images": [
            {"id": number, "file_name": picture.name, "width": picture.width, "height": picture.height}
            for number, picture in zip(picture_ids, annotations.pictures)
        ],
        "categories": [{"id": i, "name": name} for i, name in zip(category_ids, annotations.classes)],
        "annotations": [
            {
                "id": number,
                "image_id": picture_ids[picture],
                "category_id": category_ids[label],
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
                **({} if mask is None else {"segmentation": mask}),
            }
            for number, (picture, label, box, area, crowd, mask) in enumerate(rows, 1)
        ],
    }
