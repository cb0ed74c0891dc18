"""The cache of published weights: each file is downloaded once and checked at every use.

`home()` holds

    weights/NAME              complete files that passed the check
    weights/NAME.part, .json  an unfinished download, and the URL and version it belongs to
    weights.lock.json         SHA-256 of files without a full published hash, as first seen
    locks/                    one lock per download; the system frees them when a process dies

Uses requests and filelock. pooch, a library for this purpose, does not resume a file, does not try mirrors, and does
not keep two processes from downloading the same file.
"""

import os
import shutil
import sys
import zipfile
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import UserError
from ..system.files import atomic_path, check_writable, sync
from ..system.home import home
from .catalog import Entry, find, is_url, of_url, shown
from .integrity import Record, Refused, check, digests, namesakes, owners
from .transfer import Failed, Settings, discard, disk_error, transfer


def is_offline() -> bool:
    """Whether DENSEBONE_OFFLINE forbids the network."""
    return os.environ.get("DENSEBONE_OFFLINE", "").lower() not in ("", "0", "false", "no", "off")


def cache_path(entry: Entry) -> Path:
    """Where the cache keeps the file of an entry. The file need not exist."""
    return home() / "weights" / entry.file


def fetch(source: Entry | str, settings: Settings | None = None) -> Path:
    """Returns the checked local file of published weights, and downloads it when the cache lacks it.

    Args:
        source: an entry, its name, a model's name (for its default entry), or an http or https URL.
        settings: how patient to be; None takes `Settings()`.

    Returns:
        The file in the cache.

    Raises:
        UserError: no such name, no way to download it, or the download is not the published file.
    """
    entry = source if isinstance(source, Entry) else of_url(source) if is_url(source) else find(source)
    path = cache_path(entry)
    wrong = _wrong(path, entry)
    if not wrong:
        return path
    if is_offline():
        way = _by_hand(entry, "where there is a network")
        raise UserError(f"{_called(entry)} {wrong}, and DENSEBONE_OFFLINE is set; {way}")
    urls = _urls(entry)
    if not urls:
        pages = " or ".join(entry.pages)
        raise UserError(
            f"{_called(entry)} {wrong}, and no program can fetch it; get it from {pages}, then {_add(entry)}"
        )
    with _only_one(path):
        if _wrong(path, entry):
            _download(entry, path, urls, settings or Settings())
    return path


