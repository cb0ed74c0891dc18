"""A whole detector in one file: PaddleDetection's network and decoding as one graph, and the suppression behind it.

    write_onnx(model, "model.onnx", size=(320, 320))

The detector decodes its boxes as PaddleDetection does, up to non-maximum suppression, whose ONNX operators
`engines.suppression` appends. Heads whose decoding takes one picture at a time are decoded here for a batch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import paddle
import paddle.nn.functional as F

from ...engines.suppression import Suppression, append
from ...errors import UserError
from .tracing import INPUTS, trace
from .whole_rcnn import write_two_stages

#: heads whose boxes depend on the size of the picture as it was prepared, before it was padded
_WITH_SIZE = ("SSDHead", "YOLOv3Head", "TOODHead", "CenterNetHead", "CenterNetHarDNetHead")
#: heads that the converter takes at one size alone: it crashes on TOOD's with free sides
ONE_SIZE = ("SSDHead", "TOODHead")
#: detectors whose parts do not make one graph -> why
NOT_WHOLE = {
    "MaskRCNN": "its masks are pasted into pictures of any size outside the network",
    "DETR": "PaddlePaddle's converter does not know its deformable attention",
}
_NAMES_OF_HEADS = ("yolo_head", "head", "ssd_head", "fcos_head", "bbox_head")


def head_of(model: paddle.nn.Layer) -> paddle.nn.Layer:
    """The head of a detector."""
    return next(getattr(model, name) for name in _NAMES_OF_HEADS if getattr(model, name, None) is not None)


class _Through:
    """Takes the place of non-maximum suppression and returns the candidates."""

    def __call__(self, boxes: Any, scores: Any, background_label: int = -1) -> tuple[Any, Any, None]:
        return boxes, scores, None


def take_out_suppression(model: paddle.nn.Layer) -> Suppression | None:
    """Lets a detector return its candidates, in place; returns the settings of what was taken out, None for CenterNet.

    Raises:
        UserError: the detector has another suppression than MultiClassNMS.
    """
    head, after = head_of(model), getattr(model, "post_process", getattr(model, "bbox_post_process", None))
    if type(model).__name__ == "CenterNet":
        model.post_process = _Peaks(after)
        return None
    owner: Any = after if getattr(after, "nms", None) is not None else head
    nms: Any = getattr(owner, "nms", None)
    if type(nms).__name__ != "MultiClassNMS" or not nms.normalized or nms.nms_eta != 1.0:
        raise UserError(f"this detector ends with {type(nms).__name__}; a whole file needs MultiClassNMS")
    settings = Suppression(
        max(0.0, float(nms.score_threshold)), float(nms.nms_threshold), int(nms.nms_top_k), int(nms.keep_top_k),
        type(model).__name__ == "SSD", type(model).__name__ == "FasterRCNN",
    )  # fmt: skip
    owner.nms = _Through()
    decode = _DECODERS.get(type(head).__name__)
    if decode is not None:
        head.post_process = lambda *outputs: decode(head, *outputs)
    return settings


class Whole(paddle.nn.Layer):
    """A detector from prepared pictures to candidates.

    Args:
        model: a detector in eval mode, after `take_out_suppression`.
    """

    def __init__(self, model: paddle.nn.Layer):
        super().__init__()
        self.model = model

    def forward(
        self, image: paddle.Tensor, scale_factor: paddle.Tensor, im_shape: paddle.Tensor | None = None
    ) -> list[paddle.Tensor]:
        """(N, 3, H, W), (N, 2), (N, 2) -> boxes (N, K, 4), scores (N, C, K); of CenterNet (N, K), and labels (N, K)."""
        self.model.inputs = {"image": image, "im_shape": im_shape, "scale_factor": scale_factor}
        found = self.model.get_pred()
        if isinstance(found["bbox"], (list, tuple)):
            return list(found["bbox"])
        return [found["bbox"], found["bbox_num"]]


class _Peaks:
    """CenterNet's peaks for a batch: the cells of the heat map that are the largest of their 3 x 3 neighbours."""

    def __init__(self, like: Any):
        self.most, self.ratio, self.by_sides = like.max_per_img, like.down_ratio, like.regress_ltrb

    def __call__(self, heat: Any, size: Any, offset: Any, im_shape: Any, scale_factor: Any) -> tuple[Any, ...]:
        """Returns ((boxes (N, K, 4), scores (N, K), labels (N, K)), and five times None)."""
        cells = paddle.shape(heat)[2:]
        width = cells[1]
        peaks = heat * paddle.cast(F.max_pool2d(heat, 3, 1, 1) == heat, "float32")
        scores, places = paddle.topk(paddle.reshape(peaks, [0, -1]), self.most, axis=1)
        area = cells[0] * cells[1]
        labels, cell = paddle.floor_divide(places, area), paddle.mod(places, area)
        x = paddle.cast(paddle.mod(cell, width), "float32")
        y = paddle.cast(paddle.floor_divide(cell, width), "float32")
        values = [_rows(map_, cell) for map_ in (offset, size)]
        x, y = x + values[0][..., 0], y + values[0][..., 1]
        sides = values[1]
        if self.by_sides:
            edges = [x - sides[..., 0], y - sides[..., 1], x + sides[..., 2], y + sides[..., 3]]
        else:
            half = sides / 2
            edges = [x - half[..., 0], y - half[..., 1], x + half[..., 0], y + half[..., 1]]
        boxes = paddle.stack(edges, -1) * self.ratio
        margin = (paddle.cast(cells, "float32") * self.ratio - im_shape) / 2
        boxes = boxes - paddle.concat([margin.flip([1]), margin.flip([1])], 1).unsqueeze(1)
        return (boxes / _scale(scale_factor), scores, labels), None, None, None, None, None


