"""How long a run still takes, snapshots and evaluations included."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# what an earlier iteration counts beside the one after it: the last hundred make nine tenths of the estimate
_MEMORY = 0.977
# the first evaluation opens the data and is slower, so a few of the last ones are averaged
_LAST = 3


class Pace:
    """Measures iterations, snapshots and evaluations, and estimates the time that is left.

    Args:
        iters: iterations of the whole training.
        save_interval: iterations between two snapshots; the last iteration has one too.
        evaluates: every snapshot is evaluated.
        clock: gives seconds.
    """

    def __init__(
        self, iters: int, save_interval: int, evaluates: bool, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.iters, self.save_interval, self.evaluates, self.clock = iters, save_interval, evaluates, clock
        self.breaks: dict[str, deque[float]] = {"snapshot": deque(maxlen=_LAST), "evaluation": deque(maxlen=_LAST)}
        self.count, self.seconds, self.weight = 0, 0.0, 0.0
        self.since = clock()

    def restart(self) -> None:
        """Starts the time of the next iteration now, after work that is no iteration."""
        self.since = self.clock()

    def iterated(self) -> None:
        """Counts an iteration, with the time since the last one or since other work ended."""
        now = self.clock()
        if self.count == 1:  # the first one waits for the first pictures, and says little
            self.seconds, self.weight = 0.0, 0.0
        self.count += 1
        self.seconds = _MEMORY * self.seconds + now - self.since
        self.weight = _MEMORY * self.weight + 1
        self.since = now

    @contextmanager
    def measured(self, what: str) -> Iterator[None]:
        """Measures the block, a "snapshot" or an "evaluation"; its time does not count for the next iteration."""
        before = self.clock()
        yield
        self.since = self.clock()
        self.breaks[what].append(self.since - before)

    def rate(self) -> float:
        """Iterations per second; 0 before the first one."""
        return self.weight / max(self.seconds, 1e-9) if self.weight else 0.0

    def left(self, iteration: int) -> float:
        """Seconds that are left after an iteration whose snapshot, if one is due, is not taken yet."""
        snapshots = -(-self.iters // self.save_interval) - max(0, iteration - 1) // self.save_interval
        step = self.seconds / max(self.weight, 1e-9)
        pauses = sum(sum(found) / len(found) for found in self.breaks.values() if found)
        return step * (self.iters - iteration) + pauses * snapshots

    def is_whole(self) -> bool:
        """Whether `left` counts the evaluations: none is made, or one was measured."""
        return not self.evaluates or bool(self.breaks["evaluation"])
