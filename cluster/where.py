"""What a user says of a cluster. Needs no Ray."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import UserError

PLACE = re.compile(r"(\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5})", re.ASCII)


@dataclass(frozen=True)
class Where:
    """What a user says of the cluster.

    Attributes:
        address: HOST:PORT; "auto", that of RAY_ADDRESS or of this machine; "local", one that is started here.
        actors: how many workers; None as many as there is room for.
        threads: cores of each; None as `crew.Crew` divides them.
    """

    address: str
    actors: int | None = None
    threads: int | None = None

    def check(self) -> None:
        """Raises UserError for an address or numbers that cannot be."""
        if self.address.startswith("ray://"):
            raise UserError(
                f"--ray is {self.address}, Ray's protocol for clients; give HOST:PORT, on a machine of the cluster"
            )
        if self.address not in ("auto", "local") and not PLACE.fullmatch(self.address):
            raise UserError(
                f"--ray is {self.address!r}; give HOST:PORT, auto (the cluster of this machine), or local (start one)"
            )
        for name, value in (("actors", self.actors), ("threads", self.threads)):
            if value is not None and value < 1:
                raise UserError(f"--{name} is {value}; give 1 or more")
