"""Who may ask: the API key, the names of this machine, and what a browser is told."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .metrics import Metrics

#: what is shown without a key: whether the server lives, and the page, which holds nothing
_OPEN = ("/", "/page.js", "/page.css", "/v2/health/live", "/v2/health/ready")
_ROUTES = {
    "": "page", "page.js": "page", "page.css": "page", "metrics": "metrics", "predict": "predict", "models": "models",
}  # fmt: skip
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        key: that requests must name; None asks for none.
        local: whether only programs of this machine reach the server. Then its name must be one of this machine's,
            so that a web page cannot reach it under a name of its own.
        hosts: further names that it answers to, such as those that a proxy on this machine passes on.
    """

    key: str | None = None
    local: bool = True
    hosts: tuple[str, ...] = ()


class Gate:
    """Stands before the application: refuses strangers, counts, and adds headers.

    Args:
        app: the application.
        access: who may ask.
        metrics: is told of every request.
        closing: whether the server is being stopped; answers then end their connection.
    """

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics, closing: Callable[[], bool]):
        self.app, self.access, self.metrics, self.closing = app, access, metrics, closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 499  # of a client that hung up

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if self.closing():
                    headers["connection"] = "close"
            await send(message)

        try:
            headers = Headers(scope=scope)
            if refusal := self._foreign(headers):
                await _refuse(tell, 403, refusal)
            elif scope["path"] not in _OPEN and not self._knows_key(headers):
                await _refuse(tell, 401, "an API key is needed; send it as Authorization: Bearer KEY")
            else:
                await self.app(scope, receive, tell)
        finally:
            self.metrics.request(_route(scope["path"]), status, time.perf_counter() - start)

    def _knows_key(self, headers):
        if self.access.key is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        given = given.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")
        return hmac.compare_digest(given.encode(), self.access.key.encode())

    def _foreign(self, headers):
        """Why a request comes from a web page of somebody else; None when it does not."""
        host = headers.get("host", "")
        if self.access.local and not _is_local(host, self.access.hosts):
            return "this server answers to localhost and 127.0.0.1 alone; start it with --allow-host for another name"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "requests from pages of other servers are not answered"
        return None


def _is_local(host, others):
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name in ("localhost", *others) or ip_address(name).is_loopback
    except ValueError:
        return False


def _route(path):
    first, _, rest = path[1:].partition("/")
    if first != "v2":
        return _ROUTES.get(first, "other")
    return "infer" if rest.endswith("/infer") else "health" if rest.startswith("health/") else "models"


async def _refuse(send, status, message):
    body = json.dumps({"error": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
