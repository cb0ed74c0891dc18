"""Files that appear whole or not at all: written under a temporary name, then renamed.

The temporary name follows from the file's name, and the writer holds a lock on it. So the next writer of the same file
takes over what a killed process left, and two writers at a time do not disturb each other.
"""

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


def _create_beside(path):
    """Creates an empty hidden file in the folder of `path`, with the same extension.

    Returns:
        (its path, a file descriptor that holds its lock until it is closed).
    """
    own = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8] if fcntl else secrets.token_hex(4)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            # Not tempfile: its files are readable by their owner only, and the rename would keep that.
            temporary = path.with_name(f".{_start(path.stem)}-{own}{path.suffix}")
            handle = os.open(temporary, os.O_CREAT | os.O_RDWR, 0o666)
            if _locked(handle, temporary):
                os.truncate(handle, 0)
                return temporary, handle
            os.close(handle)
            own = secrets.token_hex(4)  # another process writes the same file
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"cannot write into the folder {path.parent} ({reason}); give a path in a folder you may write to"
        ) from error


def _locked(handle, path):
    """Whether this process now has the file that an open descriptor and a path share."""
    if fcntl is None:  # on Windows, where every writer has a name of its own
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:  # its writer has renamed it since
        return False


def _start(name):
    """The start of a name, at most 80 bytes of it."""
    return os.fsencode(name)[:80].decode("utf-8", "ignore")


def sync(path: str | Path) -> None:
    """Flushes a file, or a folder's list of files, to the disk. Skips a folder where the system cannot open one."""
    try:
        # Windows cannot open a folder, and flushes a file only when it is open for writing.
        handle = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
    except OSError:
        if os.path.isdir(path):
            return
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(folder: str | Path) -> None:
    """Creates `folder` when it is missing; UserError when it cannot be created or written to."""
    temporary, handle = _create_beside(Path(folder) / "check")
    temporary.unlink()
    os.close(handle)


def remove_temporaries(folder: str | Path, suffixes: Collection[str]) -> None:
    """Deletes the temporary files with these extensions that `atomic_path` left when its process was killed.

    Call it only when no other process writes such files to the folder, because their temporary files look the same.
    """
    for file in Path(folder).iterdir():
        if file.suffix in suffixes and re.fullmatch(r"\..*-[0-9a-f]{8}", file.stem):
            file.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Yields a temporary path beside `path`. At the end of the block it becomes `path`; after an error it is deleted.

    Folders that are missing are created. The temporary file exists and is empty. It has the extension of `path`, so
    writers that choose a format by the extension choose the right one. The old file at `path` stays until the new one
    is complete on the disk.

    Args:
        path: the file to write; must not be a folder.
        durable: whether the file is on the disk before it takes its name, which takes 4 ms. Without, a process that is
            killed leaves no half file, but a computer that loses power may.

    Raises:
        UserError: `path` is a folder, or its folder cannot be created or written to.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder, and a file is to be written there; give the name of a file")
    temporary, handle = _create_beside(path)
    try:
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    if durable:
        sync(path.parent)


def no_room(error: OSError) -> str | None:
    """What to say when an error means that the disk has no room, or a user's quota or a limit is reached; else None."""
    if error.errno == errno.EFBIG:
        return "a file may not become larger here"
    return "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else None


def facts_of(path: str | Path) -> dict[str, int | str]:
    """Size and SHA-256 of a file, to tell later whether it is still the same."""
    return {"bytes": Path(path).stat().st_size, "sha256": sha256_of(path)}


def sha256_of(path: str | Path) -> str:
    """The SHA-256 of a file, as hex digits."""
    total = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()
