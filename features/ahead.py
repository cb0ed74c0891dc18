"""Threads that work ahead of their consumer, and batches of arrays with one shape."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")
Result = TypeVar("Result")
Key = TypeVar("Key")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, depth: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """Call a function on items in threads, ahead of the consumer.

    Yields:
        (item, finished future of function(item)), in order. At most `depth` items are started and not yet yielded.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="read-ahead") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) >= depth:
                    yield _finished(*waiting.popleft())
            while waiting:
                yield _finished(*waiting.popleft())
        finally:
            for _, future in waiting:
                future.cancel()


def _finished(item, future):
    future.exception()  # waits
    return item, future


def batches(pairs: Iterable[tuple[Key, np.ndarray]], size: int) -> Iterator[tuple[list[Key], np.ndarray]]:
    """Group (key, array) pairs into batches of arrays with the same shape.

    At most `size` arrays wait, over all shapes, so that large ones do not fill the memory. When that many wait, the
    most frequent shape goes out.

    Yields:
        (keys, array (n, ...)), where n is at most `size`.
    """
    waiting: dict[tuple[int, ...], list[tuple[Key, np.ndarray]]] = {}
    count = 0
    for key, array in pairs:
        waiting.setdefault(array.shape, []).append((key, array))
        count += 1
        if count == size:
            fullest = max(waiting, key=lambda shape: len(waiting[shape]))
            count -= len(waiting[fullest])
            yield _stacked(waiting.pop(fullest))
    for group in waiting.values():
        yield _stacked(group)


def _stacked(group):
    keys, arrays = zip(*group)
    return list(keys), np.stack(arrays)
