"""Pictures at addresses that fsspec knows: http://, s3://, gs://, hdfs://, memory:// and others.

`Address` stands where a path stands. What is no picture's own fault, such as a store that refuses or does not answer,
is `Unreachable`: nobody may leave pictures out for it, because the next run could read them.
"""

from __future__ import annotations

import os
import posixpath
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import UserError
from .manifests import is_list, listed_in
from .names import EXTENSIONS, is_hidden, is_picture_name

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://.", re.DOTALL)
#: how often an answer is asked for, and the seconds of waiting before each new try
TRIES, PAUSE = 4, 0.5
#: seconds that an http server may take to connect, and to send the next bytes
CONNECT, READ = 10, 30


class Unreachable(UserError):
    """A store of pictures refuses or does not answer. The run stops, and no picture is left out."""


class Address(type(Path())):  # type: ignore[misc]
    """The address of a picture, in the place of a path: `str` gives it as it is, `name` and `suffix` as a path's.

    What is derived from one, such as `parent`, is good for names alone.
    """

    def __new__(cls, url: Any, *_: Any) -> Address:
        """Of a text such as "s3://bucket/a.jpg"."""
        result = super().__new__(cls, str(url))
        result.url = str(url)
        return result

    def __str__(self) -> str:
        return getattr(self, "url", None) or super().__str__()

    def __fspath__(self) -> str:
        return str(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return path_of, (str(self),)

    def resolve(self, strict: bool = False) -> Address:
        """Itself: an address has no links."""
        return self

    @property
    def suffix(self) -> str:
        """Of the name, without what follows a question mark."""
        return posixpath.splitext(plain_name(str(self)))[1]


def is_address(text: object) -> bool:
    """Whether this is an address such as s3://bucket/a.jpg, and no path of this machine."""
    return bool(_ADDRESS.match(str(text)))


def path_of(given: Any) -> Path:
    """The path of a picture, or its `Address`. file:///a.jpg is the path /a.jpg."""
    if isinstance(given, Address) or not is_address(given):
        return given if isinstance(given, Path) else Path(given)
    if str(given).startswith("file://"):
        return Path(str(given).removeprefix("file://"))
    return Address(given)


def is_own(address: str) -> bool:
    """Whether only the process that wrote it can read it."""
    return address.startswith("memory://")


def plain_name(address: str) -> str:
    """The last part of an address, without what follows a question mark."""
    return address.partition("?")[0].rpartition("/")[2]


def is_one(address: str) -> bool:
    """Whether an address is of pictures by its looks: of a picture, a list of them, or a pattern."""
    plain = plain_name(address)
    return plain.lower().endswith(EXTENSIONS) or is_list(plain) or "*" in address


def pictures_at(address: str) -> Iterator[str]:
    """Yields the addresses of the pictures that one address names, and opens none.

    Args:
        address: of a picture, of a folder, which is searched with what is below, a pattern such as s3://b/a/*.jpg, or a
            list (.txt, .parquet).

    Raises:
        Unreachable: the store refuses or does not answer.
        UserError: there is no such address, or the package for it is missing.
    """
    plain = plain_name(address).lower()
    if is_list(plain):
        yield from listed_in(address, lambda: _open(address))
    elif "*" in address:
        system, path = _system(address)
        for found in sorted(_tried(lambda: system.glob(path), address)):
            if is_picture_name(plain_name(found)):
                yield _full(system, found)
    elif plain.endswith(EXTENSIONS):
        yield address
    else:
        yield from _below(address)


def _below(address):
    system, path = _system(address)
    if _tried(lambda: system.isfile(path), address) and not address.endswith("/"):
        yield address
        return
    if not _tried(lambda: system.isdir(path), address):
        raise UserError(f"{address} does not exist; give the address of a picture, a folder, a pattern or a list")
    waiting, seen = [path], set()
    while waiting:
        folder = waiting.pop()
        for entry in _tried(lambda folder=folder: system.ls(folder, detail=True), address):
            name = entry["name"]
            if (
                is_hidden(plain_name(name.rstrip("/")))
                or name in seen
                or len(name.rstrip("/")) <= len(folder.rstrip("/"))
            ):
                continue
            if entry["type"] == "directory":
                seen.add(name)
                waiting.append(name)
            elif is_picture_name(plain_name(name)):
                yield _full(system, name)


def _full(system, name):
    return name if is_address(name) else system.unstrip_protocol(name)


def _open(address):
    system, path = _system(address)
    return _tried(lambda: system.open(path, "rb"), address)


def _system(address):
    """(fsspec's file system for an address, the path in it)."""
    try:
        import fsspec
    except ImportError as error:
        raise Unreachable(
            f"{address} needs fsspec, which is not installed; pip install 'densebone[addresses]'"
        ) from error
    options: dict[str, Any] = {}
    if address.startswith(("http://", "https://")):
        try:
            import aiohttp
        except ImportError as error:
            raise Unreachable(f"{address} needs aiohttp, which is not installed; pip install aiohttp") from error
        options = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(None, sock_connect=CONNECT, sock_read=READ)}}
    try:
        return fsspec.core.url_to_fs(address, **options)
    except (ImportError, ValueError) as error:
        raise Unreachable(f"{address} cannot be opened ({_words(error)}); install what is named, or mend it") from error
    except Exception as error:  # a file system may look for its settings and its server when it is made
        raise _fault(error, address) from error


