"""Downloads one URL into one file. Resumes where the server allows it, and tries again when the network fails."""

import ipaddress
import json
import random
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3
from tqdm import tqdm

from ..errors import UserError
from ..system.files import atomic_path, no_room
from .catalog import shown

_CHUNK = 1 << 16
# A connection that adds this many bytes counts as progress, and resets the count of failures.
_PROGRESS = 1 << 20
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Settings:
    """How patient a download is.

    Attributes:
        retries: further tries after the network or the server failed.
        backoff: seconds before the first retry. Each further wait doubles; a random part, up to half, is taken off.
        backoff_limit: the longest wait in seconds, also when the server asks for a longer one.
        timeout: seconds to connect, and seconds without a byte.
        slowest: bytes a second below which a connection counts as broken, over `patience` seconds.
        patience: see `slowest`.
        progress: whether to show a progress bar on stderr; None shows it when stderr is a terminal.
    """

    retries: int = 4
    backoff: float = 1.0
    backoff_limit: float = 30.0
    timeout: tuple[float, float] = (10.0, 30.0)
    slowest: float = 1024.0
    patience: float = 30.0
    progress: bool | None = None


class Failed(Exception):
    """A URL does not deliver the file. The text says why, and continues a sentence about the URL."""


class _Again(Exception):
    """The next try may work. `after` is how many seconds the server asks to wait."""

    def __init__(self, words: str, after: int | None = None):
        super().__init__(words)
        self.after = after


def transfer(url: str, part: Path, settings: Settings) -> bool:
    """Downloads a URL into `part`, and continues what an earlier call left there if the file on the server is the same.

    `<part>.json`, beside it, says which URL and which version of the file the bytes belong to.

    Args:
        url: http or https.
        part: the file to fill; its folder must exist.
        settings: how patient to be.

    Returns:
        Whether some of the bytes came over an earlier connection.

    Raises:
        Failed: not found, a web page, or too many failures.
        UserError: the local disk is full or cannot be written to.
    """
    best, failures = _size(part), 0
    with requests.Session() as session:
        # A proxy from the environment cannot reach this machine itself.
        session.trust_env = not _is_local(url)
        while True:
            try:
                return _attempt(session, url, part, settings)
            except _Again as error:
                failures = 0 if _size(part) >= best + _PROGRESS else failures + 1
                best = max(best, _size(part))
                if failures > settings.retries:
                    raise Failed(f"{error} ({failures} tries)") from error
                print(f"note: {shown(url)}: {error}; trying again", file=sys.stderr, flush=True)
                wait = settings.backoff * 2 ** max(failures - 1, 0) * random.uniform(0.5, 1)
                time.sleep(min(max(wait, error.after or 0), settings.backoff_limit))


