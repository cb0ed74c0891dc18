"""How much memory is free; and freed memory, kept for the next picture in place of given back to the system.

A decoded picture takes a megabyte or more. By default glibc asks the system for every such block and gives it back at
once, and the system clears each page anew. On a virtual machine that costs as much as decoding the picture.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
#: bytes that stay with the process when they are free
KEPT = 256 << 20
#: larger blocks are given back at once; glibc allows no more
LARGEST = 32 << 20


def keep_freed() -> bool:
    """Lets this process keep freed memory, up to `KEPT`, as commands that read many pictures do; forks inherit it.

    Returns:
        Whether it does: on Linux with glibc, unless the environment sets glibc's own MALLOC_ variables.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library than glibc
        return False
    return all(mallopt(*pair) == 1 for pair in ((_MMAP_THRESHOLD, LARGEST), (_TRIM_THRESHOLD, KEPT)))


def free_bytes() -> int | None:
    """Bytes of memory that this process may still take, by the system's count and its container's; None if unknown."""
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            free = next(int(line.split()[1]) << 10 for line in stream if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None
    try:
        limit, used = (_number(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    except (OSError, ValueError):  # no container, or one without a limit
        return free
    return max(0, min(free, limit - used))


def _number(file):
    with open(file, encoding="ascii") as stream:
        return int(stream.read())