def _rows(values, cell):
    """The values (N, C, H, W) at cells (N, K): (N, K, C)."""
    flat = paddle.transpose(paddle.flatten(values, 2), [0, 2, 1])
    index = paddle.tile(cell.unsqueeze(-1), [1, 1, values.shape[1]])
    return paddle.take_along_axis(flat, index, 1)


def _scale(scale_factor):
    """(N, 2) of y and x -> (N, 1, 4) of x, y, x, y."""
    return scale_factor.flip([1]).tile([1, 2]).unsqueeze(1)


def _tood(head, outputs, im_shape, scale_factor):
    """TOOD's boxes, cut at the edges of the pictures, for a batch."""
    scores, boxes = outputs[:2]
    limit = im_shape.flip([1]).tile([1, 2]).unsqueeze(1)
    boxes = paddle.minimum(F.relu(boxes), paddle.expand_as(limit, boxes))
    return boxes / _scale(scale_factor), scores.transpose([0, 2, 1])


def _retinanet(head, outputs, im_shape, scale_factor):
    """RetinaNet's boxes of a batch: of each level the `nms_pre` cells with the largest score, as offsets to anchors."""
    boxes, scores = [], []
    for level, (logits, deltas) in enumerate(zip(*outputs)):
        anchor = _anchors(head.anchor_generator, level, paddle.shape(logits))
        logits = logits.transpose([0, 2, 3, 1]).reshape([paddle.shape(logits)[0], -1, head.num_classes])
        deltas = deltas.transpose([0, 2, 3, 1]).reshape([paddle.shape(deltas)[0], -1, 4])
        anchor = anchor.unsqueeze(0) + paddle.zeros_like(deltas)  # expand_as forgets the batch when it is converted
        if head.nms_pre is not None:
            cells = paddle.cast(paddle.shape(logits)[1], "int64")
            most = paddle.minimum(cells, paddle.full([], head.nms_pre, "int64"))
            _, best = logits.max(2).topk(most, axis=1)
            logits, deltas, anchor = (_taken(values, best) for values in (logits, deltas, anchor))
        boxes.append(_from_deltas(deltas, anchor, head.weights))
        scores.append(F.sigmoid(logits))
    return paddle.concat(boxes, 1) / _scale(scale_factor), paddle.concat(scores, 1).transpose([0, 2, 1]), None


def _anchors(generator, level, shape):
    """The anchors (K, 4) of a level whose map has this shape."""
    stride, offset = generator.strides[level], generator.offset
    cells = paddle.to_tensor(generator.cell_anchors[level].numpy())
    x, y = ((paddle.arange(shape[axis]).cast("float32") + offset) * stride for axis in (3, 2))
    grid = _grid(x, y)
    return (paddle.concat([grid, grid], -1).unsqueeze(1) + cells.unsqueeze(0)).reshape([-1, 4])


