"""Probes of the repairs of paddledet 2.6.0: for each repair, the smallest call that triggers the defect.

Run as a script, this file runs every probe without its repair and prints the outcome.
"""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import paddle
from PIL import Image

from densebone.integrations.compat import paddledet as compat

NAMES = [
    "ssd_hard_examples",
    "atss_labels",
    "task_aligned_labels",
    "gfl_quality_loss",
    "gfl_distances",
    "tood_aligned_boxes",
    "rpn_proposals",
    "rcnn_predictions",
    "rcnn_targets",
    "export_program",
    "prior_box",
    "multiclass_nms",
    "matrix_nms",
    "yolo_sizes",
    "draw_labels",
]
SQUARE_ANCHORS = [[0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 10, 20], [10, 10, 20, 20]]


def ppdet_module(name):
    return importlib.import_module(f"ppdet.{name}")


def tensor(values, dtype="float32"):
    return paddle.to_tensor(np.array(values, dtype=dtype))


def mine(conf_loss, labels, background=3):
    loss = ppdet_module("modeling.losses.ssd_loss").SSDLoss(neg_pos_ratio=3.0)
    return loss._mine_hard_example(tensor(conf_loss), tensor(labels, "int64"), background).numpy()


def mine_without_objects():
    mask = mine([[0.1, 0.9, 0.2, 0.3]], [[3, 3, 3, 3]])
    if mask.sum() == 0:
        raise ValueError("no negative was chosen")
    return mask


def assign_atss(label_type="int32"):
    assigner = ppdet_module("modeling.assigners.atss_assigner").ATSSAssigner(topk=4, num_classes=4)
    objects = tensor([[[2]]], label_type), tensor([[[1, 1, 9, 9]]]), paddle.ones([1, 1, 1])
    return assigner(tensor(SQUARE_ANCHORS), [4], *objects, 4)


def assign_task_aligned(label_type="int32"):
    assigner = ppdet_module("modeling.assigners.task_aligned_assigner").TaskAlignedAssigner(topk=1)
    points = tensor([[5, 5], [15, 5], [5, 15], [15, 15]])
    objects = tensor([[[2]]], label_type), tensor([[[1, 1, 9, 9]]]), paddle.ones([1, 1, 1])
    return assigner(paddle.full([1, 4, 4], 0.5), tensor([SQUARE_ANCHORS]), points, [4], *objects, 4)


LOGITS = [[0.5, -1.0, 2.0], [0.1, 0.2, -0.3], [-2.0, 1.0, 0.0], [3.0, -3.0, 0.5]]
LABELS, QUALITIES = [2, 3, 0, 1], [0.8, 0.0, 0.4, 1.0]  # the second is background


def quality_loss(logits=LOGITS, labels=LABELS, **options):
    loss = ppdet_module("modeling.losses.gfocal_loss").quality_focal_loss
    # the head gives the qualities as float64
    return loss(tensor(logits), (tensor(labels, "int32"), tensor(QUALITIES, "float64")), **options)


def boxes_and_offsets():
    rng = np.random.RandomState(0)
    rows, columns = np.mgrid[0:3, 0:5] + 0.5
    return rng.rand(2, 4, 3, 5), rng.randn(2, 8, 3, 5), np.stack([columns, rows], axis=-1)[None]


def align_boxes(sides, offsets, centres):
    align = ppdet_module("modeling.heads.tood_head").TOODHead._reg_grid_sample
    return align(None, sides, offsets, centres)


def rpn_inputs(levels):
    rng = np.random.RandomState(0)
    scores = [tensor(rng.rand(2, 3, 8, 8)) for _ in range(levels)]
    deltas = [tensor(rng.randn(2, 12, 8, 8) * 0.1) for _ in range(levels)]
    corners = [rng.rand(8, 8, 3, 2) * 40 for _ in range(levels)]
    anchors = [tensor(np.concatenate([low, low + 20], axis=-1)) for low in corners]
    return scores, deltas, anchors, {"im_shape": tensor([[64, 64], [60, 50]])}


def propose(levels=2, limit=1000, export_onnx=False):
    head = ppdet_module("modeling.proposal_generator.rpn_head").RPNHead(in_channel=8)
    head.eval()
    head.export_onnx = export_onnx
    head.test_proposal.post_nms_top_n = limit
    return head._gen_proposal(*rpn_inputs(levels))


def rescale(counts=(2, 0, 1), export_onnx=False):
    processor = ppdet_module("modeling.post_process").BBoxPostProcess(num_classes=3, export_onnx=export_onnx)
    boxes = [[0, 0.9, 1, 1, 9, 9], [1, 0.8, 2, 2, 8, 80], [2, 0.7, 3, 3, 3, 9]][: sum(counts)]
    sizes, scales = [[20, 20], [30, 20], [20, 40]], [[2, 1], [1, 1], [0.5, 2]]
    images = len(counts)
    return processor.get_pred(
        tensor(boxes).reshape([-1, 6]),
        tensor(counts, "int32"),
        tensor(sizes[:images]),
        tensor(scales[:images]),
    )


