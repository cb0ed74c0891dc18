"""Makes the PyPI release paddledet 2.6.0 work on Paddle 2.6 and 3: one function per repair.

    >>> from densebone.integrations.compat import paddledet
    >>> [repair.name for repair in paddledet.apply()]      # once, before a model is built

The release dates from 2023, before Paddle settled its 0-D tensors, its rules for mixed types and its new static graph
(PIR). PyPI has nothing newer. `apply` leaves every other version of the toolkit alone. Which Paddle needs a repair was
measured on 2.6.2, 3.2.2 and 3.3.1, on a CPU, by running each function as it is released. Functions that are restated in
full stand in `paddledet_restated`.
"""

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import paddle
from paddle.framework import in_dynamic_or_pir_mode
from PIL import ImageDraw
from ppdet.engine.export_utils import _prune_input_spec

from . import RepairTable, paddle_is_at_least
from . import paddledet_restated as restated

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
def ssd_hard_examples(original: Callable) -> Callable:
    """To choose negatives, SSD compares an int64 rank with a float32 limit. The repair compares in one type.

    Paddle 3 refuses the comparison. Paddle 2.6 truncates the limit first. The limit of a picture without objects is
    1 % of the priors, so it loses one negative, or all of them below 100 priors.
    """
    return restated.mine_hard_examples


def _with_int64_labels(forward):
    """`forward` for any integer type of its argument `gt_labels`."""
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
def atss_labels(original: Callable) -> Callable:
    """ATSS adds an offset of the labels' type, int32 from the reader, to an int64 argmax. The repair casts labels."""
    return _with_int64_labels(original)


@TABLE.repair(
    symptom=PROMOTION,
    why="PP-YOLOE and PicoDet training",
    paddle="3.0",
    sources={"ppdet.modeling.assigners.task_aligned_assigner:TaskAlignedAssigner.forward": "53c4e85c649f4aef"},
)
def task_aligned_labels(original: Callable) -> Callable:
    """Like ATSS, the task-aligned assigner adds int32 to int64. The repair casts the labels."""
    return _with_int64_labels(original)


@TABLE.repair(
    symptom=PROMOTION,
    why="GFL training",
    paddle="3.0",
    sources={"ppdet.modeling.losses.gfocal_loss:quality_focal_loss": "b2837143622941c7"},
)
def gfl_quality_loss(original: Callable) -> Callable:
    """GFL's loss multiplies losses with a bool mask. The repair restates it with one target for every class."""
    return restated.quality_focal_loss


@TABLE.repair(
    symptom="(no error, but other boxes: the stride of a level is multiplied into what all levels share)",
    why="GFL and PicoDet V2 after export",
    paddle="2.6",
    sources={"ppdet.modeling.heads.gfl_head:Integral.forward": "bbac7391ce8327e0"},
    needed=lambda: not paddle_is_at_least("3.0"),
)
def gfl_distances(original: Callable) -> Callable:
    """GFL's distances are a matrix product with 0..16, times the stride. The repair avoids the matrix product.

    Paddle Inference 2.6 folds such a factor into the matrix (matmul_v2_scale_fuse_pass). It does so once per level,
    although all levels share the matrix.
    """
    return restated.expected_distances


@TABLE.repair(
    symptom=ZERO_D,
    why="TOOD, every stage",
    paddle="2.6",
    sources={"ppdet.modeling.heads.tood_head:TOODHead._reg_grid_sample": "452e82292aef64f5"},
)
def tood_aligned_boxes(original: Callable) -> Callable:
    """To move its boxes, TOOD concatenates width and height, 0-D since Paddle 2.5. The repair stacks them."""
    return restated.boxes_at_offsets


