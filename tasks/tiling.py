"""Large pictures in overlapping tiles: where the tiles lie, and how what is found in them becomes one result.

Boxes. Two boxes of one class from two tiles are of one object when they agree where both tiles look: cut to the area
that the tiles share, they overlap by `SAME`. So an object that a tile's border cuts agrees with the same object seen
whole in the next tile. Of boxes that agree, a whole one stays, the best; where every tile cuts the object, its pieces
become one box around them. The picture as a whole is one more tile, for objects that are larger than a tile.

Pixels. A pixel has the class that the tile says whose centre is nearest, the farthest from its borders. What finds the
classes is told where the tile lies, for networks to which that makes a difference.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

#: the smallest side of a tile, in pixels
LEAST_TILE = 32
#: pixels; the coarsest maps of most detectors have a cell for so many, and FC-HarDNet-70's for twice as many
GRID = 32
PIXEL_GRID = 64
#: IoU, in the area that two tiles share, from which on two boxes are of one object
SAME = 0.5
#: share of a cut piece that lies in another box, from which on it is a piece of that object
INSIDE = 0.8
#: pixels from a tile's border within which a box counts as cut by it
BORDER = 2.0


@dataclass(frozen=True)
class Tile:
    """A part of a picture, in pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """The tile's pixels, (h, w, ...), of a picture's (H, W, ...)."""
        return np.ascontiguousarray(image[self.top : self.bottom, self.left : self.right])


def starts(length: int, tile: int, overlap: float, grid: int = GRID) -> list[int]:
    """Where tiles begin along a side: they overlap by a share at least, and the last one ends with the picture.

    They begin at multiples of the grid, so that the cells of a network's maps lie where they do in the whole picture.
    For that the last tile may be larger by less than the grid. Steps that are smaller than the grid go without it.

    Args:
        length: of the picture's side, in pixels.
        tile: of the tile's side; a shorter picture is one tile.
        overlap: share of the tile, from 0 to below 1.
        grid: in pixels.
    """
    step = max(1, round(tile * (1 - overlap)))
    grid = grid if step >= grid else 1
    last = max(0, length - tile) // grid * grid
    return [*range(0, last, step // grid * grid), last]


def tiles_of(size: tuple[int, int], tile: tuple[int, int], overlap: float, grid: int = GRID) -> list[Tile]:
    """The tiles of a picture, row by row; `size` and `tile` are (width, height) in pixels, `grid` as in `starts`."""
    across, down = (_spans(s, t, overlap, grid) for s, t in zip(size, tile))
    return [Tile(left, top, right, bottom) for top, bottom in down for left, right in across]


def _spans(length, tile, overlap, grid):
    begins = starts(length, tile, overlap, grid)
    return [*((start, start + tile) for start in begins[:-1]), (begins[-1], length)]


def find_boxes_in_tiles(
    find: Callable[[np.ndarray], np.ndarray], image: np.ndarray, tile: tuple[int, int], overlap: float
) -> np.ndarray:
    """What a detector finds in a picture's tiles, and in the whole picture, without doubles.

    Args:
        find: uint8 (h, w, 3) -> boxes (M, 6): class, score, left, top, right, bottom.
        image: uint8 (H, W, 3).
        tile, overlap: see `tiles_of`.

    Returns:
        boxes (M, 6) of the picture, the best first.
    """
    size = image.shape[1], image.shape[0]
    tiles = tiles_of(size, tile, overlap)
    if len(tiles) == 1:
        return find(image)
    tiles.append(Tile(0, 0, *size))
    found = []
    for one in tiles:
        boxes = np.array(find(one.of(image)), np.float64).reshape(-1, 6)
        boxes[:, 2:] += (one.left, one.top, one.left, one.top)
        found.append(boxes)
    return merge_boxes(found, tiles, size)


def merge_boxes(found: Sequence[np.ndarray], tiles: Sequence[Tile], size: tuple[int, int]) -> np.ndarray:
    """The boxes of several tiles as those of one picture; see above.

    Args:
        found: of each tile its boxes (M, 6) in the picture's pixels.
        tiles: theirs.
        size: (width, height) of the picture.

    Returns:
        boxes (M, 6), the best first.
    """
    rows = np.concatenate([np.reshape(boxes, (-1, 6)) for boxes in found])
    owner = np.repeat(np.arange(len(tiles)), [len(boxes) for boxes in found])
    areas = np.array([(t.left, t.top, t.right, t.bottom) for t in tiles], np.float64)[owner]
    merged = [
        _merge_class(rows[chosen], areas[chosen], owner[chosen], size)
        for label in np.unique(rows[:, 0])
        for chosen in [rows[:, 0] == label]
    ]
    result = np.concatenate([np.zeros((0, 6)), *merged])
    return result[np.argsort(-result[:, 1], kind="stable")]


def _merge_class(rows, areas, owner, size):
    """The boxes of one class: the whole ones first, the best first; pieces that are left become one."""
    cut = _is_cut(rows[:, 2:], areas, size)
    order = np.lexsort((-rows[:, 1], cut))
    rows, areas, owner, cut = rows[order], areas[order], owner[order], cut[order]
    gone = np.zeros(len(rows), bool)
    group = np.arange(len(rows))
    for place in range(len(rows)):
        if gone[place]:
            continue
        later = np.flatnonzero(~gone[place + 1 :]) + place + 1
        later = later[owner[later] != owner[place]]
        same = later[_agree(rows[place, 2:], areas[place], rows[later, 2:], areas[later], cut[later])]
        if not cut[place]:
            gone[same] = True
        else:
            group[np.isin(group, group[same])] = group[place]
    kept = [rows[place] for place in np.flatnonzero(~gone & ~cut)]
    for number in dict.fromkeys(group[~gone & cut].tolist()):
        pieces = rows[(group == number) & ~gone & cut]
        box = np.array([*pieces[:, 2:4].min(0), *pieces[:, 4:].max(0)])
        if not _overlap(box, np.array(kept).reshape(-1, 6)[:, 2:]).any():
            kept.append(np.array([pieces[0, 0], pieces[:, 1].max(), *box]))
    return np.array(kept).reshape(-1, 6)


def _overlap(box, others):
    """bool (M,): which boxes overlap with one by `SAME`."""
    common = _area(_clipped(np.broadcast_to(box, others.shape), others))
    return common >= SAME * (_area(box[None]) + _area(others) - common)


def _is_cut(boxes, areas, size):
    """bool (M,): whether a box reaches a border of its tile, or beyond, that is not one of the picture."""
    borders = np.array([0, 0, *size], np.float64)
    inside = np.concatenate([boxes[:, :2] - areas[:, :2], areas[:, 2:] - boxes[:, 2:]], 1)
    return ((inside <= BORDER) & (areas != borders)).any(1)


def _agree(box, area, others, areas, cut):
    """bool (M,): which of the other boxes are of the object of one box."""
    shared = np.concatenate([np.maximum(area[:2], areas[:, :2]), np.minimum(area[2:], areas[:, 2:])], 1)
    one, two = _clipped(np.broadcast_to(box, others.shape), shared), _clipped(others, shared)
    common = _area(_clipped(one, two))
    either = _area(one) + _area(two) - common
    inside = _area(_clipped(np.broadcast_to(box, others.shape), others)) / np.maximum(_area(others), 1e-9)
    return (common > 0) & ((common >= SAME * either) | (cut & (inside >= INSIDE)))


def _clipped(boxes, bounds):
    return np.concatenate([np.maximum(boxes[:, :2], bounds[:, :2]), np.minimum(boxes[:, 2:], bounds[:, 2:])], 1)


def _area(boxes):
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), 1)


