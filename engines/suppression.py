"""Non-maximum suppression as ONNX operators behind a network: candidate boxes in, the boxes that a user wants out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .graph import Graph

#: the outputs of a whole detector: float (N, K, 4) left, top, right, bottom in pixels of the picture; float (N, K), the
#: best first; int64 (N, K), -1 behind the last box; int64 (N,)
OUTPUTS = ("boxes", "scores", "labels", "count")


@dataclass(frozen=True)
class Suppression:
    """The settings of PaddleDetection's MultiClassNMS.

    Attributes:
        score_threshold: boxes of this score or less are left out.
        nms_threshold: of two boxes of one class with a larger IoU, the one with the lower score is left out.
        nms_top_k: candidates of each class, -1 for all.
        keep_top_k: boxes of a picture.
        background: whether the last class is no class.
        two_stages: whether each class has boxes of its own, in pixels of the prepared picture. Those that are kept are
            divided by scale_factor and cut at the edges of the picture, and left out where nothing is left of them.
    """

    score_threshold: float
    nms_threshold: float
    nms_top_k: int
    keep_top_k: int
    background: bool = False
    two_stages: bool = False


def append(source: str | Path, target: str | Path, settings: Suppression | None) -> None:
    """Writes an ONNX file whose outputs are those of `OUTPUTS`.

    Args:
        source: an ONNX file with the outputs boxes, float (N, K, 4), and scores, float (N, classes, K); with two
            stages, boxes (N, classes, K, 4), and the inputs scale_factor and im_shape; without settings, boxes
            (N, K, 4), scores (N, K), the best first, and labels (N, K).
        target: the file to write.
        settings: of the suppression; None where the network needs none.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(str(source))
    graph, found = Graph("nms"), [value.name for value in model.graph.output]
    if settings is None:
        boxes, scores = found[:2]
        labels = graph.add("Cast", found[2], to=TensorProto.INT64)
    else:
        boxes, scores, labels = _suppress(graph, found[0], found[1], settings)
        if settings.two_stages:
            boxes, scores, labels = _in_picture(graph, boxes, scores, labels)
    there = graph.add("Greater", scores, graph.constant(0, np.float32))
    labels = graph.add("Where", there, labels, graph.constant(-1, np.int64))
    one = graph.add("Cast", there, to=TensorProto.INT64)
    count = graph.add("ReduceSum", one, graph.whole([1]), keepdims=0)
    for name, output in zip(OUTPUTS, (boxes, scores, labels, count)):
        graph.name(output, name)
    model.graph.node.extend(graph.nodes)
    model.graph.initializer.extend(graph.constants)
    del model.graph.output[:]
    shapes = (["batch", "kept", 4], ["batch", "kept"], ["batch", "kept"], ["batch"])
    types = (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT64)
    model.graph.output.extend(map(helper.make_tensor_value_info, OUTPUTS, types, shapes))
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def _suppress(graph, boxes, scores, settings):
    """(boxes (N, kept, 4), scores (N, kept), labels (N, kept)), the best first; a score of 0 is no box."""
    zero = graph.whole([0])
    if settings.background:
        scores = graph.add("Slice", scores, zero, graph.whole([-1]), graph.whole([1]))
    shape = graph.add("Shape", scores)
    candidates = graph.add("Slice", shape, graph.whole([2]), graph.whole([3]), zero)
    if settings.nms_top_k > 0:
        number = graph.add("Min", candidates, graph.whole([settings.nms_top_k]))
        best, _ = graph.add("TopK", scores, number, outputs=2, axis=2)
        lowest = graph.add("Slice", best, graph.whole([-1]), graph.whole([2**31 - 1]), graph.whole([2]))
        nothing = graph.constant(0, np.float32)
        scores = graph.add("Where", graph.add("GreaterOrEqual", scores, lowest), scores, nothing)
    if settings.two_stages:  # a class of a picture is as good as a picture
        one = graph.add("Concat", graph.whole([-1]), graph.whole([1]), candidates, axis=0)
        scores, pictures = graph.add("Reshape", scores, one), graph.add("Shape", scores, end=1)
        boxes = graph.add(
            "Reshape", boxes, graph.add("Concat", graph.whole([-1]), candidates, graph.whole([4]), axis=0)
        )
        shape = graph.add("Shape", scores)
    chosen = graph.add(
        "NonMaxSuppression", boxes, scores, candidates, graph.constant([settings.nms_threshold], np.float32),
        graph.constant([settings.score_threshold], np.float32),
    )  # fmt: skip
    kept = graph.add("ScatterND", graph.filled(shape, 0.0), chosen, graph.add("GatherND", scores, chosen))
    if settings.two_stages:
        flat = graph.add("Reshape", kept, graph.add("Concat", pictures, graph.whole([-1]), axis=0))
        boxes = graph.add("Reshape", boxes, graph.add("Concat", pictures, graph.whole([-1, 4]), axis=0))
    else:
        flat = graph.add("Reshape", kept, graph.whole([0, -1]))
    total = graph.add("Slice", graph.add("Shape", flat), graph.whole([1]), graph.whole([2]), zero)
    number = total if settings.keep_top_k < 0 else graph.add("Min", total, graph.whole([settings.keep_top_k]))
    values, places = graph.add("TopK", flat, number, outputs=2, axis=1)
    labels = graph.add("Div", places, candidates)
    rows = places if settings.two_stages else graph.add("Sub", places, graph.add("Mul", labels, candidates))
    return _rows(graph, boxes, rows), values, labels


def _rows(graph, boxes, rows):
    """The rows (N, k) of boxes (N, K, 4)."""
    four = graph.add("Tile", graph.add("Unsqueeze", rows, graph.whole([2])), graph.whole([1, 1, 4]))
    return graph.add("GatherElements", boxes, four, axis=1)


def _in_picture(graph, boxes, scores, labels):
    """Boxes in pixels of the picture, cut at its edges; those of no area get the score 0, behind the others."""
    edges, one = graph.whole([1, 0, 1, 0]), graph.whole([1])
    sides = graph.add("Div", "im_shape", "scale_factor")
    sides = graph.add("Floor", graph.add("Add", sides, graph.constant(0.5, np.float32)))
    scale, limit = (
        graph.add("Unsqueeze", graph.add("Gather", values, edges, axis=1), one) for values in ("scale_factor", sides)
    )
    boxes = graph.add("Min", graph.add("Div", boxes, scale), limit)
    boxes = graph.add("Max", boxes, graph.constant(0, np.float32))
    ends = [graph.add("Slice", boxes, *(graph.whole([n]) for n in (start, start + 2, 2))) for start in (0, 2)]
    size = graph.add("ReduceMin", graph.add("Sub", ends[1], ends[0]), axes=[2], keepdims=0)
    zero = graph.constant(0, np.float32)
    scores = graph.add("Where", graph.add("Greater", size, zero), scores, zero)
    scores, order = graph.add("TopK", scores, graph.size(scores, 1), outputs=2, axis=1)
    return _rows(graph, boxes, order), scores, graph.add("GatherElements", labels, order, axis=1)
