"""Functions of paddledet 2.6.0 that its repairs restate, so that they work on Paddle 2.6 and 3.

Most replace a method, so their first argument is `self`. They stand at module level because Paddle reads and rewrites
their source when it makes a static graph. `compat.paddledet` says which function replaces what, and why.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from ppdet.modeling.bbox_utils import nonempty_bbox
from ppdet.modeling.ops import get_static_shape


def mine_hard_examples(
    self, conf_loss: paddle.Tensor, targets_label: paddle.Tensor, bg_index: int, mine_neg_ratio: float = 0.01
) -> paddle.Tensor:
    """Mask of the priors that count in the confidence loss: all positives and the hardest negatives.

    A picture with P positives gets `neg_pos_ratio` x P negatives. A picture without any gets the fraction
    `mine_neg_ratio` of all priors. `conf_loss` and `targets_label` are (N, priors); returns bool (N, priors).
    """
    dtype = conf_loss.dtype
    positive = targets_label != bg_index
    priors = positive.shape[1]
    wanted = positive.astype(dtype).sum(axis=1, keepdim=True) * self.neg_pos_ratio
    wanted = paddle.where(wanted > 0, wanted.clip(max=priors), paddle.full_like(wanted, priors * mine_neg_ratio))
    # Positives get the loss 0, so negatives come first. Sorting the order again gives the ranks.
    negative_loss = conf_loss.detach() * (targets_label == bg_index).astype(dtype)
    rank = negative_loss.argsort(axis=1, descending=True).argsort(axis=1)
    return paddle.logical_or(positive, rank.astype(dtype) < wanted)


def quality_focal_loss(
    pred: paddle.Tensor, target: Sequence[paddle.Tensor], beta: float = 2.0, use_sigmoid: bool = True
) -> paddle.Tensor:
    """The quality focal loss (arXiv 2006.04388, eq. 6) of each prediction, summed over the classes: (N,).

    `pred` is (N, classes): logits, or probabilities when `use_sigmoid` is false. `target` holds the label (N,), which
    is no class for background, and the quality 0..1 of the box (N,).
    """
    label, quality = target
    entropy = F.binary_cross_entropy_with_logits if use_sigmoid else F.binary_cross_entropy
    classes = paddle.arange(pred.shape[1], dtype=label.dtype)
    is_label = (label.unsqueeze(1) == classes).astype(pred.dtype)
    wanted = is_label * quality.astype(pred.dtype).unsqueeze(1)
    distance = wanted - (F.sigmoid(pred) if use_sigmoid else pred)
    return (entropy(pred, wanted, reduction="none") * distance.abs().pow(beta)).sum(axis=1)


def expected_distances(self, x: paddle.Tensor) -> paddle.Tensor:
    """The mean of 0..`reg_max` under the softmax of each `reg_max` + 1 values of `x`: (M,), in training (M / 4, 4)."""
    probability = F.softmax(x.reshape([-1, self.reg_max + 1]), axis=1)
    mean = (probability * self.project).sum(axis=1)
    if self.training:
        mean = mean.reshape([-1, 4])
    return mean


def boxes_at_offsets(self, feat: paddle.Tensor, offset: paddle.Tensor, anchor_points: paddle.Tensor) -> paddle.Tensor:
    """Samples each side of a box where the network's offsets point: (N, 4, H, W), from `feat` of the same shape.

    `offset` is (N, 8, H, W): x and y for every side, in cells, from `anchor_points` (1, H, W, 2), the centres of the
    cells.
    """
    batch, _, height, width = get_static_shape(feat)
    sides = feat.reshape([-1, 1, height, width])
    places = offset.reshape([-1, 2, height, width]).transpose([0, 2, 3, 1]) + anchor_points
    shares = places / paddle.stack([width, height]).astype("float32")
    sides = F.grid_sample(sides, shares.clip(0.0, 1.0) * 2 - 1)
    return sides.reshape([batch, -1, height, width])


def generate_proposals(
    self,
    scores: Sequence[paddle.Tensor],
    bbox_deltas: Sequence[paddle.Tensor],
    anchors: Sequence[paddle.Tensor],
    inputs: Mapping[str, Any],
) -> tuple[list[paddle.Tensor], paddle.Tensor]:
    """Proposals of every picture: list of (K_i, 4), and their counts, (N,) int32.

    The first three arguments are lists over the pyramid levels; `inputs["im_shape"]` is (N, 2). An ONNX export is for
    one picture.
    """
    propose = self.train_proposal if self.training else self.test_proposal
    im_shape = inputs["im_shape"]
    rois, counts = [], []
    for i in range(1 if self.export_onnx else im_shape.shape[0]):
        found = [
            propose(score[i : i + 1], delta[i : i + 1], anchor, im_shape[i : i + 1])
            for score, delta, anchor in zip(scores, bbox_deltas, anchors)
        ]
        if self.export_onnx or len(found) > 1:
            boxes = paddle.concat([level[0] for level in found])
            box_scores = paddle.concat([level[1] for level in found]).flatten()
            best = best_proposals(boxes, box_scores, propose.post_nms_top_n, self.export_onnx)
        else:
            best = found[0][0]
        rois.append(best)
        counts.append(paddle.shape(best)[0:1].astype("int32"))
    return rois, paddle.concat(counts)


def best_proposals(boxes: paddle.Tensor, scores: paddle.Tensor, limit: int, export_onnx: bool) -> paddle.Tensor:
    """The `limit` best of (M, 4) boxes, or all of them when there are fewer: (min(M, limit), 4)."""
    count = paddle.shape(scores)[0:1].astype("int32")
    if export_onnx:
        # avoids a branch on a tensor in ONNX; sorting all of them gives the same set
        order = paddle.topk(scores, paddle.minimum(count, paddle.full([1], limit, "int32")))[1]
        kept = paddle.gather(boxes, order)
    elif count > limit:
        kept = paddle.gather(boxes, paddle.topk(scores, limit)[1])
    else:
        kept = boxes
    return kept


def rescale_predictions(
    self, bboxes: paddle.Tensor, bbox_num: paddle.Tensor, im_shape: paddle.Tensor, scale_factor: paddle.Tensor
) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """Scales boxes from the network's input to the pictures and clips them. Empty boxes get the label -1.

    `bboxes` is (M, 6): label, score, x1, y1, x2, y2; `bbox_num` is (N,); `im_shape` and `scale_factor` are (N, 2), y
    first. Returns bboxes, the result (M, 6) and bbox_num. A picture without boxes gets one.
    """
    if self.export_eb:
        return bboxes, bboxes, bbox_num
    sizes = paddle.floor(im_shape / scale_factor + 0.5)
    if self.export_onnx:
        sizes = paddle.expand(sizes, [bbox_num[0:1], 2])
        scales = paddle.expand(scale_factor, [bbox_num[0:1], 2])
    else:
        bboxes, bbox_num, picture = at_least_one_box(bboxes, bbox_num)
        sizes = paddle.gather(sizes, picture)
        scales = paddle.gather(scale_factor, picture)
    self.origin_shape_list = sizes

    # (y, x) -> (x, y, x, y), the order of the corners
    limits = paddle.tile(paddle.flip(sizes, axis=[1]), [1, 2])
    corners = bboxes[:, 2:] / paddle.tile(paddle.flip(scales, axis=[1]), [1, 2])
    corners = paddle.maximum(paddle.minimum(corners, limits), paddle.zeros_like(limits))
    visible = nonempty_bbox(corners, return_mask=True).unsqueeze(1)
    label = paddle.where(visible, bboxes[:, 0:1], paddle.full_like(bboxes[:, 0:1], -1))
    return bboxes, paddle.concat([label, bboxes[:, 1:2], corners], axis=1), bbox_num


def at_least_one_box(
    bboxes: paddle.Tensor, bbox_num: paddle.Tensor
) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """Gives every picture without boxes the box (0, 0, 0, 0, 1, 1): label 0, score 0, one pixel.

    (M, 6), (N,) -> the boxes (M', 6), their counts (N,), and for each box the index of its picture (M',).
    """
    counts = paddle.maximum(bbox_num, paddle.ones_like(bbox_num))
    picture = paddle.repeat_interleave(paddle.arange(paddle.shape(bbox_num)[0], dtype="int32"), counts)
    # Row r of the new list is row r + shift of the old list. The spare box is appended to the old list.
    shift = paddle.cumsum(bbox_num - counts, dtype="int32") - bbox_num + counts
    source = paddle.arange(paddle.shape(picture)[0], dtype="int32")
    source = source + paddle.gather(shift.astype("int32"), picture)
    last = paddle.shape(bboxes)[0:1].astype("int32").expand_as(source)
    source = paddle.where(paddle.gather(bbox_num, picture) == 0, last, source)
    spare = paddle.to_tensor([[0.0, 0.0, 0.0, 0.0, 1.0, 1.0]], dtype="float32")
    return paddle.gather(paddle.concat([bboxes, spare]), source), counts, picture
