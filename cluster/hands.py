"""Hands for a job: what a run on one machine computes itself, workers of a cluster compute, into the same folder."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..system.files import atomic_path
from .crew import Crew
from .where import Where
from .worker import Opener, Order


@contextmanager
def crew(ray: Any, where: Where, opener: Opener, output: Path) -> Iterator[Crew]:
    """Within this context workers work for this process, which has the output folder."""
    mark = f".cluster-{secrets.token_hex(8)}"
    output.mkdir(parents=True, exist_ok=True)
    for left in output.glob(".cluster-*"):  # of a killed run; its workers end with it
        left.unlink(missing_ok=True)
    (output / mark).touch()
    found = None
    try:
        found = Crew(ray, opener, Path(os.path.abspath(output)), mark, where.actors, where.threads)
        print(f"cluster: workers of {found.threads} cores", file=sys.stderr)
        yield found
    finally:
        if found is not None:
            found.close()
        (output / mark).unlink(missing_ok=True)


def answers(found: Crew, orders: Iterator[Order], output: Path) -> Iterator[tuple[Order, Any]]:
    """Yields each order with its answer, once its files are below the output folder."""
    for order, done in found.results(orders):
        for name, content in done.files:
            with atomic_path(output / name, durable=False) as temporary:
                temporary.write_bytes(content)
        yield order, done.answer