@TABLE.repair(
    symptom=ZERO_D,
    why="Faster and Mask R-CNN, every stage",
    paddle="2.6",
    sources={"ppdet.modeling.proposal_generator.rpn_head:RPNHead._gen_proposal": "75f917e8e335a6b7"},
)
def rpn_proposals(original: Callable) -> Callable:
    """The RPN head concatenates `shape(x)[0]`, 0-D since Paddle 2.5. The repair restates it with 1-D counts."""
    return restated.generate_proposals


@TABLE.repair(
    symptom=ZERO_D,
    why="Faster and Mask R-CNN eval, predict and export",
    paddle="2.6",
    sources={"ppdet.modeling.post_process:BBoxPostProcess.get_pred": "577f30ddbff3a28d"},
)
def rcnn_predictions(original: Callable) -> Callable:
    """R-CNN's last step concatenates single numbers, 0-D since Paddle 2.5. The repair restates it without loops."""
    return restated.rescale_predictions


class _ConcatOfScalars:
    """The module `paddle` with a `concat` that treats a 0-D tensor as a tensor of one element."""

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
def rcnn_targets(original: Any) -> Any:
    """R-CNN's targets concatenate `shape(x)[0]`, 0-D since Paddle 2.5. Their module gets a `concat` that allows it."""
    return _ConcatOfScalars()


@TABLE.repair(
    symptom="RuntimeError: Can't call main_program when full_graph=False",
    why="every export",
    paddle="2.6",
    sources={"ppdet.engine.trainer:Trainer._get_infer_cfg_and_input_spec": "75e82356bd3bfca5"},
)
def export_program(original: Callable) -> Callable:
    """The exporter needs a whole program. Since Paddle 2.6, `to_static` makes one only with full_graph=True.

    The original still writes infer_cfg.yml and the input specification. The repair makes the program and prunes it.
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
def prior_box(original: Callable) -> Callable:
    """The original adds the operator to the old kind of program. The repair calls Paddle's own, which knows both."""

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
def multiclass_nms(original: Callable) -> Callable:
    """The original adds the operator to the old kind of program. The repair calls it through Paddle's operator table.

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
def matrix_nms(original: Callable) -> Callable:
    """The original adds the operator to the old kind of program. The repair calls Paddle's own, which knows both."""
    return paddle.vision.ops.matrix_nms


@TABLE.repair(
    symptom="boxes that are off by up to one pixel in the picture's side",
    why="YOLOv3's boxes",
    paddle="2.6",
    sources={"ppdet.modeling.layers:YOLOBox.__call__": "60f7b492f280a4dd"},
)
def yolo_sizes(original: Callable) -> Callable:
    """YOLOv3's decoding cuts the picture's sides, input over scale, to whole pixels. The repair rounds them.

    In float32 the quotient is 460.99997 for some pictures of 461 pixels, and for others in an engine that multiplies
    by the reciprocal.
    """

    def call(self, yolo_head_out, anchors, im_shape, scale_factor, var_weight=None):
        return original(self, yolo_head_out, anchors, im_shape + scale_factor / 2, scale_factor, var_weight)

    return call


class _DrawWithTextsize(ImageDraw.ImageDraw):
    """Pillow's drawing surface with `textsize`, which Pillow 10 removed."""

    def textsize(self, text):
        """Distances, in pixels, from the drawing position to the right and lower edges of a text."""
        return self.textbbox((0, 0), text)[2:]


@TABLE.repair(
    symptom="AttributeError: 'ImageDraw' object has no attribute 'textsize'",
    why="predict, with Pillow 10 or newer",
    paddle="2.6",
    sources={"ppdet.utils.visualizer:draw_bbox": "465e9aae9af0535c"},
    seam="ppdet.utils.visualizer:ImageDraw",
    needed=lambda: not hasattr(ImageDraw.ImageDraw, "textsize"),
)
def draw_labels(original: Any) -> Any:
    """Labels are measured with a method that Pillow 10 removed. That module's `Draw` gets the method back."""
    return SimpleNamespace(**{**vars(original), "Draw": _DrawWithTextsize})
