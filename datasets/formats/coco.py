"""COCO's JSON, one file or one for each part; see `datasets.coco` for what is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath

import msgspec

from .. import coco
from ..annotations import Annotations
from ..report import Report
from .building import join
from .listing import Format, Listing, Source, one_part_each
from .writing import Output


def recognise(listing: Listing) -> Source | None:
    """Takes JSON files with `images` and `annotations` or `categories`. COCO's captions and key points do not count."""
    found = [name for name in listing.of(".json", ".gz") if _is_coco(listing.root / name)]
    instances = [name for name in found if PurePosixPath(name).name.startswith("instances")]
    if not found:
        return None
    found = instances or found
    return Source("coco", "detection", listing.root, ", ".join(found[:3]), len(found), one_part_each(found))


def _is_coco(file):
    try:
        data = file.read_bytes()
    except OSError:
        return False
    if data.startswith(b"\x1f\x8b"):
        return file.name.casefold().endswith(".json.gz")
    data = data.replace(b"\0", b"")  # UTF-16
    return b'"images"' in data and b'"categories"' in data


def read(source: Source, report: Report) -> dict[str, Annotations]:
    """Reads every file, masks too. Files of one part are joined. UserError as `datasets.coco.read`."""
    return {
        part: join([coco.read(source.root / name, report, masks=True) for name in names])
        for part, names in source.details.items()
    }


def write(parts: Mapping[str, Annotations], output: Output) -> None:
    """Writes PART/ with the pictures and annotations/instances_PART.json."""
    for part, found in parts.items():
        part = part or "all"
        names = [output.picture(picture, part) for picture in found.pictures]
        below = [name.removeprefix(f"{part}/") for name in names]
        named = replace(found, pictures=[replace(p, name=name) for p, name in zip(found.pictures, below)])
        content = msgspec.json.encode(coco.content_of(named))
        output.bytes(f"annotations/instances_{part}.json", content)


FORMAT = Format("coco", "COCO", "detection", recognise, read, write, ("masks", "crowd", "sizes"))