def discard(part: Path) -> None:
    """Removes `part` and its .json file."""
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _attempt(session, url, part, settings):
    """Makes one connection. Returns whether it continued an earlier one; raises _Again, Failed or UserError."""
    notes = _read_notes(part, url)
    have = _size(part) if notes["validator"] else 0
    if have and have == notes["total"]:
        return True
    headers = {"Accept-Encoding": "identity", "User-Agent": "densebone"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": notes["validator"]}
    final = (requests.exceptions.SSLError, requests.TooManyRedirects, requests.exceptions.InvalidSchema)
    try:
        with session.get(url, headers=headers, stream=True, timeout=settings.timeout) as response:
            _check_answer(response)
            if response.status_code == 416:
                return _after_the_end(response, part, have)
            if response.status_code == 200:
                have = 0
            total = _total(response, part, have, notes)
            _receive(response, url, part, have, total, settings)
    except final as error:
        raise Failed(_words(error)) from error
    except requests.exceptions.InvalidURL as error:
        raise Failed(f"is not a URL ({_words(error)})") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _Again(_words(error)) from error
    if total is not None and _size(part) < total:
        raise _Again(f"the connection ended after {_size(part)} of {total} bytes")
    if (total is not None and _size(part) > total) or not _size(part):
        size = _size(part)
        discard(part)
        raise Failed(f"gave {size} bytes, and {total} were promised" if size else "gave an empty file")
    return have > 0


def _check_answer(response):
    """Raises _Again or Failed when the answer is not the file."""
    hops = [urlsplit(r.url).scheme for r in (*response.history, response)]
    if "https" in hops and hops[-1] == "http":
        raise Failed("leads from https to http, where anyone can change the file")
    status = response.status_code
    if status in _TRANSIENT:
        asked = response.headers.get("Retry-After", "")
        raise _Again(f"HTTP {status} {response.reason}", int(asked) if asked.isdigit() else None)
    if status not in (200, 206, 416):
        raise Failed(f"HTTP {status} {response.reason}")
    if status != 416 and response.headers.get("Content-Type", "").split(";")[0].strip().lower() in (
        "text/html",
        "application/xhtml+xml",
    ):
        raise Failed("is a web page, not a file of weights")


def _after_the_end(response, part, have):
    """Handles status 416, no bytes beyond ours: the file is complete (True), or it changed on the server (_Again)."""
    if have and response.headers.get("Content-Range", "").strip() == f"bytes */{have}":
        return True
    discard(part)
    raise _Again("the file has changed on the server")


def _total(response, part, have, notes):
    """The size of the whole file in bytes, or None when the server does not say."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdigit() else None
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    total = int(found[2]) if found and found[2] != "*" else notes["total"]
    # Some servers ignore If-Range.
    same = _validator(response) in (None, notes["validator"]) and notes["total"] in (None, total)
    if not (have and found and int(found[1]) == have and same):
        discard(part)
        raise _Again("the file has changed on the server")
    return total


def _receive(response, url, part, have, total, settings):
    """Writes the body into `part`, after its first `have` bytes."""
    _check_room(part.parent, (total or 0) - have)
    hidden = settings.progress is False or (settings.progress is None and not sys.stderr.isatty())
    try:
        with open(part, "r+b" if have else "wb") as stream:
            stream.seek(have)
            if not have:
                _write_notes(part, {"url": url, "validator": _validator(response), "total": total})
            name = part.name.removesuffix(".part")
            with tqdm(
                total=total, initial=have, desc=name, unit="B", unit_scale=True, file=sys.stderr, disable=hidden
            ) as bar:
                for chunk in _chunks(response.raw, settings):
                    if not have and not stream.tell() and re.match(rb"\s*<(!doctype html|html)", chunk[:200], re.I):
                        raise Failed("is a web page, not a file of weights")
                    stream.write(chunk)
                    bar.update(len(chunk))
    except (requests.RequestException, urllib3.exceptions.HTTPError):  # the first is an OSError too
        raise
    except OSError as error:
        raise disk_error(error, part) from error
    except Failed:
        discard(part)
        raise


def _chunks(raw, settings):
    """The body as it comes. Raises _Again for a server that sends next to nothing."""
    # read1 returns what is there; read waits for a whole chunk, which a slow server may take hours for
    read = getattr(raw, "read1", raw.read)
    since, received = time.monotonic(), 0
    # raw bytes: keep the published ones, even when a server declares a content encoding
    while chunk := read(_CHUNK, decode_content=False):
        yield chunk
        received += len(chunk)
        passed = time.monotonic() - since
        if passed >= settings.patience:
            if received < settings.slowest * passed:
                raise _Again(f"the server sends {received / passed:.0f} bytes a second")
            since, received = time.monotonic(), 0


def disk_error(error: OSError, path: Path) -> UserError:
    """The UserError to raise when writing a file of the cache fails."""
    folder = path.parent
    if reason := no_room(error):
        return UserError(
            f"{reason}, and {path.name} in {folder} is incomplete; make room and try again, which resumes the "
            "download, or set DENSEBONE_HOME to a folder on another disk"
        )
    return UserError(
        f"cannot write into {folder} ({error.strerror or error}); set DENSEBONE_HOME to a folder that you may write to"
    )


def _check_room(folder, needed):
    """Raises a UserError unless the disk that holds a folder has room for `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{needed / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB are free on the disk of {folder}; make room, "
            "or set DENSEBONE_HOME to a folder on another disk"
        )


def _validator(response):
    """What identifies this version of a file: its strong ETag, else Last-Modified, else None."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _notes(part):
    return part.with_name(part.name + ".json")


def _read_notes(part, url):
    """The version and size that the .json file of `part` records for this URL; None for what it does not."""
    try:
        notes = json.loads(_notes(part).read_text(encoding="utf-8"))
        if notes["url"] == url:
            return {"validator": notes["validator"], "total": notes["total"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass  # missing or damaged notes know nothing: the file is fetched from its first byte
    return {"validator": None, "total": None}


def _write_notes(part, notes):
    with atomic_path(_notes(part)) as temporary:
        temporary.write_text(json.dumps(notes), encoding="utf-8")


def _size(path):
    return Path(path).stat().st_size if path.is_file() else 0


def _is_local(url):
    host = urlsplit(url).hostname
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _words(error):
    """An error in a few words, without the layers of exceptions around it."""
    if isinstance(error, (requests.exceptions.ConnectTimeout, requests.exceptions.ReadTimeout)):
        return "no answer in time"
    cause = error
    while isinstance(inner := getattr(cause, "reason", None) or next(iter(cause.args), None), Exception):
        cause = inner
    if isinstance(cause, urllib3.exceptions.ReadTimeoutError):
        return "no answer in time"
    if isinstance(cause, (urllib3.exceptions.ProtocolError, urllib3.exceptions.IncompleteRead, ConnectionError)):
        return "the connection broke"
    return " ".join(str(cause).split()) or type(cause).__name__
