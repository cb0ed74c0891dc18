"""Checking a data set in COCO's or VOC's format before anything is built on it, and its class names."""

import json
import sys
from pathlib import Path

from ...datasets import voc
from ...errors import UserError
from ...pictures.reading import looks_like_a_picture

# COCO itself has boxes that overhang a picture by a fraction of a pixel.
OVERHANG_PIXELS = 2.0
OVERHANG_SHARE = 0.02


def check_dataset(settings, name, num_classes):
    """Raises UserError, one line with the file's name, when a set cannot be trained on or evaluated.

    Args:
        settings (dict): the TrainDataset or EvalDataset block: dataset_dir, image_dir, anno_path, label_list.
        name (str): TrainDataset or EvalDataset, for the messages.
        num_classes (int): of the detector.

    Checked: the folders and the annotation file exist; the file is COCO's JSON, or VOC's list of pictures and XML
    files; every annotation names a category and a picture that are known, and its box is four numbers that lie in the
    picture, but for 2 pixels or 2 % of the side; there are no more categories than classes; at least one picture
    exists, and those that do begin as pictures do. Other sets than COCODataSet and VOCDataSet are not checked.

    Returns:
        list of str: what a user should know though it is no error: pictures that are missing and will be left out.
    """
    if settings.get("name") not in ("COCODataSet", "VOCDataSet"):
        return []
    root = Path(settings.get("dataset_dir") or ".")
    if not root.is_dir():
        raise UserError(
            f"{name}: data set folder {root} does not exist; put the data there, or say where it is with "
            f"--data DIR or -o {name}.dataset_dir=DIR"
        )
    images = root / (settings.get("image_dir") or "")
    if not images.is_dir():
        raise UserError(f"{name}: picture folder {images} does not exist; set {name}.image_dir")
    file = root / (settings.get("anno_path") or "")
    if settings["name"] == "VOCDataSet":
        names = _check_voc(settings, name, num_classes)
    else:
        content = read_annotations(file, name)
        check_annotations(content, file, num_classes)
        names = [picture["file_name"] for picture in content["images"]]
    return _check_pictures(names, images, file, name)


def _check_pictures(names, images, file, name):
    """The part of `check_dataset` that looks at the pictures, whose names are relative to the folder `images`."""
    missing = [picture for picture in names if not (images / picture).is_file()]
    if len(missing) == len(names):
        raise UserError(f"{name}: none of the {len(missing)} pictures that {file} lists is in {images}")
    absent = set(missing)
    present = [images / picture for picture in names if picture not in absent]
    broken = [path for path in present if not looks_like_a_picture(path)]
    if broken:
        raise UserError(
            f"{name}: {broken[0]} is not a picture (one of {len(broken)} such files); mend it, or take it out of {file}"
        )
    if not missing:
        return []
    return [
        f"{name}: {len(missing)} of {len(names)} pictures are not in {images} and are left out (first: {missing[0]})"
    ]


def _check_voc(settings, name, num_classes):
    """The part of `check_dataset` that looks at VOC's classes and annotations; returns the pictures' names."""
    root = Path(settings.get("dataset_dir") or ".")
    images = root / (settings.get("image_dir") or "")
    if not settings.get("label_list"):
        raise UserError(f"{name}: VOCDataSet needs class names: set {name}.label_list to a file with one in each line")
    file = root / settings["label_list"]
    classes = voc.read_classes(file)
    if len(classes) > num_classes:
        raise UserError(
            f"{file} has {len(classes)} classes but num_classes is {num_classes}; -o num_classes={len(classes)}"
        )
    pairs = voc.read_list(root / (settings.get("anno_path") or ""), images)
    for picture, annotation in pairs:
        if not picture.is_file():  # left out, with its annotation
            continue
        size, objects = voc.read_annotation(annotation)
        for category, (left, top, right, bottom) in objects:
            if category not in classes:
                raise UserError(f"{annotation} has an object {category!r}; the classes of {file} are {_few(classes)}")
            box = [left, top, right - left, bottom - top]
            _check_box(box, {"width": size[0], "height": size[1]}, f"{annotation}: {category}")
    return [str(picture.relative_to(images)) for picture, _ in pairs]


