"""The server: its socket, its connections, and how it stops without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import uvicorn

from ..errors import UserError
from ..system.quiet import drop_records
from .access import Access, Gate
from .answers import Choice
from .application import Service, application
from .batching import Queue
from .bodies import Bodies
from .connections import Connection
from .metrics import Metrics
from .models import open_models
from .settings import Limits

#: seconds in which a stopping server still takes what is on its way to it
_LAST_CALL = 0.3
# what uvicorn says of clients' mistakes, a line each: the metrics count them
_RECORDS = ("Invalid HTTP request", "Unsupported upgrade", "No supported WebSocket", "Exceeded concurrency")


def serve(
    folders: Sequence[str],
    host: str = "127.0.0.1",
    port: int = 8000,
    key: str | None = None,
    hosts: Sequence[str] = (),
    choice: Choice | None = None,
    limits: Limits | None = None,
    options: Mapping[str, Any] | None = None,
    verbose: bool = False,
) -> int:
    """Serves exported models until SIGTERM or Ctrl-C; a second one does not wait for requests to end.

    Args:
        folders: FOLDER or NAME=FOLDER, see `models.open_models`.
        host: the address to listen at. Only this machine reaches the default.
        port: 0 takes one that is free.
        key: that requests must name; None asks for none.
        hosts: names beside those of this machine that the server answers to while only this machine reaches it.
        choice: threshold and top of requests that do not say.
        limits: of clients.
        options: of `runtime.Model`: engine, threads, precision.
        verbose: print a line for every request.

    Returns:
        0, once every request that was taken is answered.

    Raises:
        UserError: the address or port cannot be used; as `models.open_models`.
    """
    limits = limits or Limits()
    with _listen(host, port) as listener:
        models = open_models(folders, {**(options or {}), "streams": limits.workers})
        service = _service(models, limits, choice or Choice())
        local = _is_loopback(listener)
        access = Access(key, local, tuple(name.lower() for name in hosts))
        app = Gate(application(service), access, service.metrics, lambda: not service.ready)
        _log(verbose)
        server = _Server(_config(app, limits), service)
        where, port = listener.getsockname()[:2]
        address = f"http://{f'[{where}]' if ':' in where else where}:{port}"
        for served in models.values():
            print(f"{served.name}: {served.task or 'maps'}, {served.model.description.rpartition(' on ')[2]}")
        print(f"serving on {address}; Ctrl-C stops", flush=True)
        if not local and key is None:
            print(f"note: everybody who reaches {address} may use it; --api-key-file asks for a key", file=sys.stderr)
        server.run(sockets=[listener])
    print(f"stopped after {server.server_state.total_requests} requests", flush=True)
    return 0


def _service(models, limits, choice):
    metrics = Metrics()
    service = Service(models, Queue(limits, metrics), Bodies(limits), limits, metrics, choice)
    metrics.watch("queue_pictures", "pictures that wait", lambda: len(service.queue))
    metrics.watch("held_bytes", "bodies of requests in memory", lambda: service.bodies.held)
    return service


def _listen(host, port):
    if not 0 <= port <= 65535:
        raise UserError(f"--port is {port}; a number from 0 to 65535 is expected")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(1024)  # a second server on this port is told now, before it opens its models
    except OSError as error:
        reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or error
        raise UserError(f"cannot listen at {host}, port {port} ({reason}); give another --host or --port") from error
    return listener


def _is_loopback(listener):
    return ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def _log(verbose):
    logger = logging.getLogger("uvicorn.error")
    drop_records(logger, *_RECORDS)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # so does the reader of forms
    if verbose:
        access = logging.getLogger("uvicorn.access")
        access.addHandler(logging.StreamHandler())
        access.setLevel(logging.INFO)
        access.propagate = False


def _config(app, limits):
    return uvicorn.Config(
        app, http=Connection, ws="none", lifespan="off", loop="asyncio", log_config=None,
        server_header=False, proxy_headers=False, limit_concurrency=limits.connections,
        timeout_keep_alive=limits.timeout, timeout_graceful_shutdown=max(1, round(limits.grace)), backlog=1024,
    )  # fmt: skip


class _Server(uvicorn.Server):
    """Uvicorn's, but a stopped server answers what is on its way, and its exit status is its own."""

    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self.service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Within this context the first SIGTERM or Ctrl-C ends the server in order, and a second one at once."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._end) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, *_: Any) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes what is on its way, closes the port, answers everything, and ends.

        From now on every answer ends its connection, so clients come anew; soon nobody is there to let them in.
        """
        self.service.ready = False
        await self._pause(_LAST_CALL)
        await self._close_port(sockets or [])
        # a client that was let in just now has not said anything yet; it is not shut out
        for _ in range(10):
            if self.server_state.connections:
                await self._pause(_LAST_CALL / 10)
        await super().shutdown(sockets)
        await asyncio.to_thread(self.service.queue.close, 0 if self.force_exit else self.service.limits.grace)

    async def _close_port(self, listeners):
        """Closes the port, and lets in who waits there: the system has told them already that they are connected."""
        loop, state = asyncio.get_running_loop(), self.lifespan.state
        waiting = []
        for listener in listeners:
            with contextlib.suppress(OSError):  # nobody is left
                while True:
                    waiting.append(listener.accept()[0])
        for server in self.servers:
            server.close()
        for one in waiting:
            await loop.connect_accepted_socket(
                lambda: self.config.http_protocol_class(self.config, self.server_state, state, _loop=loop), one
            )

    async def _pause(self, seconds):
        if not self.force_exit:
            await asyncio.sleep(seconds)
