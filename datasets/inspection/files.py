"""Faults of picture files: broken, repeated, leaked between parts, turned, in odd formats and modes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ...errors import UserError
from ...pictures.reading import OPENCV_FORMATS, opencv_reads, read_header, read_image
from ...system.files import sha256_of
from ...system.processors import available_cpus
from .findings import Findings

#: sides below this many pixels are named
SMALL_SIDE = 32
_PLAIN_MODES = ("RGB", "L")
_MODES = {
    "CMYK": "in CMYK", "YCbCr": "in YCbCr", "LAB": "in LAB", "P": "with a palette", "PA": "with a palette",
    "RGBA": "with transparency", "LA": "with transparency", "1": "of 1 bit",
}  # fmt: skip
_KINDS = {
    "JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",), "BMP": (".bmp",), "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",), "GIF": (".gif",), "PPM": (".ppm", ".pgm", ".pnm"), "JPEG2000": (".jp2", ".j2k"),
}  # fmt: skip


@dataclass
class _Looked:
    """What one file is: reason is why it cannot be used, or ""."""

    name: str
    reason: str = ""
    broken: bool = False
    foreign: str = ""
    digest: str = ""
    orientation: int = 1
    size: tuple[int, int] = (0, 0)
    mode: str = "RGB"
    deep: bool = False
    kind: str = ""


def inspect_files(
    root: Path, parts: Mapping[str, Iterable[str]], findings: Findings, progress: Callable[[], None] = lambda: None
) -> dict[str, tuple[int, int]]:
    """Reads and decodes every picture once.

    Args:
        root: names are relative to it.
        parts: part -> names of its pictures, all of which exist.
        findings: receives the faults.
        progress: called after each picture.

    Returns:
        name -> (width, height) as shown, of the pictures that can be read.
    """
    names = list(dict.fromkeys(name for part in parts.values() for name in part))

    def look(name):
        looked = _look(root / name, name)
        progress()
        return looked

    with ThreadPoolExecutor(available_cpus()) as pool:
        looked = list(pool.map(look, names))
    _report(looked, findings)
    _report_repeats({one.name: one for one in looked}, parts, findings)
    return {one.name: one.size for one in looked if not one.reason}


def _look(path, name):
    looked = _Looked(name)
    try:
        header = read_header(path)
    except UserError as error:
        looked.reason, looked.broken = str(error).removeprefix(f"{path}: "), True
        return looked
    looked.kind, looked.mode, looked.size, looked.orientation = (
        header.kind,
        header.mode,
        header.shown,
        header.orientation,
    )
    looked.digest = sha256_of(path)
    try:
        read_image(path, min_side=1)
    except UserError as error:
        looked.reason = str(error).removeprefix(f"{path}: ")
        return looked
    looked.deep = looked.mode.startswith(("I", "F")) or _is_deep(path, header.kind)
    if header.kind not in OPENCV_FORMATS:
        looked.foreign = f"is a {header.kind}"
    elif not opencv_reads(path):
        looked.foreign = "is an animation"
    return looked


def _is_deep(path, kind):
    """Whether a PNG has 16 bits a channel, which Pillow opens as 8."""
    if kind != "PNG":
        return False
    with open(path, "rb") as stream:
        return stream.read(25)[24:] == b"\x10"


def _report(looked, findings):
    findings.add(
        "files that are no pictures", "stops", "training ends at them: take them out of the data",
        [f"{one.name} {one.reason}" for one in looked if one.broken],
    )  # fmt: skip
    findings.add(
        "pictures that are truncated or damaged", "stops", "training ends at them: fetch them again",
        [f"{one.name} {one.reason}" for one in looked if one.reason and not one.broken],
    )  # fmt: skip
    good = [one for one in looked if not one.reason]
    findings.add(
        "pictures that the toolkits do not read", "stops", "convert them to JPEG or PNG",
        [f"{one.name} {one.foreign}" for one in good if one.foreign],
    )  # fmt: skip
    findings.add(
        "pictures that EXIF turns or mirrors", "used", "used as they are shown; boxes of stored pictures are turned",
        [f"{one.name} (orientation {one.orientation})" for one in good if one.orientation != 1],
    )  # fmt: skip
    findings.add(
        "pictures of 16 bits or more",
        "used",
        "read as 8 bits, the lower ones are lost",
        [one.name for one in good if one.deep],
    )
    gray = [one for one in good if one.mode == "L"]
    odd = [one for one in good if one.mode not in _PLAIN_MODES and not one.deep]
    findings.add(
        "pictures in other modes than RGB", "used", "converted to RGB; transparency is lost",
        [f"{one.name} {_MODES.get(one.mode, f'of mode {one.mode}')}" for one in odd],
    )  # fmt: skip
    if 2 * len(gray) < len(good):
        findings.add(
            "gray pictures among coloured ones", "used", "get three equal channels", [one.name for one in gray]
        )
    findings.add(
        "pictures whose names say another format", "used", "read by their content",
        [f"{one.name} is {one.kind}" for one in good
         if os.path.splitext(one.name)[1].lower() not in _KINDS.get(one.kind, ()) and not one.foreign],
    )  # fmt: skip
    findings.add(
        f"pictures with a side below {SMALL_SIDE} pixels", "used", "enlarged to the input, little is to be seen",
        [f"{one.name} {one.size[0]} x {one.size[1]}" for one in good if min(one.size) < SMALL_SIDE],
    )  # fmt: skip


def _report_repeats(looked, parts, findings):
    by_digest: dict[str, list[tuple[str, str]]] = {}
    for part, names in parts.items():
        for name in dict.fromkeys(names):
            if looked[name].digest:
                by_digest.setdefault(looked[name].digest, []).append((part, name))
    repeated, leaked = [], []
    for cases in by_digest.values():
        if len({part for part, _ in cases}) > 1:
            leaked.append(" = ".join(f"{part} {name}" for part, name in cases))
        elif len({name for _, name in cases}) > 1:
            repeated.append(" = ".join(name for _, name in cases))
    findings.add(
        "pictures that are in several parts (same bytes)",
        "used",
        "the score is better than the model: keep one",
        leaked,
    )
    findings.add("pictures that are there twice (same bytes)", "used", "count as often as they are there", repeated)
