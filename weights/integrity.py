"""Telling that a file is the right one: published hashes, and a record of SHA-256 where none are published."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timezone

from filelock import FileLock

from ..errors import UserError
from ..system.files import atomic_path
from .catalog import entries, shown


class Refused(Exception):
    """A file that is not what it should be; the text says why."""


@dataclass(frozen=True)
class Digests:
    """Hashes of a file: `git_blob_sha1` is the name that git gives it. `size` in bytes."""

    size: int
    sha256: str
    sha1: str
    git_blob_sha1: str


def digests(path):
    """The Digests of a file, in one pass."""
    size = path.stat().st_size
    sha256, sha1, blob = hashlib.sha256(), hashlib.sha1(), hashlib.sha1(b"blob %d\0" % size)
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            for total in (sha256, sha1, blob):
                total.update(chunk)
    return Digests(size, sha256.hexdigest(), sha1.hexdigest(), blob.hexdigest())


def agrees(integrity, found):
    """The published hash that `found` agrees with, as words such as "git blob SHA-1", or None."""
    if integrity.git_blob_sha1 == found.git_blob_sha1:
        return "git blob SHA-1"
    if integrity.sha1 == found.sha1:
        return "SHA-1"
    if integrity.sha256_prefix and found.sha256.startswith(integrity.sha256_prefix):
        return f"first {len(integrity.sha256_prefix)} digits of the SHA-256"
    return None


def owners(found):
    """The entries of the catalog whose published hashes agree."""
    return [entry for entry in entries() if agrees(entry.integrity, found)]


def namesakes(path):
    """The entries of the catalog whose file has the name of this one, in the cache or where it is published."""
    return [e for e in entries() if path.name in (e.file, *(url.rpartition("/")[2] for url in e.urls))]


def check(path, entry, record, origin):
    """The Digests of a file that is what `entry` says.

    Where no full hash is published, the SHA-256 is recorded when first seen, and has to be the same from then on.

    Args:
        path (Path): the file; for a zip member, what was in the zip.
        entry (Entry)
        record (Record)
        origin (str): where it came from, for the record.

    Raises:
        Refused: it is something else.
    """
    found, stated = digests(path), entry.integrity
    how = agrees(stated, found)
    if stated.stated and not how:
        expected = [
            f"{words} {value}"
            for words, value, got in (
                ("a SHA-256 that begins with", stated.sha256_prefix, found.sha256),
                ("git blob SHA-1", stated.git_blob_sha1, found.git_blob_sha1),
                ("SHA-1", stated.sha1, found.sha1),
            )
            if value
        ]
        got = found.sha1 if stated.sha1 else found.git_blob_sha1 if stated.git_blob_sha1 else found.sha256
        kind = "SHA-1" if stated.sha1 else "git blob SHA-1" if stated.git_blob_sha1 else "SHA-256"
        raise Refused(f"is not the published file: {' or '.join(expected)} is expected, its {kind} is {got}")
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


class Record:
    """SHA-256 of the files for which no full hash is published, as they were when first seen: a JSON file.

    Args:
        path (Path): the file; need not exist.
    """

    def __init__(self, path):
        self.path = path

    def read(self):
        """{name of a file in the cache: {"sha256", "bytes", "from", "recorded"}}."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if not all(isinstance(row["sha256"], str) and isinstance(row["recorded"], str) for row in content.values()):
                raise ValueError("it has rows without sha256 or recorded")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self.path} cannot be read ({error}); mend it, or remove it to trust the files that come next"
            ) from error
        return content

    def add(self, name, found, origin):
        """Keeps the Digests of a file; safe against other processes that do the same."""
        with FileLock(self.path.with_suffix(".flock")):
            content = self.read()
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            content[name] = {"sha256": found.sha256, "bytes": found.size, "from": shown(origin), "recorded": now}
            with atomic_path(self.path) as temporary:
                temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
