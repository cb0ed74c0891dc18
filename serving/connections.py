"""Connections that end when their client is too slow."""

from __future__ import annotations

from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_NONSENSE = "this is no HTTP request, or the body of the one before is longer than its content-length says"


class Connection(HttpToolsProtocol):
    """One client's connection. `timeout_keep_alive` of uvicorn's configuration is the time that a client gets."""

    _arrival: Any = None
    _leaving: Any = None

    def connection_made(self, transport: Any) -> None:
        """A client came: its first request has to be here in time."""
        super().connection_made(transport)
        self._expect(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        for timer in (self._arrival, self._leaving):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        if self._arrival is None:
            self._expect(self.timeout_keep_alive)

    def on_headers_complete(self) -> None:
        """The head of a request is here: the application waits for its body, and says so when it is late."""
        self._expect(self.timeout_keep_alive + 1)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A whole request is here."""
        super().on_message_complete()
        self._arrival.cancel()
        self._arrival = None

    def _expect(self, seconds: float) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
        self._arrival = self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.send_400_response("", 408, f"the request did not arrive within {self.timeout_keep_alive:g} s")
        else:
            self.transport.abort()

    def send_400_response(self, msg: str, status: int = 400, reason: str = _NONSENSE) -> None:
        """Answers what is no request, and ends the connection."""
        body = msgspec.json.encode({"error": reason})
        head = f"HTTP/1.1 {status} Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()
        self.app.metrics.request("other", status, 0.0)

    def pause_writing(self) -> None:
        """The client does not take its answer."""
        super().pause_writing()
        self._leaving = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
