"""Each repair of paddledet 2.6.0 agrees with an independent computation; without it, the error is back.

Run as a script, this file runs every probe without its repair and prints the outcome. A fixture does so in a fresh
process.
"""

import importlib
import json
import math
import subprocess
import sys
import types

import numpy as np
import pytest

pytest.importorskip("ppdet", reason="paddledet is not installed")

import paddle
import ppdet
from PIL import Image

from densebone.errors import UserError
from densebone.integrations import compat as machinery
from densebone.integrations.compat import paddledet as compat

if getattr(ppdet, "__version__", None) != "2.6.0":
    pytest.skip("this is not paddledet 2.6.0: nothing of it is repaired", allow_module_level=True)

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


@pytest.fixture(autouse=True)
def repaired():
    compat.apply()


def names_in_force():
    return [repair.name for repair in compat.in_force()]


# Probes: for each repair, the smallest call that triggers the defect.


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


@pytest.fixture(scope="module")
def in_fresh_process(tmp_path_factory):
    """What this file prints as a script: the errors without repairs, and the export with them."""
    folder = tmp_path_factory.mktemp("fresh")
    command = [sys.executable, __file__, str(folder)]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


ERRORS = {
    "ssd_hard_examples": ["Type promotion only support", "no negative was chosen"],
    "atss_labels": ["Type promotion only support"],
    "task_aligned_labels": ["Type promotion only support"],
    "gfl_quality_loss": ["Type promotion only support"],
    "gfl_distances": ["the distances of stride"],
    "tood_aligned_boxes": ["Expected axis >= -rank"],
    "rpn_proposals": ["Expected axis >= -rank"],
    "rcnn_predictions": ["Expected axis >= -rank"],
    "rcnn_targets": ["Expected axis >= -rank"],
    "export_program": ["main_program when full_graph=False"],
    "prior_box": ["in operator prior_box should be one of"],
    "multiclass_nms": ["in operator multiclass_nms3 should be one of"],
    "matrix_nms": ["in operator matrix_nms should be one of"],
    "yolo_sizes": ["the box ends at 148"],
    "draw_labels": ["no attribute 'textsize'"],
}


@pytest.mark.parametrize("name", NAMES)
def test_without_the_repair_the_error_is_back(name, in_fresh_process):
    error = in_fresh_process["errors"][name]
    if name not in names_in_force():
        assert error == "no error"
        pytest.skip(f"{name} is not in force: {compat.reason_against(name)}")
    assert any(text in error for text in ERRORS[name]), error


def test_an_exported_ssd_gives_the_boxes_of_the_network(in_fresh_process):
    assert in_fresh_process["export"] < 1e-3  # pixels


# What each repaired function computes.


def test_hard_examples_are_the_negatives_of_highest_loss():
    rng = np.random.RandomState(0)
    conf_loss = rng.permutation(3 * 250).reshape(3, 250).astype("float32") + 1
    labels = np.full((3, 250), 3)
    labels[0, [5, 9]], labels[1, :100] = 1, 0  # 2 objects; 100 objects; none

    expected = labels != 3
    for row, objects in enumerate([2, 100, 0]):
        negatives = np.flatnonzero(labels[row] == 3)
        limit = min(objects * 3, 250) or 250 * 0.01
        hardest = negatives[np.argsort(-conf_loss[row, negatives])]
        expected[row, hardest[: math.ceil(limit)]] = True
    assert (mine(conf_loss, labels) == expected).all()
    assert expected.sum(axis=1).tolist() == [8, 250, 3]


def test_a_small_picture_without_objects_keeps_its_hardest_negative():
    assert mine_without_objects().tolist() == [[False, True, False, False]]


@pytest.mark.parametrize("assign", [assign_atss, assign_task_aligned])
def test_assigners_take_both_integer_types(assign):
    labels, boxes, scores, positive = assign("int32")
    assert labels.numpy().tolist() == [[2, 4, 4, 4]]
    assert boxes[0, 0].numpy().tolist() == [1, 1, 9, 9]
    assert positive[0, 0].numpy().tolist() == [1, 0, 0, 0]
    for small, large in zip((labels, boxes, scores, positive), assign("int64")):
        assert np.array_equal(small.numpy(), large.numpy())


