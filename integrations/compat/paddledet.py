"""What makes the PyPI release paddledet 2.6.0 work on Paddle 2.6 and 3: one function per repair.

    >>> from densebone.integrations.compat import paddledet
    >>> [repair.name for repair in paddledet.apply()]      # applied once, before a model is built

The release dates from 2023, before Paddle had settled its 0-D tensors, its rules for mixed types and its new
static graph (PIR); nothing newer is on PyPI. `apply` leaves every other version of the toolkit alone. The
versions below were measured on 2.6.2, 3.2.2 and 3.3.1, on a CPU, by running each function as it is released.
"""

import inspect
from types import SimpleNamespace

import paddle
import paddle.nn.functional as F
from paddle.framework import in_dynamic_or_pir_mode
from PIL import ImageDraw
from ppdet.engine.export_utils import _prune_input_spec
from ppdet.modeling.bbox_utils import nonempty_bbox
from ppdet.modeling.ops import get_static_shape

from . import RepairTable, paddle_is_at_least

TABLE = RepairTable("ppdet", release="2.6.0")
apply = TABLE.apply
in_force = TABLE.in_force
reason_against = TABLE.reason_against

ZERO_D = "ValueError: Expected axis >= -rank && axis < rank (concat of 0-D tensors)"
PROMOTION = "TypeError: (InvalidType) Type promotion only support calculations between floating-point numbers"
APPEND_OP = "TypeError: The type of '%{}' in operator {} should be one of [str, bytes, Variable]"


@TABLE.repair(
    symptom=PROMOTION + " (2.6: no error, but too few negatives)",
    why="SSD training",
    paddle="2.6",
    sources={"ppdet.modeling.losses.ssd_loss:SSDLoss._mine_hard_example": "ecca37510463c5e4"},
)
def ssd_hard_examples(original):
    """SSD's choice of negatives compares an int64 rank with a float32 limit.

    Paddle 3 refuses; Paddle 2.6 truncates the limit first, so that a picture without objects, whose limit is
    1 % of the priors, loses one negative, or all of them below 100 priors. Restated, comparing in one type.
    """
    return mine_hard_examples


def mine_hard_examples(self, conf_loss, targets_label, bg_index, mine_neg_ratio=0.01):
    """Mask of the priors that count in the confidence loss: all positives and the hardest negatives.

    A picture with P positives gets `neg_pos_ratio` x P negatives, one without, the part `mine_neg_ratio` of
    all priors. `conf_loss` and `targets_label` are (N, priors); returns bool (N, priors).
    """
    dtype = conf_loss.dtype
    positive = targets_label != bg_index
    priors = positive.shape[1]
    wanted = positive.astype(dtype).sum(axis=1, keepdim=True) * self.neg_pos_ratio
    wanted = paddle.where(wanted > 0, wanted.clip(max=priors), paddle.full_like(wanted, priors * mine_neg_ratio))
    # With the loss of positives at 0, negatives come first; sorting the order again gives the ranks.
    negative_loss = conf_loss.detach() * (targets_label == bg_index).astype(dtype)
    rank = negative_loss.argsort(axis=1, descending=True).argsort(axis=1)
    return paddle.logical_or(positive, rank.astype(dtype) < wanted)


def _with_int64_labels(forward):
    """`forward`, whatever the integer type in which its argument `gt_labels` arrives."""
    signature = inspect.signature(forward)

    def cast_and_forward(*args, **kwargs):
        call = signature.bind(*args, **kwargs)
        call.arguments["gt_labels"] = call.arguments["gt_labels"].astype("int64")
        return forward(*call.args, **call.kwargs)

    return cast_and_forward


@TABLE.repair(
    symptom=PROMOTION,
    why="PP-YOLOE and PicoDet training, first epochs",
    paddle="3.0",
    sources={"ppdet.modeling.assigners.atss_assigner:ATSSAssigner.forward": "9498b336cebc927e"},
)
def atss_labels(original):
    """ATSS adds an offset in the labels' type, int32 from the reader, to an int64 argmax: cast the labels."""
    return _with_int64_labels(original)


@TABLE.repair(
    symptom=PROMOTION,
    why="PP-YOLOE and PicoDet training",
    paddle="3.0",
    sources={"ppdet.modeling.assigners.task_aligned_assigner:TaskAlignedAssigner.forward": "53c4e85c649f4aef"},
)
def task_aligned_labels(original):
    """The task-aligned assigner adds int32 to int64 as ATSS does: cast the labels."""
    return _with_int64_labels(original)


