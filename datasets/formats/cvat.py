"""CVAT's XML for images (version 1.1): one file with all pictures, their boxes and polygons."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping

from ...errors import UserError
from ..annotations import Annotations
from ..report import Report
from .building import Builder, box_of_points, number
from .listing import Format, Listing, Source, part_of_file, part_of_word
from .writing import Output

_HEAD = 4096


def recognise(listing: Listing) -> Source | None:
    """Takes XML files whose root is <annotations>."""
    found = [name for name in listing.of(".xml") if _is_cvat(listing.root / name)]
    if not found:
        return None
    return Source("cvat", "detection", listing.root, f"{len(found)} XML files of CVAT", len(found), found)


def _is_cvat(file):
    try:
        with open(file, "rb") as stream:
            return b"<annotations" in stream.read(_HEAD)
    except OSError:
        return False


def read(source: Source, report: Report) -> dict[str, Annotations]:
    """Reads the pictures of all files. The part is CVAT's subset, else what the name of the file says.

    Raises:
        UserError: a file that is not XML, is of a video, or has a box without numbers.
    """
    builders: dict[str, Builder] = {}
    passed: dict[str, list[str]] = {}
    roots = [(name, _root(source.root / name)) for name in source.details]
    classes = list(dict.fromkeys(n for _, root in roots for n in _names(root))) or None
    for name, root in roots:
        for image in root.iter("image"):
            part = part_of_word(image.get("subset", "")) or (part_of_file(name) if len(roots) > 1 else "")
            builder = builders.setdefault(part, Builder(str(source.root), classes))
            sides = (number(image.get(side)) for side in ("width", "height"))
            place = builder.add_picture(image.get("name") or "", *(side if side > 0 else None for side in sides))
            for index, shape in enumerate(image, 1):
                try:
                    _add_shape(builder, place, shape, f"{shape.tag} {index} of {image.get('name')}", passed)
                except UserError as error:
                    report.fault(str(error))
    for kind, examples in passed.items():
        report.drop(f"<{kind}> of CVAT, which is no box, left out", examples)
    if not builders:
        raise UserError(f"{source.root / source.details[0]} lists no pictures; export as 'CVAT for images 1.1'")
    if "" in builders and len(builders) > 1:
        builders["train"] = builders.pop("")
    return {part: builder.build() for part, builder in builders.items()}


def _root(file):
    try:
        root = ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{file} cannot be read as XML of CVAT ({error}); export it again") from error
    if root.find("track") is not None:
        raise UserError(f"{file} is of a video; export it as 'CVAT for images 1.1'")
    return root


def _names(root):
    return [" ".join(name.text.split()) for name in root.iterfind("meta//labels/label/name") if name.text]


def _add_shape(builder, place, shape, what, passed):
    name = " ".join((shape.get("label") or "").split())
    if shape.tag == "box":
        left, top, right, bottom = (number(shape.get(key)) for key in ("xtl", "ytl", "xbr", "ybr"))
        builder.add(place, builder.add_class(name), [left, top, right - left, bottom - top], what)
    elif shape.tag == "polygon":
        flat = [number(value) for point in (shape.get("points") or "").split(";") for value in point.split(",")]
        if len(flat) < 6 or len(flat) % 2:
            raise UserError(f"{what} has the points {shape.get('points')!r}; x,y;x,y;x,y is expected")
        builder.add(place, builder.add_class(name), box_of_points(flat), what, [flat])
    elif shape.tag != "tag":
        passed.setdefault(shape.tag, []).append(what)


def write(parts: Mapping[str, Annotations], output: Output) -> None:
    """Writes annotations.xml; a mask of several polygons becomes several."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    classes = next(iter(parts.values())).classes
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels")
    for name in classes:
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name
    count = 0
    for part, found in parts.items():
        for picture, boxes in output.by_picture(found):
            facts = {"id": str(count), "name": output.picture(picture, part), **({"subset": part} if part else {})}
            sides = {"width": f"{picture.width:g}", "height": f"{picture.height:g}"}
            image = ElementTree.SubElement(root, "image", {**facts, **sides})
            count += 1
            for box in boxes:
                _write_shapes(image, found, box)
    ElementTree.indent(root)
    output.bytes("annotations.xml", ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _write_shapes(image, found, index):
    mask = found.masks[index] if found.masks is not None else None
    common = {"label": found.classes[found.label[index]], "occluded": "0"}
    if isinstance(mask, list):
        for polygon in mask:
            points = ";".join(f"{x:.8g},{y:.8g}" for x, y in zip(polygon[0::2], polygon[1::2]))
            ElementTree.SubElement(image, "polygon", points=points, **common)
    else:
        left, top, width, height = found.boxes[index]
        corners = {"xtl": left, "ytl": top, "xbr": left + width, "ybr": top + height}
        ElementTree.SubElement(image, "box", {**common, **{key: f"{value:.8g}" for key, value in corners.items()}})


FORMAT = Format("cvat", "CVAT for images", "detection", recognise, read, write, ("masks",))