def first_picture(settings):
    """The path of the first picture of a data set's block in a configuration, or None when it is not at hand."""
    root = Path(settings.get("dataset_dir") or "")
    file, images = root / (settings.get("anno_path") or ""), root / (settings.get("image_dir") or "")
    if not file.is_file():
        return None
    if settings.get("name") == "COCODataSet":
        path = images / read_annotations(file)["images"][0]["file_name"]
    elif settings.get("name") == "VOCDataSet":
        path = voc.read_list(file, images)[0][0]
    else:
        return None
    return path if path.is_file() else None


def read_annotations(file, name="annotations"):
    """The content of a COCO annotation file; UserError when it is missing or not one."""
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{name}: annotation file {file} does not exist; set {name}.anno_path")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: {file} is not JSON ({error}); a COCO annotation file is expected") from error
    absent = (
        [key for key in ("images", "categories") if key not in content] if isinstance(content, dict) else ["images"]
    )
    if absent:
        raise UserError(f"{name}: {file} has no {absent[0]!r}; a COCO annotation file is expected")
    if not content["images"]:
        raise UserError(f"{name}: {file} lists no pictures")
    return content


def check_annotations(content, file, num_classes):
    """The part of `check_dataset` that looks at categories and boxes."""
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
            raise UserError(
                f"{what} has category {annotation.get('category_id')}, which the file does not define; "
                f"it defines {', '.join(f'{i} ({n})' for i, n in list(categories.items())[:8])}"
                + (", ..." if len(categories) > 8 else "")
            )
        if "bbox" in annotation:
            _check_box(annotation["bbox"], picture, what)


def _check_box(box, picture, what):
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(v, (int, float)) for v in box):
        raise UserError(f"{what} has the box {box!r}; [x, y, width, height] in pixels is expected")
    x, y, width, height = box
    for low, high, side in ((x, x + width, picture["width"]), (y, y + height, picture["height"])):
        slack = max(OVERHANG_PIXELS, OVERHANG_SHARE * side)
        if not (-slack <= low and high <= side + slack):
            raise UserError(
                f"{what} has the box {box} [x, y, width, height] outside its picture of {picture['width']} x "
                f"{picture['height']} pixels; correct the file (x and y are the top left corner, in pixels)"
            )


def categories_of(cfg):
    """[(category id, name)] in class order.

    From TestDataset's annotation file, else EvalDataset's. Without either, COCO's for a detector of 80 classes, VOC's
    for one of 20 that is evaluated as VOC is, else numbers, with a note on how to give names.
    """
    for key in ("TestDataset", "EvalDataset"):
        settings = cfg.get(key) or {}
        listed = "label_list" if settings.get("name") == "VOCDataSet" else "anno_path"
        file = Path(settings.get("dataset_dir") or "") / (settings.get(listed) or "")
        if file.suffix == ".json" and file.is_file():
            return [(c["id"], c["name"]) for c in read_annotations(file, key)["categories"]]
        if file.suffix == ".txt" and file.is_file():
            names = [line.strip() for line in file.read_text().splitlines() if line.strip()]
            return list(enumerate(names[1:] if names[0] == "background" else names))
    classes = cfg["num_classes"]
    if classes == len(voc.CLASSES) and cfg.get("metric") == "VOC":
        return list(enumerate(voc.CLASSES))
    if classes != 80:
        print("note: class names are unknown; --data DIR names the data set that has them", file=sys.stderr)
        return [(i, f"class {i}") for i in range(classes)]
    from ppdet.data.source.category import get_categories

    class_to_category, names = get_categories("COCO", None)
    return [(class_to_category[i], names[class_to_category[i]]) for i in sorted(class_to_category)]


def _few(items, count=8):
    return ", ".join(items[:count]) + (", ..." if len(items) > count else "")
