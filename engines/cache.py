"""The folder of exported networks: one process writes, folders appear whole, and the oldest go."""

import json
import os
import secrets
import shutil
import time
from contextlib import contextmanager

from filelock import FileLock

# How many exported networks are kept; those that were used least recently go first, but none of the last hour.
KEPT, YOUNG = 24, 3600


@contextmanager
def only_one(path):
    """Lets one process at a time export to a path."""
    with FileLock(path.with_name(f"{path.name}.lock")):
        yield


@contextmanager
def new_folder(target):
    """Yields a hidden folder that becomes `target`, whole or not at all; clears what a killed process left."""
    for left in target.parent.glob(f".{target.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    hidden = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    hidden.mkdir()
    try:
        yield hidden
        os.replace(hidden, target)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def keep_only(folder, name):
    """Deletes every file of a folder but one."""
    for file in folder.iterdir():
        if file.name != name:
            file.unlink()


def forget_oldest(root):
    """Removes the exports that were not used for longest, past `KEPT`."""
    used = sorted(((file.stat().st_mtime, file) for file in root.glob("*-*") if file.is_dir()), reverse=True)
    for moment, folder in used[KEPT:]:
        if time.time() - moment > YOUNG:
            shutil.rmtree(folder, ignore_errors=True)


def read_json(path):
    """What a file of the cache says; an empty dict when it is not there or not readable."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
