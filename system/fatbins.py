"""For which GPUs a library holds code: the headers of the fat binaries that NVIDIA's compiler leaves in it.

A fat binary is a header and entries. An entry holds the code of one kernel file for one architecture. Machine code
runs on GPUs of its major version, from its minor version on. PTX runs on any later GPU, whose driver compiles it.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_SECTIONS = (".nv_fatbin", "__nv_relfatbin")
_MAGIC = 0xBA55ED50
_PTX, _MACHINE_CODE = 1, 2
# An architecture counts when it has this share of what the most frequent has. Libraries that are linked into Paddle
# hold a few kernels for others.
_SHARE = 0.5


class Code(NamedTuple):
    """Compute capabilities, such as (8, 6), for which there is code.

    Attributes:
        binary: as machine code.
        portable: as PTX.
    """

    binary: tuple[tuple[int, int], ...] = ()
    portable: tuple[tuple[int, int], ...] = ()

    def runs_on(self, capability: tuple[int, int]) -> bool:
        """Whether a GPU of a compute capability can run it."""
        major, minor = capability
        fits = any(held[0] == major and held[1] <= minor for held in self.binary)
        return fits or any(held <= capability for held in self.portable)


def code_in(files: Iterable[str | Path]) -> Code:
    """The architectures for which libraries hold their kernels; none for files that are no 64-bit ELF libraries."""
    counts: Counter[tuple[int, int]] = Counter()
    for file in files:
        counts.update(_entries(Path(file)))
    least = _SHARE * max(counts.values(), default=0)
    held = sorted((kind, divmod(number, 10)) for (kind, number), count in counts.items() if count >= least)
    return Code(*(tuple(one for found, one in held if found == kind) for kind in (_MACHINE_CODE, _PTX)))


def _entries(file):
    """Yields (kind, architecture such as 86) of every entry in a library."""
    with open(file, "rb") as stream:
        if stream.read(5) != b"\x7fELF\x02":
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                for start, size in _sections(data):
                    yield from _section_entries(data, start, start + size)
            except (struct.error, IndexError):  # a file that was cut short
                return


def _sections(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """(offset, size) of the sections with fat binaries, by the ELF file's table of sections."""
    (table,) = struct.unpack_from("<Q", data, 40)
    width, count, names = struct.unpack_from("<HHH", data, 58)
    rows = [struct.unpack_from("<IIQQQQ", data, table + number * width) for number in range(count)]
    for row in rows:
        start = rows[names][4] + row[0]
        if data[start : data.find(b"\0", start)].decode("ascii", "replace") in _SECTIONS:
            yield row[4], row[5]


def _section_entries(data, at, end):
    while at + 16 <= end:
        magic, _, header, size = struct.unpack_from("<IHHQ", data, at)
        if magic != _MAGIC:  # what stands between two fat binaries
            at += 8
            continue
        entry, at = at + header, at + header + size
        while entry < at:
            kind, _, header, size = struct.unpack_from("<HHIQ", data, entry)
            yield kind, struct.unpack_from("<I", data, entry + 28)[0]
            entry += header + size or end
