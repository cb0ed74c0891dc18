"""The bodies of requests: read within limits of size, memory and time, unpacked, and searched for pictures."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from anyio import fail_after
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from .inference_protocol import from_base64, read_json
from .settings import MEGA, Limits, Refused

#: bytes from which on a body is unpacked in a thread, so that other clients do not wait
_LARGE = 200_000
_WINDOW = {"gzip": 31, "deflate": 47}  # as zlib numbers them; 47 knows both forms of "deflate"
T = TypeVar("T")


class Gone(Exception):
    """The client hung up; nobody reads an answer."""


class Bodies:
    """Reads the bodies of a server's requests.

    Args:
        limits: body, memory and timeout.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self.held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Yields the body, unpacked. Until the end of the block it counts as memory that is held.

        Raises:
            Refused: 413 too large, 408 too slow, 429 too much is held already, 415 an unknown Content-Encoding, 400
                damaged.
            Gone: the client hung up before the end.
        """
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", "", *_WINDOW):
            raise Refused(415, f"the content-encoding is {coding[:40]!r}; gzip, deflate or none is expected")
        declared = request.headers.get("content-length", "")
        self._check(int(declared) if declared.isdigit() else 0)
        taken = 0

        def take(size):
            nonlocal taken
            if self.held + size > self.limits.memory:
                raise Refused(429, "the server holds as many requests as its memory allows; try again in a moment")
            self.held, taken = self.held + size, taken + size

        try:
            data = await self._received(request, take)
            if coding in _WINDOW:
                data = await aside(data, lambda data: _unpacked(data, _WINDOW[coding], self.limits.body))
                take(len(data))
            yield data
        finally:
            self.held -= taken

    def _check(self, size):
        if size > self.limits.body:
            raise Refused(413, f"the body has more than {self.limits.body / MEGA:g} million bytes, the most allowed")

    async def _received(self, request, take):
        data = bytearray()
        try:
            with fail_after(self.limits.timeout):
                async for chunk in request.stream():
                    self._check(len(data) + len(chunk))
                    take(len(chunk))
                    data += chunk
        except TimeoutError as error:
            raise Refused(408, f"the body did not arrive within {self.limits.timeout:g} s") from error
        except ClientDisconnect as error:
            raise Gone from error
        return bytes(data)


def _unpacked(data, window, most):
    """What zlib unpacks of a body; `Refused` beyond `most` bytes."""
    packed = zlib.decompressobj(window)
    try:
        found = packed.decompress(data, most + 1)
    except zlib.error as error:
        raise Refused(400, f"the body cannot be unpacked ({error})") from error
    if len(found) > most:
        raise Refused(
            413, f"the body has more than {most / MEGA:g} million bytes when it is unpacked, the most allowed"
        )
    if not packed.eof or packed.unused_data:
        raise Refused(400, "the packed body ends too early, or something stands behind it")
    return found


async def aside(data: bytes, work: Callable[[bytes], T]) -> T:
    """Does some work on a body; in a thread when it is large."""
    return work(data) if len(data) < _LARGE else await asyncio.to_thread(work, data)


async def pictures_in(data: bytes, request: Request, most: int) -> tuple[list[tuple[str, bytes]], dict[str, Any]]:
    """The pictures of a body: one file as it is, files of a form, or base64 in JSON.

    Args:
        data: the body.
        request: its content-type says what the body is.
        most: how many pictures are allowed.

    Returns:
        ([(what errors call it, the bytes of the file)], the other values of the JSON).

    Raises:
        Refused: 415 another content-type, 400 no picture in it, 413 too many.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    more: dict[str, Any] = {}
    if kind == "multipart/form-data":
        files = await _of_form(data, request, most)
    elif kind == "application/json":
        files, more = await aside(data, _of_json)
    elif kind.startswith("image/") or kind in ("application/octet-stream", ""):
        files = [data]
    else:
        raise Refused(
            415, f"the content-type is {kind[:60]!r}; multipart/form-data, application/json or image/* is expected"
        )
    if not files or not all(files):
        raise Refused(400, "there is no picture in the body, or an empty one")
    if len(files) > most:
        raise Refused(413, f"{len(files)} pictures in one request; at most {most} are allowed")
    names = ["the picture"] if len(files) == 1 else [f"picture {number}" for number in range(1, len(files) + 1)]
    return list(zip(names, files)), more


def _of_json(data):
    given = read_json(data)
    pictures = given.get("pictures", [given.get("picture")]) if isinstance(given, dict) else None
    if not isinstance(pictures, list) or pictures == [None]:
        raise Refused(400, 'the JSON has no "picture" in base64, and no "pictures", a list of them')
    return [from_base64(one, "the picture") for one in pictures], given


async def _of_form(data, request, most):
    async def stream():
        yield data

    parser = MultiPartParser(request.headers, stream(), max_files=most, max_fields=100, max_part_size=len(data) + 1)
    parser.spool_max_size = len(data) + 1  # in memory, which is counted; never on the disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        status = 413 if "Too many" in error.message else 400
        raise Refused(status, f"the form cannot be read ({error.message})") from error
    except (KeyError, ValueError) as error:  # no boundary in the content-type
        raise Refused(400, "the form cannot be read (its content-type has no boundary)") from error
    try:
        return [await value.read() for _, value in form.multi_items() if isinstance(value, UploadFile)]
    finally:
        await form.close()
