"""Pascal VOC's XML, a file for each picture, in VOC's folders or beside the pictures."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import PurePosixPath

from ...errors import UserError
from ..annotations import Annotations
from ..lists import rows_of
from ..report import Report
from ..voc import read_annotation
from .building import Builder
from .listing import PARTS, Format, Listing, Source, one_part_each, part_of_folder
from .writing import Output

_HEAD = 4096


def recognise(listing: Listing) -> Source | None:
    """Takes XML files whose root is <annotation>."""
    found = [name for name in listing.of(".xml") if _is_sheet(listing.root / name)]
    if not found:
        return None
    parts = _image_sets(listing, found) or one_part_each(found, part_of_folder)
    evidence = f"{len(found)} XML files of VOC"
    names = [n for n in listing.files.get(".txt", ()) if PurePosixPath(n).name in ("label_list.txt", "labels.txt")]
    return Source("voc", "detection", listing.root, evidence, len(found), (parts, listing.pictures, names[:1]))


def _is_sheet(file):
    try:
        with open(file, "rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return False
    return b"<annotation>" in head or b"<annotation " in head


def _image_sets(listing, found):
    """{part: XML files} from ImageSets/Main; {} where there is none or its lists do not name the files."""
    by_stem = {PurePosixPath(name).stem: name for name in found}
    for name in found:  # our own lists have sub-folders
        parents = PurePosixPath(name).with_suffix("").parts
        if "Annotations" in parents:
            by_stem["/".join(parents[parents.index("Annotations") + 1 :])] = name
    parts = {}
    for name in listing.files.get(".txt", ()):
        path = PurePosixPath(name)
        if path.parts[-3:-1] == ("ImageSets", "Main") and path.stem in PARTS:
            # a flag may follow, and a name may have spaces
            stems = [line if line in by_stem else line.split()[0] for _, line in rows_of(listing.root / name)]
            parts.setdefault(path.stem, []).extend(by_stem[stem] for stem in stems if stem in by_stem)
    return {part: names for part, names in parts.items() if names} if "train" in parts else {}


def read(source: Source, report: Report) -> dict[str, Annotations]:
    """Reads the XML files. Boxes keep VOC's pixels, as `datasets.voc.read` does.

    A picture without a file is not labelled yet and left out.

    Raises:
        UserError: a file that cannot be read, or an object without a name.
    """
    parts, listed, lists = source.details
    classes = [line for name in lists for _, line in rows_of(source.root / name)]
    by_stem: dict[str, list[str]] = {}
    for picture in listed:
        by_stem.setdefault(PurePosixPath(picture).stem, []).append(picture)
    builders, used = {}, set()
    for part, names in parts.items():
        builder = builders[part] = Builder(str(source.root), classes or None)
        for name in names:
            try:
                sheet = read_annotation(source.root / name)
            except UserError as error:
                report.fault(str(error))
                continue
            picture = _picture(name, sheet.filename, by_stem)
            used.add(picture)
            place = builder.add_picture(picture, *(sheet.size or (None, None)))
            for index, (kind, (left, top, right, bottom), difficult) in enumerate(sheet.objects, 1):
                if not kind:
                    report.fault(f"{source.root / name}: object {index} has no name; name its class")
                    continue
                box = [left, top, right - left, bottom - top]
                what = f"object {index} of {PurePosixPath(name).name}"
                builder.add(place, builder.add_class(kind), box, what, difficult=difficult)
    report.note("pictures without an XML file, not labelled yet and left out", [p for p in listed if p not in used])
    return {part: builder.build() for part, builder in builders.items()}


def _picture(name, filename, by_stem):
    """The picture of an XML file: as it says where that is there, else the one of the file's own stem, the nearest."""
    own, given = PurePosixPath(name), filename.replace("\\", "/")
    alike = by_stem.get(own.stem) or by_stem.get(PurePosixPath(given).stem) or []
    if not alike:
        return given or f"{own.stem}.jpg"
    return min(alike, key=lambda picture: (-_folders_in_common(picture, name), picture))


def _folders_in_common(a, b):
    pairs = zip(PurePosixPath(a).parts[:-1], PurePosixPath(b).parts[:-1])
    return next((n for n, (x, y) in enumerate(pairs) if x != y), min(a.count("/"), b.count("/")))


def write(parts: Mapping[str, Annotations], output: Output) -> None:
    """Writes JPEGImages, Annotations, ImageSets/Main/PART.txt and label_list.txt."""
    classes: list[str] = []
    for part, found in parts.items():
        stems, classes = [], found.classes
        for picture, boxes in output.by_picture(found):
            name = output.picture(picture, "JPEGImages")
            stem = (
                PurePosixPath(name).relative_to("JPEGImages")
                if output.pictures != "none"
                else PurePosixPath(picture.name)
            )
            file = PurePosixPath("Annotations", stem).with_suffix(".xml")
            output.bytes(str(file), _sheet(found, picture, boxes, name))
            stems.append(stem.with_suffix("").as_posix())
        output.text(f"ImageSets/Main/{part or 'train'}.txt", "".join(f"{stem}\n" for stem in stems))
    output.text("label_list.txt", "".join(f"{name}\n" for name in classes))


def _sheet(found, picture, boxes, name):
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = PurePosixPath(name).name
    size = ElementTree.SubElement(root, "size")
    for key, value in (("width", picture.width), ("height", picture.height), ("depth", 3)):
        ElementTree.SubElement(size, key).text = f"{value:g}" if value and math.isfinite(value) else ""
    for index in boxes:
        entry = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(entry, "name").text = found.classes[found.label[index]]
        ElementTree.SubElement(entry, "difficult").text = str(int(found.difficult[index]))
        place = ElementTree.SubElement(entry, "bndbox")
        left, top, width, height = found.boxes[index]
        for key, value in (("xmin", left), ("ymin", top), ("xmax", left + width), ("ymax", top + height)):
            ElementTree.SubElement(place, key).text = f"{value:.8g}"
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8")


FORMAT = Format("voc", "Pascal VOC", "detection", recognise, read, write, ("difficult", "sizes"))
