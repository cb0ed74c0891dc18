"""Batches of arrays with one shape."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

Key = TypeVar("Key")


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
