"""Work that is done ahead by threads, and batches of arrays of one shape."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np


def ahead(function, items, threads, depth):
    """Yields (item, future of function(item)) in order, finished ones; at most `depth` results wait at a time."""
    waiting = deque()
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


def batches(pairs, size):
    """Yields (keys, array (n, ...)) with n up to `size`, of (key, array) pairs whose arrays may differ in shape.

    Arrays of one shape share a batch. At most `size` of them wait, whatever their shapes, so that large ones do not
    fill the memory: then the shape of which there are most is given out.
    """
    waiting, count = {}, 0
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