def fetch(address: str) -> bytes:
    """The bytes of a file. Asks `TRIES` times where a server does not answer or is busy.

    Raises:
        FileNotFoundError: there is no such file.
        Unreachable: the store refuses or does not answer.
    """
    system, path = _system(address)
    return _tried(lambda: system.cat_file(path), address)


def _tried(ask: Callable[[], Any], address: str) -> Any:
    for left in reversed(range(TRIES)):
        try:
            return ask()
        except FileNotFoundError:
            raise
        except Exception as error:  # each store has errors of its own
            if _is_final(error) or not left:
                raise _fault(error, address) from error
            time.sleep(PAUSE * 2 ** (TRIES - left - 1))
    raise AssertionError("unreachable")


def _status(error):
    """The HTTP status that an error tells of, or 0."""
    response = getattr(error, "response", None)
    found = getattr(error, "status", None) or getattr(error, "code", None)
    if isinstance(response, Mapping):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode", found)
    return found if isinstance(found, int) else 0


def _is_final(error):
    return isinstance(error, (PermissionError, ImportError, NotImplementedError)) or 400 <= _status(error) < 429


def _fault(error, address):
    status = _status(error)
    if isinstance(error, PermissionError) or status in (401, 403):
        return Unreachable(f"{address} may not be read ({_words(error)}); give this machine the right to read it")
    if isinstance(error, TimeoutError) or "timeout" in type(error).__name__.lower():
        return Unreachable(f"{address} did not come in time, {TRIES} times; look at the network and at the store")
    return Unreachable(f"{address} cannot be reached ({_words(error)}); look at the network and at the store")


def _words(error):
    text = " ".join(str(error).split())
    return text[:160] or type(error).__name__


_here = threading.local()
_given: dict[str, Callable[[], bytes | None]] = {}


@contextmanager
def given(contents: Mapping[str, Callable[[], bytes | None]]) -> Iterator[None]:
    """Within this context these pictures are what these functions return, or are missing; nobody looks for them.

    Args:
        contents: path or address -> its bytes, or None where there is no such file. Any thread may call it.
    """
    _given.update(contents)
    try:
        yield
    finally:
        for name in contents:
            _given.pop(name, None)


def bytes_of(path: Any) -> bytes | None:
    """The bytes of a picture at an address, or of one that was `given`; None for a file, which is opened as usual.

    Raises:
        FileNotFoundError, Unreachable: as `fetch`.
    """
    name = os.fspath(path)
    if name not in _given and not is_address(name):
        return None
    kept = getattr(_here, "kept", None)
    if kept and name in kept:
        return kept[name]
    content = _given[name]() if name in _given else fetch(name)
    if content is None:
        raise FileNotFoundError(name)
    if kept is not None:
        kept[name] = content
    return content


@contextmanager
def fetched_once() -> Iterator[None]:
    """Within this context a thread fetches a picture once, though its header is read before its pixels."""
    before, _here.kept = getattr(_here, "kept", None), {}
    try:
        yield
    finally:
        _here.kept = before


def exists(path: str) -> bool:
    """Whether this process can try a picture: it is a file here, or at an address that others read too."""
    return not is_own(path) if is_address(path) else os.path.exists(path)


def common_folder(folder: str, other: str) -> str:
    """The deepest folder that contains two folders, of paths or of addresses; "" for two of different stores."""
    if not is_address(folder) and not is_address(other):
        return os.path.commonpath([folder, other]) if folder and other else ""
    parts = []
    for one, two in zip(folder.split("/"), other.split("/")):
        if one != two:
            break
        parts.append(one)
    return "/".join(parts) if len(parts) > 2 else ""


def name_below(path: str, folder: str) -> str:
    """The name of a picture relative to a folder that contains it; as it is with ""."""
    if not folder:
        return path
    return path.removeprefix(f"{folder}/") if is_address(path) else os.path.relpath(path, folder)
