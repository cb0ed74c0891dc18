"""One process at a time works on a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import UserError
from .home import home


@contextmanager
def only_one(folder: str | Path, doing: str) -> Iterator[None]:
    """Within this context no other process of this machine and user has a folder; UserError where one has.

    The lock is in the home of densebone, so that nothing foreign is in the folder. The system frees it when a process
    dies. Where that home cannot be written to, there is no lock.

    Args:
        folder: need not exist yet.
        doing: for the message: "another process {doing} {folder}", such as "trains into".
    """
    key = hashlib.sha256(os.fsencode(Path(folder).resolve())).hexdigest()[:32]
    place = home() / "locks" / f"folder-{key}.lock"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        usable = os.access(place.parent, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        yield
        return
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"another process {doing} {folder}; wait for its end, or give another folder") from error
    try:
        yield
    finally:
        lock.release()