@TABLE.repair(
    symptom=PROMOTION,
    why="GFL training",
    paddle="3.0",
    sources={"ppdet.modeling.losses.gfocal_loss:quality_focal_loss": "b2837143622941c7"},
)
def gfl_quality_loss(original):
    """GFL's loss multiplies losses with a mask of bools: restated with one target for every class."""
    return quality_focal_loss


def quality_focal_loss(pred, target, beta=2.0, use_sigmoid=True):
    """The quality focal loss (arXiv 2006.04388, eq. 6) of each prediction, summed over the classes: (N,).

    `pred` is (N, classes), logits, or probabilities without `use_sigmoid`; `target` is the label (N,), which is no
    class for background, and the quality 0..1 of its box (N,).
    """
    label, quality = target
    entropy = F.binary_cross_entropy_with_logits if use_sigmoid else F.binary_cross_entropy
    classes = paddle.arange(pred.shape[1], dtype=label.dtype)
    is_label = (label.unsqueeze(1) == classes).astype(pred.dtype)
    wanted = is_label * quality.astype(pred.dtype).unsqueeze(1)
    distance = wanted - (F.sigmoid(pred) if use_sigmoid else pred)
    return (entropy(pred, wanted, reduction="none") * distance.abs().pow(beta)).sum(axis=1)


@TABLE.repair(
    symptom="(no error, but other boxes: the stride of a level is multiplied into what all levels share)",
    why="GFL and PicoDet V2 after export",
    paddle="2.6",
    sources={"ppdet.modeling.heads.gfl_head:Integral.forward": "bbac7391ce8327e0"},
    needed=lambda: not paddle_is_at_least("3.0"),
)
def gfl_distances(original):
    """GFL's distances are a matrix product with 0..16, times the stride of their level: restated without the product.

    Paddle Inference 2.6 moves such a factor into the matrix (matmul_v2_scale_fuse_pass), once for each of the levels,
    which share it.
    """
    return expected_distances


def expected_distances(self, x):
    """The mean of 0..`reg_max` under the softmax of each `reg_max` + 1 numbers of `x`: (M,), in training (M / 4, 4).

    At module level, because Paddle reads and rewrites the source when it makes a static graph.
    """
    probability = F.softmax(x.reshape([-1, self.reg_max + 1]), axis=1)
    mean = (probability * self.project).sum(axis=1)
    if self.training:
        mean = mean.reshape([-1, 4])
    return mean


@TABLE.repair(
    symptom=ZERO_D,
    why="TOOD, every stage",
    paddle="2.6",
    sources={"ppdet.modeling.heads.tood_head:TOODHead._reg_grid_sample": "452e82292aef64f5"},
)
def tood_aligned_boxes(original):
    """TOOD concatenates width and height, 0-D since Paddle 2.5, where it moves its boxes: restated with `stack`."""
    return boxes_at_offsets


def boxes_at_offsets(self, feat, offset, anchor_points):
    """Each side of a box from where the network points: (N, 4, H, W), read off `feat`, of the same shape.

    `offset` is (N, 8, H, W): x and y for every side, in cells, from `anchor_points` (1, H, W, 2), the centres of the
    cells. At module level, because Paddle reads and rewrites the source when it makes a static graph.
    """
    batch, _, height, width = get_static_shape(feat)
    sides = feat.reshape([-1, 1, height, width])
    places = offset.reshape([-1, 2, height, width]).transpose([0, 2, 3, 1]) + anchor_points
    shares = places / paddle.stack([width, height]).astype("float32")
    sides = F.grid_sample(sides, shares.clip(0.0, 1.0) * 2 - 1)
    return sides.reshape([batch, -1, height, width])


@TABLE.repair(
    symptom=ZERO_D,
    why="Faster and Mask R-CNN, every stage",
    paddle="2.6",
    sources={"ppdet.modeling.proposal_generator.rpn_head:RPNHead._gen_proposal": "75f917e8e335a6b7"},
)
def rpn_proposals(original):
    """The RPN head concatenates `shape(x)[0]`, 0-D since Paddle 2.5: restated with 1-D counts."""
    return generate_proposals