def _grid(x, y):
    """(H * W, 2) of x and y, row by row."""
    rows, columns = paddle.meshgrid(y, x)
    return paddle.stack([columns.flatten(), rows.flatten()], -1)


def _fcos(head, outputs, scale_factor):
    """FCOS' boxes: distances from the middles of the cells."""
    boxes, scores = [], []
    for stride, logits, distances, centre in zip(head.fpn_stride, *outputs[1:]):
        x, y = (
            (paddle.arange(paddle.shape(logits)[axis]).cast("float32") + head.num_shift) * stride for axis in (3, 2)
        )
        middle, (score, side, inside) = _grid(x, y), map(_channels_last, (logits, distances, centre))
        score = F.sigmoid(score) * F.sigmoid(inside)
        scores.append(paddle.sqrt(score) if head.sqrt_score else score)
        boxes.append(paddle.concat([middle - side[..., :2], middle + side[..., 2:]], -1))
    return paddle.concat(boxes, 1) / _scale(scale_factor), paddle.concat(scores, 1).transpose([0, 2, 1])


def _channels_last(values):
    """(N, C, H, W) -> (N, H * W, C)."""
    return values.flatten(2).transpose([0, 2, 1])


def _taken(values, places):
    """Rows of (N, K, C) at places (N, k)."""
    index = paddle.tile(places.unsqueeze(-1), [1, 1, values.shape[2]])
    return paddle.take_along_axis(values, index, 1)


def _from_deltas(deltas, anchors, weights):
    """Offsets (N, K, 4) to anchors (N, K, 4) -> boxes, as PaddleDetection's `delta2bbox`."""
    size = anchors[..., 2:] - anchors[..., :2]
    centre = anchors[..., :2] + 0.5 * size
    scaled = deltas / paddle.to_tensor(weights, "float32")
    half = paddle.exp(paddle.clip(scaled[..., 2:], max=_LARGEST)) * size / 2
    middle = scaled[..., :2] * size + centre
    return paddle.concat([middle - half, middle + half], -1)


def _fix_priors(model, size):
    """Computes SSD's prior boxes for one size, as constants: the converter does not know the operator."""
    if size is None:
        raise UserError(
            "SSD's boxes depend on the input's size; the configuration's TestReader must say it (image_shape)"
        )
    head, kept = model.ssd_head, []
    generator = head.anchor_generator
    head.anchor_generator = lambda maps, image: kept.append(generator(maps, image)) or kept[-1]
    model.inputs = {"image": paddle.zeros([1, 3, *size]), "im_shape": paddle.to_tensor([size], "float32")}
    model.inputs["scale_factor"] = paddle.ones([1, 2])
    model.get_pred()
    priors = [values.numpy() for values in kept[0]]
    head.anchor_generator = lambda maps, image: [paddle.to_tensor(values) for values in priors]


_LARGEST = 4.135166556742356  # log(1000 / 16)
_DECODERS: Mapping[str, Callable[..., Any]] = {"TOODHead": _tood, "RetinaHead": _retinanet, "FCOSHead": _fcos}


def write_onnx(model: paddle.nn.Layer, target: str | Path, size: tuple[int, int] | None) -> Suppression | None:
    """Writes a detector as one ONNX file with the inputs `INPUTS` and the outputs `engines.suppression.OUTPUTS`.

    Args:
        model: with trained weights. It cannot be used afterwards.
        target: the file.
        size: (height, width) of the input in pixels; None for any.

    Returns:
        The settings of the suppression in it; None for CenterNet.

    Raises:
        UserError: the detector cannot be one file.
    """
    if reason := NOT_WHOLE.get(type(model).__name__):
        raise UserError(f"{type(model).__name__} cannot be one file: {reason}")
    model.eval()
    settings, with_size = take_out_suppression(model), type(head_of(model)).__name__ in _WITH_SIZE
    if settings is not None and settings.two_stages:
        write_two_stages(model, target, settings, size)
        return settings
    if type(model).__name__ == "SSD":
        _fix_priors(model, size)
    shapes = ([None, 3, *(size or (None, None))], [None, 2], [None, 2])
    with tempfile.TemporaryDirectory(prefix="densebone-") as folder:
        raw = Path(folder) / "candidates.onnx"
        trace(Whole(model), dict(zip(INPUTS[: 2 + with_size], shapes)), raw, size)
        append(raw, target, settings)
    return settings