@pytest.mark.parametrize("side", [39, 63, 150, 156, 160, 231, 461])
def test_yolo_boxes_end_with_the_picture(side):
    assert yolo_boxes(side) == pytest.approx([0, 0, side - 1, side - 1], abs=1e-3)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_quality_focal_loss(beta):
    logits = np.array(LOGITS)
    probability = 1 / (1 + np.exp(-logits))
    wanted = np.zeros_like(logits)
    wanted[0, 2], wanted[2, 0], wanted[3, 1] = 0.8, 0.4, 1.0
    entropy = -wanted * np.log(probability) - (1 - wanted) * np.log(1 - probability)
    expected = (entropy * np.abs(wanted - probability) ** beta).sum(axis=1)
    assert np.allclose(quality_loss(beta=beta).numpy(), expected, atol=1e-6)
    assert np.allclose(quality_loss(probability, beta=beta, use_sigmoid=False).numpy(), expected, atol=1e-6)


def test_quality_focal_loss_of_background_alone():
    probability = 1 / (1 + np.exp(-np.array(LOGITS)))
    expected = (-np.log(1 - probability) * probability**2).sum(axis=1)
    assert np.allclose(quality_loss(labels=[3, 3, 3, 3]).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_gfl_distances(training, tmp_path):
    logits = np.random.RandomState(1).randn(6, 4 * 17).astype("float32")
    integral = TwoLevels().integral
    integral.training = training
    found = integral(tensor(logits)).numpy()
    assert found.shape == ((6, 4) if training else (24,))
    assert np.allclose(found.ravel(), expected_of(logits), rtol=1e-5)
    export_distances(tmp_path)


@pytest.mark.parametrize("run", [lambda f, *x: f(*map(tensor, x)), in_static_graph], ids=["eager", "static"])
def test_tood_reads_every_side_where_its_offset_points(run):
    sides, offsets, centres = boxes_and_offsets()
    found = run(align_boxes, sides, offsets, centres).numpy()
    assert found.shape == sides.shape
    height, width = sides.shape[2:]
    for n, side, y, x in np.ndindex(sides.shape):
        # a point in cells, as a share of the map, which goes from the first cell's value to the last one's
        point = (offsets[n, 2 * side : 2 * side + 2, y, x] + centres[0, y, x]) / (width, height)
        column, row = np.clip(point, 0, 1) * (width - 1, height - 1)
        left, top = min(int(column), width - 2), min(int(row), height - 2)
        upper, lower = (
            sides[n, side, r, left] * (left + 1 - column) + sides[n, side, r, left + 1] * (column - left)
            for r in (top, top + 1)
        )
        assert np.isclose(found[n, side, y, x], upper * (top + 1 - row) + lower * (row - top), atol=1e-5)


@pytest.mark.parametrize(("levels", "limit"), [(1, 1000), (2, 1000), (2, 7)])
def test_rpn_keeps_the_best_proposals_of_each_picture(levels, limit):
    rois, counts = propose(levels, limit)
    scores, deltas, anchors, inputs = rpn_inputs(levels)
    assert counts.shape == [2] and counts.dtype == paddle.int32
    for i in range(2):
        found = [
            paddle.vision.ops.generate_proposals(
                scores[k][i : i + 1],
                deltas[k][i : i + 1],
                inputs["im_shape"][i : i + 1],
                anchors[k],
                paddle.ones_like(anchors[k]),
                pre_nms_top_n=12000,
                post_nms_top_n=2000,
                return_rois_num=True,
            )
            for k in range(levels)
        ]
        boxes = np.concatenate([level[0].numpy() for level in found])
        order = np.argsort(-np.concatenate([level[1].numpy().ravel() for level in found]), kind="stable")
        expected = boxes[order[:limit]] if len(boxes) > limit else boxes
        assert int(counts[i]) == len(expected)
        assert np.array_equal(rois[i].numpy(), expected)


def test_rpn_for_onnx_takes_one_picture():
    rois, counts = propose(levels=2, limit=7, export_onnx=True)
    several, _ = propose(levels=2, limit=7)
    assert counts.numpy().tolist() == [7]
    assert np.array_equal(rois[0].numpy(), several[0].numpy())


@pytest.mark.parametrize("counts", [(2, 0, 1), (0, 3, 0), (3, 0, 0), (0, 0, 0), (1, 1, 1)])
def test_rcnn_predictions_are_rescaled_and_clipped(counts):
    boxes = iter([[0, 0.9, 1, 1, 9, 9], [1, 0.8, 2, 2, 8, 80], [2, 0.7, 3, 3, 3, 9]])
    before, after = [], []
    for count, (height, width), (scale_y, scale_x) in zip(
        counts, [(10, 20), (30, 20), (40, 20)], [(2, 1), (1, 1), (0.5, 2)]
    ):
        for label, score, x1, y1, x2, y2 in [next(boxes) for _ in range(count)] or [[0, 0, 0, 0, 1, 1]]:
            before.append([label, score, x1, y1, x2, y2])
            x1, x2 = (min(x / scale_x, width) for x in (x1, x2))
            y1, y2 = (min(y / scale_y, height) for y in (y1, y2))
            after.append([label if x2 > x1 and y2 > y1 else -1, score, x1, y1, x2, y2])

    bboxes, result, bbox_num = rescale(counts)
    assert bbox_num.numpy().tolist() == [max(count, 1) for count in counts]
    assert np.allclose(bboxes.numpy(), before)
    assert np.allclose(result.numpy(), after)


def test_rcnn_predictions_for_onnx():
    _, result, bbox_num = rescale((2,), export_onnx=True)
    assert bbox_num.numpy().tolist() == [2]
    assert np.allclose(result.numpy(), [[0, 0.9, 1, 0.5, 9, 4.5], [1, 0.8, 2, 1, 8, 10]])


def test_rcnn_targets_count_the_sampled_boxes():
    rois, labels, _, _, counts = sample_proposals()
    # IoU 0.9, none, and the object itself, which joins the proposals; class 3 is the background.
    assert counts.numpy().tolist() == [3]
    assert sorted(zip(labels[0].numpy().tolist(), rois[0].numpy()[:, 0].tolist())) == [
        (1, 0),
        (1, 0),
        (3, 30),
    ]


def test_rcnn_mask_targets_count_the_foreground():
    _, counts, classes, masks, _, _ = sample_masks()
    assert counts.numpy().tolist() == [1]
    assert classes.numpy().ravel().tolist() == [1]
    assert masks.numpy().tolist() == [[[1, 1, 0, 0]] * 4]


def test_rcnn_targets_see_paddle_otherwise_unchanged():
    seen = ppdet_module("modeling.proposal_generator.target").paddle
    assert seen.nonzero is paddle.nonzero
    assert seen.concat([tensor(1), tensor([2, 3])]).numpy().tolist() == [1, 2, 3]


def test_prior_boxes():
    boxes = in_static_graph(static_prior_box, FEATURE, IMAGE).numpy()
    # Around (8, 8): the minimum, with ratios 2 and 1/2, and sqrt(minimum x maximum), in parts of 32 pixels.
    sizes = [(8, 8), (8 * 2**0.5, 8 / 2**0.5), (8 / 2**0.5, 8 * 2**0.5), ((8 * 16) ** 0.5,) * 2]
    expected = [[(8 - w / 2) / 32, (8 - h / 2) / 32, (8 + w / 2) / 32, (8 + h / 2) / 32] for w, h in sizes]
    assert boxes.shape == (2, 2, 4, 4)
    assert np.allclose(boxes[0, 0], expected, atol=1e-6)
    assert np.allclose(boxes[1, 1], np.array(expected) + 0.5, atol=1e-6)


@pytest.mark.parametrize("run", [lambda f, *x: f(*map(tensor, x)), in_static_graph], ids=["eager", "static"])
def test_multiclass_nms_suppresses_within_a_class(run):
    boxes, counts, index = run(static_multiclass_nms, BOXES, SCORES)
    assert np.allclose(boxes.numpy(), [[0, 0.9, 0, 0, 10, 10], [1, 0.6, 20, 20, 30, 30]])  # IoU 0.8 > 0.5
    assert counts.numpy().tolist() == [2]
    assert index.numpy().ravel().tolist() == [0, 2]


@pytest.mark.parametrize("run", [lambda f, *x: f(*map(tensor, x)), in_static_graph], ids=["eager", "static"])
def test_matrix_nms_decays_the_score(run):
    boxes, counts, _ = run(static_matrix_nms, BOXES, SCORES)
    expected = [
        [0, 0.9, 0, 0, 10, 10],
        [1, 0.6, 20, 20, 30, 30],
        [0, 0.8 * (1 - 0.8), 0, 0, 10, 8],
    ]  # IoU 0.8
    assert np.allclose(boxes.numpy(), expected)
    assert counts.numpy().tolist() == [3]


def test_a_label_is_drawn_above_its_box():
    picture = draw()
    assert picture[40, 5].any() and picture[50, 20].any()  # left and lower edge
    assert picture[22:30, 8:30].any(axis=-1).mean() > 0.9  # the ground of the label
    assert not picture[:15].any()


# The table.


def test_the_table_holds_every_known_repair():
    assert list(compat.TABLE.repairs) == NAMES == list(dict.fromkeys(NAMES))
    for repair in compat.TABLE.repairs.values():
        assert repair.symptom and repair.why and repair.story
        assert repair.seam.startswith("ppdet.")  # the toolkit is repaired, never Paddle


def test_where_something_is_not_in_force_a_reason_is_given():
    for name in NAMES:
        assert name in names_in_force() or compat.reason_against(name)


def test_apply_twice_is_apply_once():
    owner = ppdet_module("modeling.post_process").BBoxPostProcess
    first = compat.apply()
    function = owner.get_pred
    assert compat.apply() == first == compat.in_force()
    assert owner.get_pred is function


def test_skip_takes_a_repair_back():
    owner = ppdet_module("modeling.post_process").BBoxPostProcess
    repaired = owner.get_pred
    assert "rcnn_predictions" not in [repair.name for repair in compat.apply(skip="rcnn_predictions")]
    assert owner.get_pred.__module__ == "ppdet.modeling.post_process"
    compat.apply()
    assert owner.get_pred is repaired


def test_skip_of_an_unknown_repair():
    with pytest.raises(UserError, match=r"no repair of ppdet is called \['ssd'\]; there are \['ssd_hard"):
        compat.apply(skip=("ssd",))


def toolkit(folder, monkeypatch, source, version="1.0"):
    """An importable module `pretended` with that source, and a table with a repair of its `answer`."""
    file = folder / "pretended.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location("pretended", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if version:
        module.__version__ = version
    monkeypatch.setitem(sys.modules, "pretended", module)
    table = machinery.RepairTable("pretended", release="1.0")
    return module, table


RELEASE = "def answer():\n    return 41\n"


@pytest.mark.parametrize(
    ("source", "version", "paddle_from", "needed", "reason"),
    [
        (RELEASE, "1.0", "2.0", None, ""),
        (
            RELEASE.replace("41", "40 + 2"),
            "1.0",
            "2.0",
            None,
            "pretended:answer is not the source of release 1.0",
        ),
        ("answer = None\n", "1.0", "2.0", None, "pretended:answer is not the source of release 1.0"),
        (RELEASE, "1.1", "2.0", None, "pretended is 1.1, the repairs are for release 1.0"),
        (RELEASE, None, "2.0", None, "pretended is a source checkout"),
        (RELEASE, "1.0", "99.0", None, "does not need it, 99.0 and newer do"),
        (RELEASE, "1.0", "2.0", lambda: False, "the installed libraries do not need it"),
    ],
    ids=[
        "due",
        "other source",
        "no source",
        "other release",
        "develop checkout",
        "older paddle",
        "not needed",
    ],
)
def test_a_repair_is_applied_only_where_it_is_due(source, version, paddle_from, needed, reason, tmp_path, monkeypatch):
    module, table = toolkit(tmp_path, monkeypatch, source, version)
    original = module.answer
    known = {"pretended:answer": "bb90d2b315ed5385"}

    @table.repair(symptom="41", why="the answer", paddle=paddle_from, sources=known, needed=needed)
    def answer(original):
        return lambda: original() + 1

    given = table.reason_against("answer")
    assert reason in given and bool(reason) == bool(given)
    assert [repair.name for repair in table.apply()] == ([] if reason else ["answer"])
    if reason:
        assert module.answer is original
    else:
        assert module.answer() == 42
        assert table.apply(skip=("answer",)) == [] and module.answer() == 41


def test_two_repairs_of_one_name_are_refused():
    table = machinery.RepairTable("ppdet", release="2.6.0")
    enter = table.repair(symptom="", why="", paddle="3.0", sources={"ppdet:x": ""})
    enter(draw)
    with pytest.raises(KeyError, match="two repairs are called 'draw'"):
        enter(draw)


@pytest.mark.parametrize(
    ("installed", "wanted", "expected"),
    [("2.6.2", "2.6", True), ("2.6.2", "3.0", False), ("3.10.0", "3.9", True), ("0.0.0", "3.0", True)],
)
def test_paddle_versions(installed, wanted, expected, monkeypatch):
    monkeypatch.setattr(machinery, "paddle", types.SimpleNamespace(__version__=installed))
    assert machinery.paddle_is_at_least(wanted) is expected


def main(folder):
    from pathlib import Path

    errors = without_repairs(Path(folder))
    compat.apply()
    print(json.dumps({"errors": errors, "export": export_ssd(Path(folder))}))


if __name__ == "__main__":
    main(sys.argv[1])