def generate_proposals(self, scores, bbox_deltas, anchors, inputs):
    """Proposals of every picture: list of (K_i, 4) and their counts, (N,) int32.

    The arguments are lists over the pyramid levels; `inputs["im_shape"]` is (N, 2). An ONNX export is for one
    picture. At module level, because Paddle reads and rewrites the source when it makes a static graph.
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


def best_proposals(boxes, scores, limit, export_onnx):
    """The `limit` best of (M, 4) boxes, or all where there are fewer: (min(M, limit), 4)."""
    count = paddle.shape(scores)[0:1].astype("int32")
    if export_onnx:
        # ONNX gets no branch on a tensor; sorting all of them gives the same set.
        order = paddle.topk(scores, paddle.minimum(count, paddle.full([1], limit, "int32")))[1]
        kept = paddle.gather(boxes, order)
    elif count > limit:
        kept = paddle.gather(boxes, paddle.topk(scores, limit)[1])
    else:
        kept = boxes
    return kept


@TABLE.repair(
    symptom=ZERO_D,
    why="Faster and Mask R-CNN eval, predict and export",
    paddle="2.6",
    sources={"ppdet.modeling.post_process:BBoxPostProcess.get_pred": "577f30ddbff3a28d"},
)
def rcnn_predictions(original):
    """R-CNN's last step concatenates single numbers, 0-D since Paddle 2.5: restated without its loops."""
    return rescale_predictions


def rescale_predictions(self, bboxes, bbox_num, im_shape, scale_factor):
    """Boxes of the network's input -> boxes of the pictures, clipped; empty ones get the label -1.

    `bboxes` is (M, 6): label, score, x1, y1, x2, y2; `bbox_num` is (N,); `im_shape` and `scale_factor` are
    (N, 2), y first. Returns bboxes, the result (M, 6) and bbox_num; a picture without boxes has got one.
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

    # (y, x) -> (x, y, x, y), as the corners have it
    limits = paddle.tile(paddle.flip(sizes, axis=[1]), [1, 2])
    corners = bboxes[:, 2:] / paddle.tile(paddle.flip(scales, axis=[1]), [1, 2])
    corners = paddle.maximum(paddle.minimum(corners, limits), paddle.zeros_like(limits))
    visible = nonempty_bbox(corners, return_mask=True).unsqueeze(1)
    label = paddle.where(visible, bboxes[:, 0:1], paddle.full_like(bboxes[:, 0:1], -1))
    return bboxes, paddle.concat([label, bboxes[:, 1:2], corners], axis=1), bbox_num


def at_least_one_box(bboxes, bbox_num):
    """Give every picture without boxes the box (0, 0, 0, 0, 1, 1): label 0, score 0, one pixel.

    (M, 6), (N,) -> the boxes (M', 6), their counts (N,), and for each box the index of its picture (M',).
    """
    counts = paddle.maximum(bbox_num, paddle.ones_like(bbox_num))
    picture = paddle.repeat_interleave(paddle.arange(paddle.shape(bbox_num)[0], dtype="int32"), counts)
    # Row r of the new list is row r + shift of the old one, whose last row is the spare box.
    shift = paddle.cumsum(bbox_num - counts, dtype="int32") - bbox_num + counts
    source = paddle.arange(paddle.shape(picture)[0], dtype="int32")
    source = source + paddle.gather(shift.astype("int32"), picture)
    last = paddle.shape(bboxes)[0:1].astype("int32").expand_as(source)
    source = paddle.where(paddle.gather(bbox_num, picture) == 0, last, source)
    spare = paddle.to_tensor([[0.0, 0.0, 0.0, 0.0, 1.0, 1.0]], dtype="float32")
    return paddle.gather(paddle.concat([bboxes, spare]), source), counts, picture


class _ConcatOfScalars:
    """The module `paddle` with a `concat` that takes a 0-D tensor as one number."""

    def __getattr__(self, name):
        return getattr(paddle, name)

    @staticmethod
    def concat(x, axis=0, name=None):
        return paddle.concat([t.reshape([1]) if t.ndim == 0 else t for t in x], axis=axis, name=name)


@TABLE.repair(
    symptom=ZERO_D,
    why="Faster and Mask R-CNN training",
    paddle="2.6",
    sources={
        "ppdet.modeling.proposal_generator.target:generate_proposal_target": "2f311acb3c1bff46",
        "ppdet.modeling.proposal_generator.target:generate_mask_target": "4446aaf3ed2b2030",
    },
    seam="ppdet.modeling.proposal_generator.target:paddle",
)
def rcnn_targets(original):
    """R-CNN's targets concatenate `shape(x)[0]`, 0-D since Paddle 2.5: the module gets a `concat` for it."""
    return _ConcatOfScalars()


