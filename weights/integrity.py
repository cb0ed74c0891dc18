"""Checks that a file is the right one: by its published hash, or by the SHA-256 recorded when it was first seen."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock

from ..errors import UserError
from ..system.files import atomic_path
from .catalog import Entry, Integrity, entries, shown


class Refused(Exception):
    """A file is not what it should be. The text says why, and continues a sentence about the file."""


@dataclass(frozen=True)
class Digests:
    """Size and hashes of a file. `size` counts bytes; `git_blob_sha1` is the object name that git gives the file."""

    size: int
    sha256: str
    sha1: str
    git_blob_sha1: str


def digests(path: Path) -> Digests:
    """All hashes of a file, computed in one pass."""
    size = path.stat().st_size
    sha256, sha1, blob = hashlib.sha256(), hashlib.sha1(), hashlib.sha1(b"blob %d\0" % size)
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            for total in (sha256, sha1, blob):
                total.update(chunk)
    return Digests(size, sha256.hexdigest(), sha1.hexdigest(), blob.hexdigest())


def agrees(integrity: Integrity, found: Digests) -> str | None:
    """Which published hash the file matches, in words such as "git blob SHA-1"; None when it matches none."""
    if integrity.git_blob_sha1 == found.git_blob_sha1:
        return "git blob SHA-1"
    if integrity.sha1 == found.sha1:
        return "SHA-1"
    if integrity.sha256_prefix and found.sha256.startswith(integrity.sha256_prefix):
        return f"first {len(integrity.sha256_prefix)} digits of the SHA-256"
    return None


def owners(found: Digests) -> list[Entry]:
    """The catalog's entries with a published hash that the file matches."""
    return [entry for entry in entries() if agrees(entry.integrity, found)]


def namesakes(path: Path) -> list[Entry]:
    """The catalog's entries whose file has the same name, in the cache or where it is published."""
    return [e for e in entries() if path.name in (e.file, *(url.rpartition("/")[2] for url in e.urls))]


def check(path: Path, entry: Entry, record: "Record", origin: str) -> Digests:
    """Checks that a file is the one that `entry` describes, and returns its hashes.

    Where no full hash is published, the first check records the SHA-256, and later files must have the same.

    Args:
        path: the file; for a zip member, the unpacked file.
        entry: what the file should be.
        record: the SHA-256 recorded so far.
        origin: where the file came from, for the record.

    Raises:
        Refused: it is another file.
    """
    found, stated = digests(path), entry.integrity
    how = agrees(stated, found)
    if stated.stated and not how:
        raise Refused(_mismatch(stated, found))
    if how in ("git blob SHA-1", "SHA-1"):
        return found
    known = record.read().get(entry.file)
    if known is None:
        record.add(entry.file, found, origin)
    elif known["sha256"] != found.sha256:
        raise Refused(
            f"has SHA-256 {found.sha256}, and {known['sha256']} was recorded on {known['recorded'][:10]}; if it was "
            f"replaced where it is published and you trust the new one, remove {entry.file!r} from {record.path}"
        )
    return found


def _mismatch(stated, found):
    """Words for a file that matches none of its published hashes."""
    hashes = (
        ("a SHA-256 that begins with", stated.sha256_prefix),
        ("git blob SHA-1", stated.git_blob_sha1),
        ("SHA-1", stated.sha1),
    )
    expected = " or ".join(f"{words} {value}" for words, value in hashes if value)
    got = found.sha1 if stated.sha1 else found.git_blob_sha1 if stated.git_blob_sha1 else found.sha256
    kind = "SHA-1" if stated.sha1 else "git blob SHA-1" if stated.git_blob_sha1 else "SHA-256"
    return f"is not the published file: {expected} is expected, its {kind} is {got}"


class Record:
    """A JSON file with the SHA-256 that files without a full published hash had when they were first seen.

    Args:
        path: the JSON file. It need not exist yet.
    """

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> dict[str, dict]:
        """{name of a file in the cache: {"sha256", "bytes", "from", "recorded"}}."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if not all(isinstance(row["sha256"], str) and isinstance(row["recorded"], str) for row in content.values()):
                raise ValueError("it has rows without sha256 or recorded")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{self.path} cannot be read ({error}); mend it, or remove it to trust the next files fetched"
            ) from error
        return content

    def add(self, name: str, found: Digests, origin: str) -> None:
        """Adds a file to the record. Several processes may do this at once."""
        with FileLock(self.path.with_suffix(".flock")):
            content = self.read()
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            content[name] = {"sha256": found.sha256, "bytes": found.size, "from": shown(origin), "recorded": now}
            with atomic_path(self.path) as temporary:
                temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
