"""What a server is told, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UserError

MEGA = 1_000_000


class Refused(UserError):
    """A request that is not served: an HTTP status, and one line for the client.

    Args:
        status: of HTTP, 400 to 599.
        message: what was given, what is allowed.
    """

    def __init__(self, status: int, message: object):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """What one client can cost.

    Attributes:
        workers: how many batches are computed side by side; they share the CPUs.
        batch: pictures that are computed together at most.
        wait: seconds that a picture waits for others to join its batch.
        queue: pictures that may wait; more are answered 429.
        body: bytes of a request.
        memory: bytes of all requests that are held at one time.
        pixels: of a picture.
        connections: that are open at one time.
        timeout: seconds in which a request has to arrive, and a client has to take its answer.
        grace: seconds that requests get to end when the server is stopped.
    """

    workers: int = 2
    batch: int = 4
    wait: float = 0.0
    queue: int = 64
    body: int = 32 * MEGA
    memory: int = 512 * MEGA
    pixels: int = 64 * MEGA
    connections: int = 512
    timeout: float = 30.0
    grace: float = 30.0

    def __post_init__(self):
        for name in ("workers", "batch", "queue", "body", "pixels", "connections", "timeout"):
            if not getattr(self, name) > 0:
                raise UserError(f"--{name} is {getattr(self, name)}; it must be above 0")
        for name in ("wait", "grace"):
            if getattr(self, name) < 0:
                raise UserError(f"--{name} is {getattr(self, name)}; it must be 0 or more")