def add(
    file: str | Path, name: str | None = None, examine: Callable[[Path, Entry], None] | None = None
) -> tuple[Entry, Path]:
    """Copies a file that was downloaded by hand into the cache. `fetch` then finds it under its entry.

    Args:
        file: the file, or the zip that it is published in.
        name: the name of its entry; None finds the entry by the file's hash.
        examine: called with the copy and the entry when no hash is published. It raises a UserError when the content
            is something else.

    Returns:
        The entry, and the path of the copy.

    Raises:
        UserError: no such file or entry, not that entry's file, or not a file of any entry.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"weights file {file} does not exist")
    entry = find(name) if name else _recognise(file)
    path = cache_path(entry)
    with _only_one(path):
        try:
            with atomic_path(path) as temporary:
                _copy(file, temporary, entry)
                if examine and not entry.integrity.stated:
                    examine(temporary, entry)
                check(temporary, entry, _record(), str(file))
        except Refused as error:
            raise UserError(f"{file} is not added as {entry.name}: it {error}") from None
        except OSError as error:
            raise disk_error(error, path) from error
    return entry, path


def _wrong(path, entry):
    """What is wrong with a file of the cache, in words that follow its entry's name; None when it is there and right.

    A wrong file stays until a right one replaces it.
    """
    if not path.is_file():
        return f"is not in the cache, {path}"
    try:
        check(path, entry, _record(), "the cache")
    except Refused as error:
        return f"has changed in the cache: {path} {error}"
    except OSError as error:
        if not os.access(path, os.R_OK):
            raise UserError(f"{path} cannot be read ({error.strerror or error})") from error
        if os.access(home(), os.W_OK):
            raise disk_error(error, path) from error
        # Somebody else fills this cache, and we cannot record anything in it.
    return None


def _download(entry, path, urls, settings):
    """Fills `path` from the first URL that delivers the right file."""
    failures = []
    part = path.with_name(path.name + ".part")
    for url in urls:
        try:
            return _from(url, entry, part, path, settings)
        except (Failed, Refused) as error:
            failures.append(f"{shown(url)} {error}")
    way = _by_hand(entry, "elsewhere") if entry.source else "give another URL, or the path of a file"
    raise UserError(f"{_called(entry)} could not be downloaded: {'; '.join(failures)}. Try later; or {way}")


def _from(url, entry, part, path, settings):
    """Fills `path` from one URL. After Failed or Refused, nothing is left that would spoil the next try."""
    for is_last in (False, True):
        continued = transfer(url, part, settings)
        try:
            _accept(part, path, entry, url)
            return
        except Refused:
            discard(part)
            if is_last or not continued:  # a continued file may consist of two versions: download it anew, once
                raise


def _accept(part, path, entry, url):
    """Checks a download and gives it its final name."""
    try:
        if entry.zipped:
            with atomic_path(path) as temporary:
                _copy(part, temporary, entry)
                check(temporary, entry, _record(), url)
        else:
            check(part, entry, _record(), url)
            sync(part)
            os.replace(part, path)
            sync(path.parent)
    except OSError as error:
        raise disk_error(error, path) from error
    discard(part)


def _copy(source, target, entry):
    """Copies a file; for an entry that is published in a zip, the one file inside it."""
    if not (entry.zipped and zipfile.is_zipfile(source) and (member := _member(source))):
        shutil.copyfile(source, target)
        return
    try:
        with zipfile.ZipFile(source) as archive, archive.open(member) as stream, open(target, "wb") as out:
            shutil.copyfileobj(stream, out, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise Refused(f"is a damaged zip ({error})") from error


def _member(path):
    """The only file in a zip, or None when it holds several, as PyTorch's own zip files do."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
    except zipfile.BadZipFile as error:
        raise Refused(f"is a damaged zip ({error})") from error
    return members[0] if len(members) == 1 else None


def _recognise(file):
    """The entry whose published hash the file has; UserError when there is none."""
    found = owners(digests(file))
    if not found:
        named = namesakes(file)
        if named and named[0].zipped:  # its hash is of the file inside the zip, which is checked once unpacked
            return named[0]
        what = f"; its name is that of {' and '.join(e.name for e in named)}" if named else ""
        raise UserError(
            f"no published hash says what {file} is{what}; name it with --as NAME (densebone weights list), or use "
            "the file by its path"
        )
    return found[0]


@contextmanager
def _only_one(path):
    """Lets one process at a time work on a file of the cache."""
    lock = FileLock(home() / "locks" / f"{path.name}.lock")
    try:
        check_writable(home() / "locks")
        check_writable(path.parent)
    except UserError as error:
        raise UserError(
            f"{str(error).partition(';')[0]}; set DENSEBONE_HOME to a folder that you may write to"
        ) from None
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if sys.stderr.isatty():
            print(f"another process is busy with {path.name}; waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _urls(entry):
    """The URLs to try, best first: DENSEBONE_MIRROR, then the publishers."""
    mirror = os.environ.get("DENSEBONE_MIRROR", "").strip()
    if not mirror or not entry.source:
        return entry.urls
    of_url(mirror)  # raises a UserError unless it is http or https
    return (f"{mirror.rstrip('/')}/{entry.file}{'.zip' if entry.zipped else ''}", *entry.urls)


def _record():
    return Record(home() / "weights.lock.json")


def _called(entry):
    return entry.name if entry.source else shown(entry.name)


def _add(entry):
    return f"densebone weights add FILE --as {entry.name}"


def _by_hand(entry, place):
    """What the user can do without the network of this machine."""
    if not entry.source:
        return "download it elsewhere and give the path of the file"
    return f"download it {place} and then {_add(entry)}"
