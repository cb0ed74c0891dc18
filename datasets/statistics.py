"""Numbers about boxes that decisions and plots need: sizes relative to the picture, anchors by k-means."""

from __future__ import annotations

import numpy as np

from .annotations import Annotations, sizes_of


def relative_sizes(found: Annotations) -> np.ndarray:
    """float (M, 2): width and height of each box over those of its picture."""
    return found.boxes[:, 2:] / sizes_of(found)


def anchors(sizes: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Anchors that fit boxes best, by k-means with 1 - IoU as distance (Redmon and Farhadi, arXiv 1612.08242).

    Args:
        sizes: float (M, 2), widths and heights in pixels of the network's input.
        count: of anchors.
        seed: of the start.

    Returns:
        float (count, 2), from small to large. Fewer different boxes than anchors are filled up by scaled copies.
    """
    different = np.unique(np.round(sizes, 3), axis=0)
    if len(different) <= count:
        grown = [different * 1.25**step for step in range(1 + count // max(1, len(different)))]
        return _sorted(np.concatenate(grown)[:count])
    rng = np.random.default_rng(seed)
    centres = different[_spread(different, count, rng)]
    nearest = np.full(len(sizes), -1)
    for _ in range(100):
        before, nearest = nearest, overlaps(sizes, centres).argmax(1)
        if (before == nearest).all():
            break
        for place in range(count):
            if (nearest == place).any():
                centres[place] = np.median(sizes[nearest == place], axis=0)
    return _sorted(centres)


def _spread(sizes, count, rng):
    """Places of `count` boxes that are far from each other, the first at random."""
    chosen = [int(rng.integers(len(sizes)))]
    distance = 1 - overlaps(sizes, sizes[chosen])[:, 0]
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, 1 - overlaps(sizes, sizes[chosen[-1:]])[:, 0])
    return chosen


def overlaps(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """float (M, A): IoU of boxes and anchors with one centre; both are (.., 2), width and height."""
    inner = np.minimum(sizes[:, None], anchors[None]).prod(2)
    return inner / (sizes.prod(1)[:, None] + anchors.prod(1)[None] - inner)


def _sorted(values):
    return values[np.argsort(values.prod(1), kind="stable")]