def find_labels_in_tiles(
    find: Callable[..., np.ndarray], image: np.ndarray, tile: tuple[int, int], overlap: float
) -> np.ndarray:
    """The class of every pixel, from a segmentation model on a picture's tiles.

    Args:
        find: uint8 (h, w, 3), and for a tile the `Tile` and the picture's (H, W) -> whole numbers (h, w).
        image: uint8 (H, W, 3).
        tile, overlap: see `tiles_of`.

    Returns:
        whole numbers (H, W).
    """
    size = image.shape[1], image.shape[0]
    tiles = tiles_of(size, tile, overlap, PIXEL_GRID)
    if len(tiles) == 1:
        return find(image)
    across, down = (_cores(sorted({(t[0], t[1]) for t in spans})) for spans in (
        [(t.left, t.right) for t in tiles], [(t.top, t.bottom) for t in tiles],
    ))  # fmt: skip
    result = np.zeros(image.shape[:2], np.uint8)
    for one in tiles:
        labels = find(one.of(image), one, image.shape[:2])
        result = result.astype(np.promote_types(result.dtype, labels.dtype), copy=False)
        (left, right), (top, bottom) = across[one.left], down[one.top]
        result[top:bottom, left:right] = labels[top - one.top : bottom - one.top, left - one.left : right - one.left]
    return result


def _cores(spans):
    """{start: (from, to)} of (start, end) along a side: neighbours part in the middle of what they share."""
    middles = [(end + start) // 2 for (_, end), (start, _) in itertools.pairwise(spans)]
    bounds = [spans[0][0], *middles, spans[-1][1]]
    return {start: (low, high) for (start, _), low, high in zip(spans, bounds, bounds[1:])}
