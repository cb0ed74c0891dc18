"""Faster R-CNN as one graph: the network up to the candidates of its first stage, and its second stage, are traced;
`engines.proposals` stands between them, `engines.suppression` behind."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import paddle
from ppdet.modeling.bbox_utils import delta2bbox

from ...engines.graph import Graph
from ...engines.proposals import NONE, Pooling, Proposals, pool, propose, put_back
from ...engines.suppression import Suppression, append
from .tracing import INPUTS, trace


class FirstStage(paddle.nn.Layer):
    """From prepared pictures to the maps that proposals are cut out of, and to the candidates for proposals.

    Args:
        model: a Faster R-CNN in eval mode.
    """

    def __init__(self, model: paddle.nn.Layer):
        super().__init__()
        self.backbone, self.neck, self.rpn = model.backbone, model.neck, model.rpn_head
        self.levels = _levels(model.bbox_head.roi_extractor)

    def forward(self, image: paddle.Tensor, im_shape: paddle.Tensor) -> list[paddle.Tensor]:
        """(N, 3, H, W), (N, 2) -> boxes (N, K, 4), scores (N, levels, K), `NONE` at other levels; maps (N, C, H, W)."""
        maps = self.backbone({"image": image})
        maps = maps if self.neck is None else self.neck(maps)
        features = self.rpn.rpn_feat(maps)
        limit = im_shape.flip([1]).tile([1, 2]).unsqueeze(1)
        boxes, scores, levels = [], [], []
        for level, (feature, anchors) in enumerate(zip(features, self.rpn.anchor_generator(features))):
            found, score = self._candidates(feature, anchors, limit)
            boxes.append(found)
            scores.append(score)
            levels.append(paddle.full_like(score, level))
        numbers = paddle.arange(len(boxes), dtype="float32").reshape([1, -1, 1])
        here = paddle.concat(levels, 1).unsqueeze(1) == numbers
        score = paddle.concat(scores, 1).unsqueeze(1) + paddle.zeros_like(numbers)
        return [
            paddle.concat(boxes, 1),
            paddle.where(here, score, paddle.full_like(score, NONE)),
            *(maps[level] for level in self.levels),
        ]

    def _candidates(self, feature, anchors, limit):
        """Boxes (N, k, 4) and scores (N, k) of the cells of a level with the largest scores."""
        settings = self.rpn.test_proposal
        scores = self.rpn.rpn_rois_score(feature).transpose([0, 2, 3, 1]).flatten(1)
        deltas = self.rpn.rpn_rois_delta(feature).transpose([0, 2, 3, 1])
        deltas = deltas.reshape([paddle.shape(deltas)[0], -1, 4])
        anchors = anchors.unsqueeze(0) + paddle.zeros_like(deltas)
        if settings.pre_nms_top_n > 0:
            cells = paddle.cast(paddle.shape(scores)[1], "int64")
            most = paddle.minimum(cells, paddle.full([], settings.pre_nms_top_n, "int64"))
            scores, best = scores.topk(most, axis=1)
            index = paddle.tile(best.unsqueeze(-1), [1, 1, 4])
            deltas, anchors = (paddle.take_along_axis(values, index, 1) for values in (deltas, anchors))
        boxes = delta2bbox(deltas.reshape([-1, 4]), anchors.reshape([-1, 4])).reshape([paddle.shape(scores)[0], -1, 4])
        boxes = paddle.maximum(paddle.minimum(boxes, limit + paddle.zeros_like(boxes)), paddle.zeros_like(boxes))
        size = boxes[..., 2:] - boxes[..., :2]
        least = max(settings.min_size, 1.0)  # as PaddlePaddle's operator, which never takes smaller ones
        large = paddle.minimum(size[..., 0], size[..., 1]) >= least
        return boxes, paddle.where(large, scores, paddle.full_like(scores, NONE))


class SecondStage(paddle.nn.Layer):
    """From the features of proposals to candidates.

    Args:
        model: a Faster R-CNN in eval mode. Its head cannot be used otherwise afterwards.
    """

    def __init__(self, model: paddle.nn.Layer):
        super().__init__()
        self.head, decode = model.bbox_head, model.bbox_post_process.decode
        self.head.roi_extractor = _AsTheyAre()
        self.weights, self.classes = decode.prior_box_var, decode.num_classes

    def forward(
        self, features: paddle.Tensor, proposals: paddle.Tensor, limit: paddle.Tensor
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """(M, C, side, side), (M, 4), height and width (M, 2) -> boxes (M, classes, 4), scores (M, classes)."""
        (deltas, scores), _ = self.head(features)
        boxes = delta2bbox(deltas, proposals, self.weights)
        limit = limit.flip([1]).tile([1, 2]).unsqueeze(1)
        boxes = paddle.maximum(paddle.minimum(boxes, limit + paddle.zeros_like(boxes)), paddle.zeros_like(boxes))
        if deltas.shape[1] == 4:
            boxes = boxes.tile([1, self.classes, 1])
        return boxes, scores[:, :-1]


class _AsTheyAre(paddle.nn.Layer):
    """Takes the place of RoIAlign."""

    def forward(self, features, *_):
        return features


def _levels(extractor):
    """The maps that proposals are cut out of."""
    scales = extractor.spatial_scale
    return range(1) if len(scales) == 1 else range(extractor.start_level, extractor.end_level + 1)


def _pooling(extractor):
    """The settings of PaddleDetection's RoIAlign."""
    levels, first = _levels(extractor), 2 - extractor.canconical_level  # the first map has a quarter of the size
    shares = [2.0 ** (level + first) for level in levels[1:]]
    return Pooling(
        tuple(extractor.spatial_scale[level] for level in levels),
        tuple((share - 1e-6) * extractor.canonical_size for share in shares),
        extractor.resolution, 0 if len(levels) == 1 else extractor.sampling_ratio, extractor.aligned,
    )  # fmt: skip