@TABLE.repair(
    symptom="RuntimeError: Can't call main_program when full_graph=False",
    why="every export",
    paddle="2.6",
    sources={"ppdet.engine.trainer:Trainer._get_infer_cfg_and_input_spec": "75e82356bd3bfca5"},
)
def export_program(original):
    """The exporter wants a whole program; since Paddle 2.6 `to_static` makes one only with full_graph=True.

    The original still writes infer_cfg.yml and the input specification; program and pruning follow here.
    """

    def infer_cfg_and_input_spec(self, save_dir, prune_input=True, kl_quant=False):
        program, spec = original(self, save_dir, prune_input=False, kl_quant=kl_quant)
        if prune_input:
            program = paddle.jit.to_static(self.model, input_spec=spec, full_graph=True)
            spec = _prune_input_spec(spec, program.forward.main_program, program.forward.outputs)
        return program, spec

    return infer_cfg_and_input_spec


@TABLE.repair(
    symptom=APPEND_OP.format("Input", "prior_box"),
    why="SSD export",
    paddle="3.0",
    sources={"ppdet.modeling.ops:prior_box": "ef5012d58ce96175"},
)
def prior_box(original):
    """The operator is entered in the old kind of program: use Paddle's own, which knows both kinds."""

    @paddle.jit.not_to_static
    def boxes_and_variances(input, image, min_sizes, max_sizes=None, *args, **kwargs):
        # A first maximum of 0 stands for "none".
        maxima = max_sizes if max_sizes and max_sizes[0] > 0 else None
        return paddle.vision.ops.prior_box(input, image, min_sizes, maxima, *args, **kwargs)

    return boxes_and_variances


@TABLE.repair(
    symptom=APPEND_OP.format("BBoxes", "multiclass_nms3"),
    why="export with this NMS: SSD, YOLOv3, PP-YOLOE, RetinaNet, R-CNN and others",
    paddle="3.0",
    sources={"ppdet.modeling.ops:multiclass_nms": "b9480fc8413ad018"},
)
def multiclass_nms(original):
    """The operator is entered in the old kind of program: call it through Paddle's table of operators.

    Paddle has no public function for it. The order of the arguments is that of its ops.yaml.
    """
    signature = inspect.signature(original)

    @paddle.jit.not_to_static
    def boxes_counts_index(*args, **kwargs):
        if not in_dynamic_or_pir_mode():
            return original(*args, **kwargs)
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        order = "bboxes scores rois_num score_threshold nms_top_k keep_top_k nms_threshold normalized nms_eta"
        values = [call.arguments[name] for name in (*order.split(), "background_label")]
        boxes, index, counts = paddle._C_ops.multiclass_nms3(*values)
        return boxes, counts, index if call.arguments["return_index"] else None

    return boxes_counts_index


@TABLE.repair(
    symptom=APPEND_OP.format("BBoxes", "matrix_nms"),
    why="PP-YOLO and PP-YOLOv2 export",
    paddle="3.0",
    sources={"ppdet.modeling.ops:matrix_nms": "12de6a98f6507103"},
)
def matrix_nms(original):
    """The operator is entered in the old kind of program: use Paddle's own, which knows both kinds."""
    return paddle.vision.ops.matrix_nms


class _DrawWithTextsize(ImageDraw.ImageDraw):
    """Pillow's drawing surface with the `textsize` that Pillow 10 took away."""

    def textsize(self, text):
        """Width and height, in pixels, of the box that a text drawn at its top left corner needs."""
        return self.textbbox((0, 0), text)[2:]


@TABLE.repair(
    symptom="AttributeError: 'ImageDraw' object has no attribute 'textsize'",
    why="predict, with Pillow 10 or newer",
    paddle="2.6",
    sources={"ppdet.utils.visualizer:draw_bbox": "465e9aae9af0535c"},
    seam="ppdet.utils.visualizer:ImageDraw",
    needed=lambda: not hasattr(ImageDraw.ImageDraw, "textsize"),
)
def draw_labels(original):
    """A label is measured with a method that Pillow 10 removed: the `Draw` of that module has it again."""
    return SimpleNamespace(**{**vars(original), "Draw": _DrawWithTextsize})
