"""COCO's annotation files: reading one, and checking its categories and boxes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError

# COCO itself has boxes that overhang a picture by a fraction of a pixel.
OVERHANG_PIXELS = 2.0
OVERHANG_SHARE = 0.02


def read_annotations(file: str | Path, name: str = "annotations") -> dict[str, Any]:
    """The content of an annotation file: a dict with "images", "categories" and, mostly, "annotations".

    Args:
        file: the JSON file.
        name: what messages call the data set, such as "TrainDataset".

    Raises:
        UserError: the file is missing, is not COCO's JSON, or lists no pictures.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{name}: annotation file {file} does not exist; set {name}.anno_path")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: {file} is not JSON ({error}); a COCO annotation file is expected") from error
    keys = content if isinstance(content, dict) else {}
    absent = [key for key in ("images", "categories") if key not in keys]
    if absent:
        raise UserError(f"{name}: {file} has no {absent[0]!r}; a COCO annotation file is expected")
    if not content["images"]:
        raise UserError(f"{name}: {file} lists no pictures")
    return content


def check_annotations(content: Mapping[str, Any], file: str | Path, num_classes: int) -> None:
    """Checks that every annotation names a known picture and category and has a box inside its picture.

    Args:
        content: from `read_annotations`.
        file: the file, for messages.
        num_classes: classes of the detector.

    Raises:
        UserError: the first annotation that is wrong; more categories than classes.
    """
    categories = {c["id"]: c["name"] for c in content["categories"]}
    pictures = {p["id"]: p for p in content["images"]}
    if len(categories) > num_classes:
        raise UserError(
            f"{file} has {len(categories)} categories but num_classes is {num_classes}; "
            f"-o num_classes={len(categories)}"
        )
    for annotation in content.get("annotations", ()):
        what = f"{file}: annotation {annotation.get('id')}"
        picture = pictures.get(annotation.get("image_id"))
        if picture is None:
            raise UserError(f"{what} belongs to picture {annotation.get('image_id')}, which the file does not list")
        what += f" of {picture['file_name']}"
        if annotation.get("category_id") not in categories:
            defined = few([f"{number} ({name})" for number, name in categories.items()])
            raise UserError(
                f"{what} has category {annotation.get('category_id')}, which the file does not define; "
                f"it defines {defined}"
            )
        if "bbox" in annotation:
            check_box(annotation["bbox"], (picture["width"], picture["height"]), what)


def check_box(box: Any, size: tuple[float, float], what: str) -> None:
    """Checks one box.

    Args:
        box: [x, y, width, height] in pixels.
        size: (width, height) of the picture in pixels. A box may overhang it by 2 pixels or 2 % of the side.
        what: the box's name in messages.

    Raises:
        UserError: it is not four numbers, or it lies outside its picture.
    """
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(v, (int, float)) for v in box):
        raise UserError(f"{what} has the box {box!r}; [x, y, width, height] in pixels is expected")
    x, y, width, height = box
    for low, high, side in ((x, x + width, size[0]), (y, y + height, size[1])):
        slack = max(OVERHANG_PIXELS, OVERHANG_SHARE * side)
        if not (-slack <= low and high <= side + slack):
            raise UserError(
                f"{what} has the box {box} [x, y, width, height] outside its picture of {size[0]} x {size[1]} pixels; "
                f"correct the file (x and y are the top left corner, in pixels)"
            )


def few(items: Sequence[str], count: int = 8) -> str:
    """The first items of a list as text."""
    return ", ".join(items[:count]) + (", ..." if len(items) > count else "")
