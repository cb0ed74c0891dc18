"""Requests wait here, and threads compute them together: those of one model whose inputs have one size.

A thread that is free takes what waits. So batches grow with the load, and a picture that comes alone is computed at
once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import UserError
from ..pictures.reading import TooLarge, decode_picture
from .metrics import Metrics
from .models import Served
from .settings import Limits, Refused

logger = logging.getLogger("densebone")


@dataclass(eq=False)
class Job:
    """One picture, or the tensors of one request.

    Attributes:
        served: the model.
        picture: the bytes of a file, or uint8 (H, W, 3) in RGB; None for tensors.
        feed: the network's inputs by name; None for a picture.
        answer: makes the result: of (what is found on the picture, its (height, width) in pixels), or of the network's
            outputs by name. It runs in the thread that computes.
        name: what errors call the picture.
        future: gets the result, or `Refused`.
    """

    served: Served
    answer: Callable[..., Any]
    picture: bytes | np.ndarray | None = None
    feed: dict[str, np.ndarray] | None = None
    name: str = "the picture"
    future: Future = field(default_factory=Future)
    came: float = field(default_factory=time.perf_counter)

    @property
    def key(self) -> tuple:
        """Jobs of one key may be computed together."""
        if self.feed is None:
            return self.served.name, "pictures"
        if not self.served.joins:
            return self.served.name, id(self)
        return self.served.name, *((name, value.shape[1:]) for name, value in sorted(self.feed.items()))

    @property
    def rows(self) -> int:
        """How many pictures it counts as."""
        return 1 if self.feed is None else len(next(iter(self.feed.values())))

    def refuse(self, error: Exception) -> None:
        """Ends with an error: the client's, or one of ours, which the log has and the client has not."""
        if not isinstance(error, Refused):
            if isinstance(error, UserError):
                error = Refused(413 if isinstance(error, TooLarge) else 400, self.served.harmless(error))
            elif self.feed is not None:
                logger.warning("%s cannot compute its inputs: %s", self.served.name, error)
                error = Refused(400, f"{self.served.name} cannot compute inputs of these shapes")
            else:
                logger.error("%s failed on a picture", self.served.name, exc_info=error)
                error = Refused(500, "the model failed on this picture; the log of the server says why")
        self.future.set_exception(error)


class Queue:
    """The jobs that wait, and the threads that compute them.

    Args:
        limits: workers, batch, wait, queue and pixels.
        metrics: is told of every batch.
    """

    def __init__(self, limits: Limits, metrics: Metrics):
        self.limits, self.metrics = limits, metrics
        self._waiting: deque[Job] = deque()
        self._rows, self._running, self._closed = 0, 0, False
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(limits.workers)]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        """Pictures that wait."""
        return self._rows

    def check_room(self, rows: int = 1) -> None:
        """Raises `Refused` with 429 when there is no room for so many more, and 413 when there never is."""
        if rows > self.limits.queue:
            raise Refused(413, f"{rows} pictures in one request; at most {self.limits.queue} are allowed")
        if self._rows + rows > self.limits.queue:
            raise Refused(429, f"{self._rows} pictures wait already, the most that may; try again in a moment")

    def submit(self, jobs: Sequence[Job]) -> list[Future]:
        """Lets jobs wait for a thread, all or none; `check_room` says what it raises. Returns their futures."""
        rows = sum(job.rows for job in jobs)
        with self._changed:
            if self._closed:
                raise Refused(503, "the server is being stopped")
            self.check_room(rows)
            self._waiting.extend(jobs)
            self._rows += rows
            self._changed.notify_all()  # one that waits for its batch may have no use for them
        return [job.future for job in jobs]

    def close(self, seconds: float) -> None:
        """Takes no more jobs, and does those that it took. After so many seconds those that still wait are dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        with self._changed:
            for job in self._waiting:
                job.future.cancel()
        for thread in self._threads:  # Python must not end under a thread that computes
            thread.join()

    def _work(self):
        while batch := self._take():
            live = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if live:
                now = time.perf_counter()
                self.metrics.batch(live[0].served.name, sum(job.rows for job in live), [now - job.came for job in live])
                (self._compute_pictures if live[0].feed is None else self._compute_tensors)(live)

    def _take(self):
        """The oldest job and those that may run with it; None when the queue is closed and empty."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            batch = [self._waiting.popleft()]
            end = batch[0].came + self.limits.wait
            self._join(batch)
            while sum(job.rows for job in batch) < self.limits.batch and not self._closed:
                left = end - time.perf_counter()
                if left <= 0 or not self._changed.wait(left):
                    break
                self._join(batch)
            self._rows -= sum(job.rows for job in batch)
            return batch

    def _join(self, batch):
        """Moves waiting jobs into a batch, as many as fit; the others keep their order."""
        key, rows, kept = batch[0].key, sum(job.rows for job in batch), deque()
        while self._waiting:
            job = self._waiting.popleft()
            if job.key == key and rows + job.rows <= self.limits.batch:
                batch.append(job)
                rows += job.rows
            else:
                kept.append(job)
        self._waiting.extend(kept)

    def _compute_pictures(self, jobs):
        groups: dict[Any, list] = {}
        for job in jobs:
            try:
                with self.metrics.stage("prepare"):
                    ready = self._prepare(job)
            except Exception as error:  # decoders raise many kinds; `refuse` tells the client's from ours
                job.refuse(error)
                continue
            shape = ready[0].image.shape if job.served.joins else id(job)
            groups.setdefault(shape, []).append((job, ready))
        for group in groups.values():
            self._together([job for job, _ in group], lambda part, group=dict(group): self._find(part, group))

    def _find(self, jobs, ready):
        found = jobs[0].served.model.find([ready[job] for job in jobs])
        return [(one, ready[job][1]) for one, job in zip(found, jobs)]

    def _prepare(self, job):
        picture = job.picture
        if isinstance(picture, bytes):
            picture = decode_picture(picture, job.name, self.limits.pixels)
        return job.served.model.prepare(picture)

    def _compute_tensors(self, jobs):
        def run(part):
            feeds = [job.feed for job in part]
            joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
            found = part[0].served.model.run(joined if len(part) > 1 else feeds[0])
            if len(part) == 1:
                return [found]
            ends = np.cumsum([job.rows for job in part])[:-1]
            split = {name: np.split(value, ends) for name, value in found.items()}
            return [{name: parts[place] for name, parts in split.items()} for place in range(len(part))]

        self._together(jobs, run)

    def _together(self, jobs, run):
        """Computes jobs in one go; when that fails each alone, so that one does not spoil the others."""
        try:
            with self.metrics.stage("network"):
                found = run(jobs)
        except Exception as error:  # an engine raises many kinds
            if len(jobs) > 1:
                for job in jobs:
                    self._together([job], run)
            else:
                jobs[0].refuse(error)
            return
        for job, one in zip(jobs, found):
            try:
                with self.metrics.stage("answer"):
                    result = job.answer(one)
            except Exception as error:  # the client's, or a bug: the thread goes on in either case
                job.refuse(error)
            else:
                job.future.set_result(result)
