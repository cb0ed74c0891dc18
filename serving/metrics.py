"""What a server counts, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The counters of one server.

    Names of models are labels only where there is such a model, so a client cannot make labels.
    """

    def __init__(self):
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "densebone_requests", "requests by what they asked for and how they were answered", ["route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "densebone_request_seconds", "from the head of a request to the end of its answer", ["route"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._stages = Histogram(
            "densebone_stage_seconds", "in the queue; preparing a picture; the network on a batch; making the answer",
            ["stage"], buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._batches = Histogram(
            "densebone_batch_pictures", "pictures that are computed together", buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )  # fmt: skip
        self._pictures = Counter("densebone_pictures", "pictures by model", ["model"], registry=self.registry)

    def watch(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Shows a value as it is when somebody asks."""
        Gauge(f"densebone_{name}", about, registry=self.registry).set_function(value)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, model: str, pictures: int, waited: Sequence[float]) -> None:
        """Counts a batch, whose jobs waited so many seconds each."""
        self._batches.observe(pictures)
        self._pictures.labels(model).inc(pictures)
        for seconds in waited:
            self._stages.labels("queue").observe(seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._stages.labels(name).observe(time.perf_counter() - start)

    def text(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self.registry)
