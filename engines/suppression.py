"""Non-maximum suppression as ONNX operators behind a network: candidate boxes in, the boxes that a user wants out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
    """

    score_threshold: float
    nms_threshold: float
    nms_top_k: int
    keep_top_k: int
    background: bool = False


class _Graph:
    """Nodes and constants in the making, all with a prefix that the network's names do not have."""

    def __init__(self):
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node; returns the name of its output, or a list of several."""
        from onnx import helper

        names = [f"nms.{len(self.nodes)}.{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, f"nms.{len(self.nodes)}", **attributes))
        return names if outputs > 1 else names[0]

    def constant(self, value: Any, dtype: Any) -> str:
        """Adds a constant; returns its name."""
        from onnx import numpy_helper

        name = f"nms.constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def whole(self, values: Iterable[int]) -> str:
        """A constant of whole numbers."""
        return self.constant(list(values), np.int64)


def append(source: str | Path, target: str | Path, settings: Suppression | None) -> None:
    """Writes an ONNX file whose outputs are those of `OUTPUTS`.

    Args:
        source: an ONNX file with the outputs boxes, float (N, K, 4), and scores, float (N, classes, K); or, without
            settings, boxes (N, K, 4), scores (N, K), the best first, and labels (N, K).
        target: the file to write.
        settings: of the suppression; None where the network needs none.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(str(source))
    graph, found = _Graph(), [value.name for value in model.graph.output]
    if settings is None:
        boxes, scores = found[:2]
        labels = graph.add("Cast", found[2], to=TensorProto.INT64)
    else:
        boxes, scores, labels = _suppress(graph, found[0], found[1], settings)
    there = graph.add("Greater", scores, graph.constant(0, np.float32))
    labels = graph.add("Where", there, labels, graph.constant(-1, np.int64))
    one = graph.add("Cast", there, to=TensorProto.INT64)
    count = graph.add("ReduceSum", one, graph.whole([1]), keepdims=0)
    for name, output in zip(OUTPUTS, (boxes, scores, labels, count)):
        graph.nodes.append(helper.make_node("Identity", [output], [name], f"nms.{name}"))
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
    zero, last = graph.whole([0]), graph.whole([2**31 - 1])
    if settings.background:
        scores = graph.add("Slice", scores, zero, graph.whole([-1]), graph.whole([1]))
    shape = graph.add("Shape", scores)
    candidates = graph.add("Slice", shape, graph.whole([2]), graph.whole([3]), zero)
    if settings.nms_top_k > 0:
        number = graph.add("Min", candidates, graph.whole([settings.nms_top_k]))
        best, _ = graph.add("TopK", scores, number, outputs=2, axis=2)
        lowest = graph.add("Slice", best, graph.whole([-1]), last, graph.whole([2]))
        nothing = graph.constant(0, np.float32)
        scores = graph.add("Where", graph.add("GreaterOrEqual", scores, lowest), scores, nothing)
    chosen = graph.add(
        "NonMaxSuppression", boxes, scores, candidates, graph.constant([settings.nms_threshold], np.float32),
        graph.constant([settings.score_threshold], np.float32),
    )  # fmt: skip
    from onnx import numpy_helper

    empty = graph.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.zeros(1, np.float32)))
    kept = graph.add("ScatterND", empty, chosen, graph.add("GatherND", scores, chosen))
    flat = graph.add("Reshape", kept, graph.whole([0, -1]))
    total = graph.add("Slice", graph.add("Shape", flat), graph.whole([1]), graph.whole([2]), zero)
    number = total if settings.keep_top_k < 0 else graph.add("Min", total, graph.whole([settings.keep_top_k]))
    values, places = graph.add("TopK", flat, number, outputs=2, axis=1)
    labels = graph.add("Div", places, candidates)
    rows = graph.add("Sub", places, graph.add("Mul", labels, candidates))
    four = graph.add("Tile", graph.add("Unsqueeze", rows, graph.whole([2])), graph.whole([1, 1, 4]))
    return graph.add("GatherElements", boxes, four, axis=1), values, labels