def sample_proposals():
    target = ppdet_module("modeling.proposal_generator.target")
    rois = tensor([[0, 0, 10, 10], [30, 30, 50, 50]])
    truth = [tensor([[1]], "int32")], [tensor([[0, 0, 9, 10]])]
    return target.generate_proposal_target([rois], *truth, 8, 0.5, 0.5, 0.5, 3, use_random=False)


def sample_masks():
    target = ppdet_module("modeling.proposal_generator.target")
    left_half = [[np.array([0, 0, 4, 0, 4, 8, 0, 8], dtype="float32")]]
    labels = [tensor([1, 3], "int32")]
    rois = [tensor([[0, 0, 8, 8], [30, 30, 50, 50]])]
    return target.generate_mask_target([left_half], rois, labels, [tensor([0, 0], "int32")], 3, 4)


def static_prior_box(feature, image):
    boxes, _ = ppdet_module("modeling.ops").prior_box(
        feature, image, min_sizes=[8.0], max_sizes=[16.0], aspect_ratios=[2.0], flip=True, steps=[16.0, 16.0]
    )
    return boxes


def static_multiclass_nms(boxes, scores):
    nms = ppdet_module("modeling.ops").multiclass_nms
    return nms(boxes, scores, 0.1, 10, 10, nms_threshold=0.5, return_index=True)


def static_matrix_nms(boxes, scores):
    nms = ppdet_module("modeling.ops").matrix_nms
    return nms(boxes, scores, 0.1, 0.0, 10, 10, background_label=-1, return_index=True)


def in_static_graph(function, *arrays):
    """Outputs of `function` when it runs as the static graph that an export would save."""
    spec = [paddle.static.InputSpec([None, *array.shape[1:]], "float32") for array in arrays]
    return paddle.jit.to_static(function, input_spec=spec, full_graph=True)(*map(tensor, arrays))


def draw():
    found = {"image_id": 0, "category_id": 1, "bbox": [5, 30, 40, 20], "score": 0.9}
    visualizer = ppdet_module("utils.visualizer")
    return np.array(visualizer.draw_bbox(Image.new("RGB", (64, 64)), 0, {1: "cat"}, [found], 0.5))


SSD = """
architecture: SSD
use_gpu: false
metric: COCO
num_classes: 3
weights: none
worker_num: 0
SSD: {backbone: MobileNet, ssd_head: SSDHead, post_process: BBoxPostProcess}
MobileNet:
  norm_decay: 0.
  conv_learning_rate: 0.1
  extra_block_filters: [[16, 32], [16, 32], [16, 32], [16, 32]]
  with_extra_blocks: true
  feature_maps: [11, 13, 14, 15, 16, 17]
SSDHead:
  kernel_size: 1
  padding: 0
  anchor_generator:
    steps: [0, 0, 0, 0, 0, 0]
    aspect_ratios: [[2.], [2., 3.], [2., 3.], [2., 3.], [2., 3.], [2., 3.]]
    min_ratio: 20
    max_ratio: 90
    base_size: 96
    min_sizes: [10., 20., 30., 40., 50., 60.]
    max_sizes: [[], 30., 40., 50., 60., 70.]
    offset: 0.5
    flip: true
BBoxPostProcess:
  decode: {name: SSDBox}
  nms: {name: MultiClassNMS, keep_top_k: 50, score_threshold: 0.01, nms_threshold: 0.45, nms_top_k: 100}
TestDataset: !ImageFolder {anno_path: ANNOTATIONS}
TestReader:
  inputs_def: {image_shape: [3, 96, 96]}
  sample_transforms: [{Decode: {}}, {Resize: {target_size: [96, 96], keep_ratio: false}}, {Permute: {}}]
  batch_size: 1
"""


def export_ssd(folder):
    """Exports a small SSD and runs it. Returns the largest difference between its boxes and the network's."""
    categories = [{"id": i, "name": str(i)} for i in range(3)]
    (folder / "labels.json").write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    config = folder / "ssd.yml"
    config.write_text(SSD.replace("ANNOTATIONS", str(folder / "labels.json")))
    paddle.seed(0)
    trainer = ppdet_module("engine").Trainer(ppdet_module("core.workspace").load_config(str(config)), mode="test")
    trainer.model.eval()
    inputs = {
        "image": np.random.RandomState(0).randn(1, 3, 96, 96).astype("float32"),
        "im_shape": np.array([[96, 96]], "float32"),
        "scale_factor": np.array([[0.5, 0.8]], "float32"),
    }
    expected = trainer.model({name: tensor(value) for name, value in inputs.items()})["bbox"].numpy()
    trainer.export(str(folder))

    found = run_exported(folder / "ssd" / "model", inputs)[0]
    assert found.shape == expected.shape and len(found) > 0
    return float(np.abs(found - expected).max())


