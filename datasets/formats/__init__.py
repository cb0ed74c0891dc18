"""The formats of annotations that are read, recognised by their content: one file each, and this table of them.

look(folder) -> Listing -> recognise -> Source -> read -> {part: Annotations, Labelled or MaskSet}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import UserError, suggest
from ..annotations import Annotations
from ..report import Report, few
from . import class_folders, coco, cvat, label_table, labelme, mask_pairs, table, voc, yolo
from .building import selected
from .class_folders import Labelled
from .listing import PARTS, Format, Listing, Source, look, part_of_file
from .mask_pairs import MaskSet

_MODULES = (coco, voc, yolo, labelme, cvat, table, mask_pairs, label_table, class_folders)
FORMATS: dict[str, Format] = {module.FORMAT.name: module.FORMAT for module in _MODULES}
TASKS = ("detection", "segmentation", "classification")

__all__ = [
    "FORMATS",
    "PARTS",
    "TASKS",
    "Annotations",
    "Format",
    "Labelled",
    "Listing",
    "MaskSet",
    "Source",
    "look",
    "part_of_file",
    "read",
    "recognise",
    "selected",
]  # fmt: skip


def recognise(path: str | Path, name: str | None = None, task: str | None = None) -> Source:
    """Finds out which format a folder's annotations have.

    Args:
        path: the folder of pictures and annotations, or the main file of the annotations.
        name: the format, where the user says it.
        task: the task, where the user says it: only its formats count.

    Raises:
        UserError: no annotations are recognised, or those of several formats.
    """
    if name is not None and name not in FORMATS:
        raise UserError(f"there is no format {name!r}; {suggest(name, FORMATS)}")
    listing = look(path)
    if not listing.pictures:
        raise UserError(f"{path} holds no pictures; give the folder that holds pictures and annotations")
    tried = [f for f in FORMATS.values() if name in (None, f.name) and task in (None, f.task)]
    found = [source for source in (f.recognise(listing) for f in tried) if source is not None]
    if any(source.files for source in found):  # class folders have no file that speaks for them
        found = [source for source in found if source.files]
    # label pictures stand beside annotation files only by accident of their folders' names
    if len(found) > 1 and (annotated := [s for s in found if s.format != "masks"]) and name is None and task is None:
        found = annotated if len(annotated) == len(found) - 1 and len(annotated) == 1 else found
    if not found:
        raise UserError(_nothing(path, listing, name))
    if len(found) > 1:
        seen = "; ".join(f"{s.format} ({s.evidence})" for s in found)
        raise UserError(
            f"{path} holds annotations of several formats: {seen}; say which with --format {found[0].format}"
        )
    return found[0]


def _nothing(path, listing, name):
    seen = [f"{len(names)} {extension or 'without extension'}" for extension, names in listing.files.items()]
    as_what = f"in the format {name}" if name else f"in a format that is known ({', '.join(FORMATS)})"
    example = next((n for names in listing.files.values() for n in names), None)
    return (
        f"{path} has no annotations {as_what}: {len(listing.pictures)} pictures"
        f"{', files ' + few(sorted(seen)) if seen else ''}{f', such as {example}' if example else ''}; "
        f"docs/own_data.md shows what is read"
    )


def read(source: Source, report: Report) -> Mapping[str, Any]:
    """Reads a recognised data set.

    Returns:
        {part: content}; part "" is for data that is not divided. Content is `Annotations` for detection, `MaskSet` for
        segmentation, `Labelled` for classification.

    Raises:
        UserError: a file that cannot be read as its format.
    """
    return FORMATS[source.format].read(source, report)
