"""A part of a picture, computed as that part of the whole.

Aligned corners put a map's cells where the size of the map says. A network that resizes so finds other values in a part
than in the whole, however much of its surroundings the part has. `Whole` gives `layers.resize_to` the places of the
whole picture's maps; then a part differs only as far as the network looks beyond its borders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import paddle
import paddle.nn.functional as F


class _Resizing(Protocol):
    def resize(self, x: paddle.Tensor, size: Sequence[int]) -> paddle.Tensor:
        """Resizes (N, C, h, w) to `size`, with aligned corners."""


#: values of a row or column that one product computes; in more, most of the shares would be zeros
PIECE = 256

_now: ContextVar[_Resizing | None] = ContextVar("densebone_window", default=None)


@paddle.jit.not_to_static  # a graph is of a whole picture, and 2.6's reading of Python sources stumbles here
def resize(x: paddle.Tensor, size: Sequence[int] | paddle.Tensor, align_corners: bool) -> paddle.Tensor:
    """Resizes (N, C, h, w) bilinearly to `size`, (height, width); in a part of a picture by the places of the whole."""
    part = _now.get()
    if part is not None and align_corners:
        return part.resize(x, size)
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


class Whole:
    """The maps that a network resizes in a picture, by their sizes in a small one.

    Args:
        network: called with float32 (1, channels, H, W); it resizes with `layers.resize_to`.
        size: (height, width) of the picture, in pixels.
        channels: of the picture.
        grid: pixels that a multiple of each stride of the network fills; the parts begin at multiples of it.
    """

    def __init__(self, network: Callable[[paddle.Tensor], Any], size: Sequence[int], channels: int, grid: int):
        self.grid = grid
        small = [side % grid + 2 * grid for side in size]
        probes = _Probe(), _Probe()
        for number, probe in enumerate(probes):
            with _resized_by(probe), paddle.no_grad():
                network(paddle.zeros([1, channels, *(side + number * grid for side in small)]))
        times = [(side - one) // grid for side, one in zip(size, small)]
        self._maps = [
            (_sides(before, larger_before, times), _sides(after, larger_after, times))
            for (before, after), (larger_before, larger_after) in zip(probes[0].maps, probes[1].maps)
        ]

    @contextmanager
    def part(self, top: int, left: int) -> Iterator[None]:
        """Within it the network's input is the part that begins there, in pixels: multiples of the grid."""
        with _resized_by(_Part(iter(self._maps), (top // self.grid, left // self.grid))):
            yield


@dataclass(frozen=True)
class _Side:
    """A side of a map: its cells in the whole picture, and how many of them a grid's length holds."""

    cells: int
    per_grid: int


def _sides(small, larger, times):
    """The height and width of the whole picture's map, from those in a small picture and in one larger by a grid."""
    return [_Side(one + (two - one) * n, two - one) for one, two, n in zip(small, larger, times)]


@contextmanager
def _resized_by(resizing):
    token = _now.set(resizing)
    try:
        yield
    finally:
        _now.reset(token)


class _Probe:
    """Resizes as ever and keeps the sizes."""

    def __init__(self):
        self.maps = []

    def resize(self, x, size):
        """As `_Resizing`."""
        self.maps.append((tuple(x.shape[2:]), tuple(size)))
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


class _Part:
    """Resizes a part of each map, one map after the other as in the small picture."""

    def __init__(self, maps, start):
        self._maps, self._start = maps, start

    def resize(self, x, size):
        """As `_Resizing`."""
        for axis, length, start, before, after in zip((2, 3), size, self._start, *next(self._maps)):
            if before.per_grid:
                x = _along(x, axis, _places(length, start, before, after))
            else:  # as large in every picture
                x = F.interpolate(x, size=[length if a == axis else x.shape[a] for a in (2, 3)], mode="bilinear",
                                  align_corners=True)  # fmt: skip
        return x


def _places(length, start, before, after):
    """float64 (length,): where the cells of a part of the resized map lie in the part of the map before."""
    cells = start * after.per_grid + np.arange(length)
    return cells * ((before.cells - 1) / max(after.cells - 1, 1)) - start * before.per_grid


def _along(x, axis, places):
    """Values of (N, C, h, w) at rising places along an axis; between two cells linear, beyond the last the last one."""
    last = x.shape[axis] - 1
    places = np.clip(places, 0, last)
    pieces = [_piece(x, axis, places[start : start + PIECE], last) for start in range(0, len(places), PIECE)]
    return paddle.concat(pieces, axis)


def _piece(x, axis, places, last):
    """A product with the shares that each cell has in each value."""
    low = np.minimum(np.floor(places).astype(np.int64), max(last - 1, 0))
    first, count, rows = low[0], low[-1] - low[0] + 2, np.arange(len(places))
    shares = np.zeros((len(places), count), np.float32)
    shares[rows, low - first] = 1 - (places - low)
    shares[rows, low - first + 1] = places - low
    cells = paddle.slice(x, [axis], [int(first)], [int(first + count)])
    shares = paddle.to_tensor(shares[:, : cells.shape[axis]])
    return paddle.matmul(shares, cells) if axis == 2 else paddle.matmul(cells, shares, transpose_y=True)
