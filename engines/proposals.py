"""Two stages as ONNX operators between networks: proposals from candidate boxes, and their pixels of feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .graph import Graph

#: the score of a candidate that is none; every objectness is larger
NONE = -1e30


@dataclass(frozen=True)
class Proposals:
    """How candidates become proposals, as PaddleDetection's ProposalGenerator has it.

    Attributes:
        nms_threshold: of two boxes of one level with a larger IoU, the one with the lower score is left out.
        most_of_level: proposals of a level.
        most: proposals of a picture.
    """

    nms_threshold: float
    most_of_level: int
    most: int


@dataclass(frozen=True)
class Pooling:
    """How proposals are cut out of maps, as PaddleDetection's RoIAlign has it.

    Attributes:
        scales: of each map, its size over the picture's.
        limits: the smallest proposal of each map but the first: the root of its area, in pixels.
        resolution: cells of a side.
        sampling_ratio: samples of a cell's side, 0 for as many as the cell has pixels.
        aligned: whether the middle of a pixel is at half its size.
    """

    scales: tuple[float, ...]
    limits: tuple[float, ...]
    resolution: int
    sampling_ratio: int
    aligned: bool


def propose(graph: Graph, boxes: str, scores: str, settings: Proposals) -> tuple[str, str]:
    """Adds the suppression of candidates, level by level.

    Args:
        graph: to add to.
        boxes: float (N, K, 4).
        scores: float (N, levels, K), `NONE` where a box is not of the level.
        settings: of the suppression.

    Returns:
        Names of boxes (N, R, 4), the best first, and of bool (N, R): whether it is one.
    """
    chosen = graph.add(
        "NonMaxSuppression", boxes, scores, graph.whole([settings.most_of_level]),
        graph.constant([settings.nms_threshold], np.float32), graph.constant([NONE / 2], np.float32),
    )  # fmt: skip
    places = graph.add("Gather", chosen, graph.whole([0, 2]), axis=1)
    shape = graph.add("Shape", boxes, start=0, end=2)
    kept = graph.add("ScatterND", graph.filled(shape, NONE), places, graph.add("GatherND", scores, chosen))
    number = graph.add("Min", graph.size(boxes, 1), graph.whole([settings.most]))
    best, rows = graph.add("TopK", kept, number, outputs=2, axis=1)
    four = graph.add("Tile", graph.add("Unsqueeze", rows, graph.whole([2])), graph.whole([1, 1, 4]))
    there = graph.add("Greater", best, graph.constant(NONE / 2, np.float32))
    return graph.add("GatherElements", boxes, four, axis=1), there


def pool(graph: Graph, maps: Sequence[str], boxes: str, there: str, settings: Pooling) -> tuple[str, str, str, str]:
    """Adds the assignment of proposals to maps, and RoIAlign.

    Args:
        graph: to add to.
        maps: of each level, float (N, C, H, W).
        boxes: float (N, R, 4).
        there: bool (N, R); the others are left out.
        settings: of the maps.

    Returns:
        Names of the features, float (M + 1, C, resolution, resolution), of the M proposals, in an order of their own,
        and of one box more, because ONNX Runtime flattens no empty batch; of their boxes, float (M + 1, 4); of the
        pictures that they are of, int64 (M + 1,); of the proposals' places among the N * R, int64 (M,).
    """
    flat, there = graph.add("Reshape", boxes, graph.whole([-1, 4])), graph.add("Reshape", there, graph.whole([-1]))
    ends = [graph.add("Slice", flat, *(graph.whole([n]) for n in (start, start + 2, 1))) for start in (0, 2)]
    size = graph.add("Sub", ends[1], ends[0])
    side = graph.add("Sqrt", graph.add("ReduceProd", size, axes=[1], keepdims=0))
    each, features, rows, pictures, places = graph.size(boxes, 1), [], [], [], []
    for level, values in enumerate(maps):
        here = there
        if level > 0:
            here = graph.add("And", here, _at_least(graph, side, settings.limits[level - 1]))
        if level < len(settings.limits):
            here = graph.add("And", here, graph.add("Not", _at_least(graph, side, settings.limits[level])))
        places.append(graph.add("Reshape", graph.add("NonZero", here), graph.whole([-1])))
        row, picture = graph.add("Gather", flat, places[-1]), graph.add("Div", places[-1], each)
        if level == len(maps) - 1:
            row = graph.add("Concat", row, graph.constant([[0, 0, 32, 32]], np.float32), axis=0)
            picture = graph.add("Concat", picture, graph.whole([0]), axis=0)
        rows.append(row)
        pictures.append(picture)
        features.append(
            graph.add(
                "RoiAlign", values, row, picture,
                output_height=settings.resolution, output_width=settings.resolution, mode="avg",
                sampling_ratio=settings.sampling_ratio, spatial_scale=settings.scales[level],
                coordinate_transformation_mode="half_pixel" if settings.aligned else "output_half_pixel",
            )
        )  # fmt: skip
    features, rows, pictures, places = (
        graph.add("Concat", *parts, axis=0) for parts in (features, rows, pictures, places)
    )
    return features, rows, pictures, places


def put_back(graph: Graph, values: str, places: str, like: str, sizes: Sequence[int]) -> str:
    """Adds the way back from proposals to pictures.

    Args:
        graph: to add to.
        values: float (M + 1, C, ...), of the boxes that `pool` returned.
        places: int64 (M,) as `pool` returned it.
        like: boxes (N, R, 4) that `pool` was given.
        sizes: of the axes C, ... .

    Returns:
        Name of (N, C, R, ...), 0 where there is no proposal.
    """
    shape = graph.add("Shape", like, start=0, end=2)
    total = graph.add("Mul", graph.size(like, 0), graph.size(like, 1))
    empty = graph.filled(graph.add("Concat", total, graph.whole(sizes), axis=0), 0.0)
    values = graph.add("Slice", values, *(graph.whole([n]) for n in (0, -1, 0)))
    found = graph.add("ScatterND", empty, graph.add("Unsqueeze", places, graph.whole([1])), values)
    found = graph.add("Reshape", found, graph.add("Concat", shape, graph.whole(sizes), axis=0))
    return graph.add("Transpose", found, perm=[0, 2, 1, *range(3, 2 + len(sizes))])


def _at_least(graph, values, limit):
    return graph.add("GreaterOrEqual", values, graph.constant(limit, np.float32))
