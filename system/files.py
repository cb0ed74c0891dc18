"""Files appear whole or not at all: write beside, then rename."""

import hashlib
import os
import re
import secrets
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError


def _create_beside(path):
    """Create an empty hidden file in the folder of `path`, with the same extension, and return its path."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not tempfile: it creates files that only their owner may read, and the rename would keep that.
        temporary = path.with_name(f".{path.stem[:80]}-{secrets.token_hex(4)}{path.suffix}")
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"cannot write into the folder {path.parent} ({reason}); give a path in a folder you may write to"
        ) from error
    return temporary


def sync(path):
    """Flush a file, or the list of names in a folder, to the disk; a folder where the system allows it."""
    try:
        # Windows cannot open a folder, and flushes a file only through a handle that may write.
        handle = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
    except OSError:
        if os.path.isdir(path):
            return
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(folder):
    """Create `folder` where it is missing; UserError when it cannot be created or written to."""
    _create_beside(Path(folder) / "check").unlink()


def remove_temporaries(folder, suffixes):
    """Delete what `atomic_path` left in a folder where the process was killed, of files with these endings.

    Call it only where nothing else writes such files: what another process is writing looks the same.
    """
    for file in Path(folder).iterdir():
        if file.suffix in suffixes and re.fullmatch(r"\..*-[0-9a-f]{8}", file.stem):
            file.unlink(missing_ok=True)


@contextmanager
def atomic_path(path):
    """Yield a temporary path beside `path`; on success it becomes `path`, on failure it is removed.

    Missing parent folders are created. The temporary file exists and is empty, and has the extension of
    `path`, so that writers which go by the extension do what they would do for `path`. What was at `path`
    before stays until the new file is complete on the disk.

    Args:
        path: the file to write, str or Path; must not be a folder.

    Raises:
        UserError: `path` is a folder, or its folder cannot be created or written to.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder, and a file is to be written there; give the name of a file")
    temporary = _create_beside(path)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sha256_of(path):
    """Hex digits of a file's SHA-256."""
    total = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()
