"""The folder of exported networks. One process writes at a time, exports appear whole, and the oldest are deleted."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..system.files import atomic_path, facts_of

#: exports that are kept. Beyond that the least recently used are deleted, but none used within the last hour.
MAX_EXPORTS, MIN_AGE_S = 24, 3600
#: the file of a folder that says what the others were when they were written
SEAL = "files.json"


@contextmanager
def export_lock(target: Path) -> Iterator[None]:
    """Only one process at a time is inside this block for the same `target`; the others wait."""
    with FileLock(target.with_name(f"{target.name}.lock")):
        yield


def seal(folder: Path) -> None:
    """Writes down the size and SHA-256 of every file of a folder, into the folder."""
    files = {file.name: facts_of(file) for file in sorted(folder.iterdir()) if file.name != SEAL}
    with atomic_path(folder / SEAL) as temporary:
        temporary.write_text(json.dumps(files, indent=1))


def broken(folder: Path) -> str | None:
    """Why the files of a sealed folder are not those that were written; None when they are.

    Hashing takes about half a millisecond a megabyte.
    """
    expected = read_record(folder / SEAL)
    if not expected:
        return f"{SEAL} is missing or damaged"
    for name, facts in expected.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if facts_of(file) != facts:
            return f"{name} has changed"
    return None


@contextmanager
def sealed(folder: Path) -> Iterator[None]:
    """Seals a folder at the end of the block."""
    yield
    seal(folder)


def delete_all_but(folder: Path, name: str) -> None:
    """Deletes every file in a folder except `name`."""
    for file in folder.iterdir():
        if file.name != name:
            file.unlink()


def delete_oldest(cache: Path) -> None:
    """Deletes the least recently used exports beyond `MAX_EXPORTS`."""
    used = sorted(((file.stat().st_mtime, file) for file in cache.glob("*-*") if file.is_dir()), reverse=True)
    for moment, folder in used[MAX_EXPORTS:]:
        if time.time() - moment > MIN_AGE_S:
            shutil.rmtree(folder, ignore_errors=True)


def read_record(path: Path) -> dict[str, Any]:
    """The contents of a JSON file in the cache; {} when it is missing or broken."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