def run_exported(stem, inputs):
    """Outputs of an exported model STEM.* in Paddle Inference, without oneDNN."""
    program = stem.with_suffix(".json" if stem.with_suffix(".json").exists() else ".pdmodel")
    settings = paddle.inference.Config(str(program), str(stem.with_suffix(".pdiparams")))
    settings.disable_gpu()
    if hasattr(settings, "disable_mkldnn"):
        settings.disable_mkldnn()
    predictor = paddle.inference.create_predictor(settings)
    for name in predictor.get_input_names():
        predictor.get_input_handle(name).copy_from_cpu(inputs[name])
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


class TwoLevels(paddle.nn.Layer):
    """Distances of two levels, as GFL's head computes them."""

    def __init__(self):
        super().__init__()
        self.integral = ppdet_module("modeling.heads.gfl_head").Integral(reg_max=16)

    def forward(self, x):
        return self.integral(x) * 8, self.integral(x + 1) * 16


def expected_of(logits):
    """What the published formula gives: the mean of 0..16 under the softmax."""
    weights = np.exp(logits.astype("float64").reshape(-1, 17))
    return (weights * np.arange(17)).sum(1) / weights.sum(1)


def export_distances(folder):
    """Exports `TwoLevels` and runs it. ValueError when its distances differ from the formula's."""
    net, logits = TwoLevels(), np.random.RandomState(0).randn(3, 4 * 17).astype("float32")
    net.eval()
    spec = [paddle.static.InputSpec([None, 4 * 17], "float32", name="x")]
    paddle.jit.save(paddle.jit.to_static(net, input_spec=spec, full_graph=True), str(folder / "levels"))
    near, far = run_exported(folder / "levels", {"x": logits})
    for found, stride in ((near, 8), (far, 16)):  # adding 1 to every logit changes nothing
        if not np.allclose(found.ravel(), stride * expected_of(logits), rtol=1e-5):
            raise ValueError(f"the distances of stride {stride} are wrong")


def yolo_boxes(side=150, size=160):
    """The one box of a map of one cell, whose prediction of zeros covers its anchor, of the whole input's size."""
    decode = ppdet_module("modeling.layers").YOLOBox(num_classes=1, conf_thresh=0.0, downsample_ratio=size)
    scale = np.float32(size) / np.float32(side)
    maps, anchors = [paddle.zeros([1, 6, 1, 1])], [[size, size]]
    boxes, _ = decode(maps, anchors, tensor([[size, size]]), tensor([[scale, scale]]))
    return boxes.numpy()[0, 0]


def yolo_box_of_150_pixels():
    right = yolo_boxes()[2]
    if abs(right - 149) > 1e-3:  # PaddleDetection's boxes end in the middle of the last pixel
        raise ValueError(f"the box ends at {right}")


BOXES = np.array([[[0, 0, 10, 10], [0, 0, 10, 8], [20, 20, 30, 30]]], "float32")
SCORES = np.array([[[0.9, 0.8, 0.05], [0.0, 0.0, 0.6]]], "float32")
FEATURE, IMAGE = np.zeros((1, 3, 2, 2), "float32"), np.zeros((1, 3, 32, 32), "float32")


def without_repairs(folder):
    """{name of the repair: "Error: text" of its probe when nothing is repaired, or "no error"}."""
    probes = {
        "ssd_hard_examples": mine_without_objects,
        "atss_labels": assign_atss,
        "task_aligned_labels": assign_task_aligned,
        "gfl_quality_loss": quality_loss,
        "gfl_distances": lambda: export_distances(folder),
        "tood_aligned_boxes": lambda: align_boxes(*map(tensor, boxes_and_offsets())),
        "rpn_proposals": propose,
        "rcnn_predictions": rescale,
        "rcnn_targets": sample_proposals,
        "draw_labels": draw,
        "prior_box": lambda: in_static_graph(static_prior_box, FEATURE, IMAGE),
        "multiclass_nms": lambda: in_static_graph(static_multiclass_nms, BOXES, SCORES),
        "matrix_nms": lambda: in_static_graph(static_matrix_nms, BOXES, SCORES),
        "yolo_sizes": yolo_box_of_150_pixels,
        "export_program": lambda: export_ssd(folder),
    }
    outcome = {}
    for name, probe in probes.items():
        # The export triggers the other defects too; every other probe triggers only its own.
        compat.apply(skip=[name] if name == "export_program" else NAMES)
        try:
            probe()
            outcome[name] = "no error"
        except Exception as error:
            outcome[name] = f"{type(error).__name__}: {error}"
    return outcome


def main(folder):
    """Prints the errors without repairs, and the largest difference of an exported SSD with them, as JSON."""

    errors = without_repairs(Path(folder))
    compat.apply()
    print(json.dumps({"errors": errors, "export": export_ssd(Path(folder))}))


if __name__ == "__main__":
    main(sys.argv[1])
