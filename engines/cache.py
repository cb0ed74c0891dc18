"""The folder of exported networks. One process writes at a time, exports appear whole, and the oldest are deleted."""

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

#: exports that are kept. Beyond that the least recently used are deleted, but none used within the last hour.
MAX_EXPORTS, MIN_AGE_S = 24, 3600


@contextmanager
def export_lock(target: Path) -> Iterator[None]:
    """Only one process at a time is inside this block for the same `target`; the others wait."""
    with FileLock(target.with_name(f"{target.name}.lock")):
        yield


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yields a hidden folder that is renamed to `target` at the end, or deleted after an error.

    Also deletes hidden folders that a killed process left.
    """
    for left in target.parent.glob(f".{target.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    hidden = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    hidden.mkdir()
    try:
        yield hidden
        os.replace(hidden, target)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


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