def write_two_stages(
    model: paddle.nn.Layer, target: str | Path, settings: Suppression, size: tuple[int, int] | None
) -> None:
    """Writes a Faster R-CNN as one ONNX file with the inputs `INPUTS` and the outputs `engines.suppression.OUTPUTS`.

    Args:
        model: in eval mode. It cannot be used afterwards.
        target: the file.
        settings: of the last suppression.
        size: (height, width) of the input in pixels; None for any multiples of 32. The batch is free.
    """
    import onnx

    extractor, made = model.bbox_head.roi_extractor, model.rpn_head.test_proposal
    most_of_level = made.pre_nms_top_n if made.topk_after_collect else made.post_nms_top_n
    with tempfile.TemporaryDirectory(prefix="densebone-") as folder:
        first, second, raw = (Path(folder) / f"{name}.onnx" for name in ("first", "second", "candidates"))
        trace(FirstStage(model), {"image": [None, 3, *(size or (None, None))], "im_shape": [None, 2]}, first, size)
        side, channels = extractor.resolution, model.bbox_head.head.in_channel
        stage = SecondStage(model)
        trace(stage, {"features": [None, channels, side, side], "proposals": [None, 4], "limit": [None, 2]}, second)
        joined = _join(
            onnx.load(str(first)), onnx.load(str(second)), stage.classes,
            Proposals(made.nms_thresh, most_of_level, made.post_nms_top_n), _pooling(extractor),
        )  # fmt: skip
        onnx.save(joined, str(raw))
        append(raw, target, settings)


def _join(first: Any, second: Any, classes: int, proposals: Proposals, pooling: Pooling) -> Any:
    """One model of two stages, with the outputs boxes (N, classes, R, 4) and scores (N, classes, R)."""
    from onnx import TensorProto, helper

    graph = Graph("stages")
    candidates, scores, *maps = (value.name for value in first.graph.output)
    boxes, there = propose(graph, candidates, scores, proposals)
    features, rows, pictures, places = pool(graph, maps, boxes, there, pooling)
    found = graph.insert(second, [features, rows, graph.add("Gather", INPUTS[2], pictures)])
    for value, name, sizes in zip(found, ("candidates", "candidates.scores"), ([classes, 4], [classes])):
        graph.name(put_back(graph, value, places, boxes, sizes), name)
    first.graph.node.extend(graph.nodes)
    first.graph.initializer.extend(graph.constants)
    del first.graph.input[1:]
    pairs = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in INPUTS[1:])
    first.graph.input.extend(pairs)
    del first.graph.output[:]
    first.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", classes, "proposals", *rest])
        for name, rest in (("candidates", [4]), ("candidates.scores", []))
    )
    return first
