"""Each repair of paddledet 2.6.0 agrees with an independent computation; without it, the error is back.

tests/helpers/paddledet_probes.py has the calls that trigger the defects.
"""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("ppdet", reason="paddledet is not installed")

import paddle
import paddledet_probes as probes
import ppdet

from densebone.errors import UserError
from densebone.integrations.compat import paddledet as compat

if getattr(ppdet, "__version__", None) != "2.6.0":
    pytest.skip("this is not paddledet 2.6.0: nothing of it is repaired", allow_module_level=True)


@pytest.fixture(autouse=True)
def repaired():
    compat.apply()


def names_in_force():
    return [repair.name for repair in compat.in_force()]


@pytest.fixture(scope="module")
def in_fresh_process(tmp_path_factory):
    """What the probes print as a script: the errors without repairs, and the export with them."""
    folder = tmp_path_factory.mktemp("fresh")
    command = [sys.executable, probes.__file__, str(folder)]
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


@pytest.mark.parametrize("name", probes.NAMES)
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
    assert (probes.mine(conf_loss, labels) == expected).all()
    assert expected.sum(axis=1).tolist() == [8, 250, 3]


def test_a_small_picture_without_objects_keeps_its_hardest_negative():
    assert probes.mine_without_objects().tolist() == [[False, True, False, False]]


@pytest.mark.parametrize("assign", [probes.assign_atss, probes.assign_task_aligned])
def test_assigners_take_both_integer_types(assign):
    labels, boxes, scores, positive = assign("int32")
    assert labels.numpy().tolist() == [[2, 4, 4, 4]]
    assert boxes[0, 0].numpy().tolist() == [1, 1, 9, 9]
    assert positive[0, 0].numpy().tolist() == [1, 0, 0, 0]
    for small, large in zip((labels, boxes, scores, positive), assign("int64")):
        assert np.array_equal(small.numpy(), large.numpy())


@pytest.mark.parametrize("side", [39, 63, 150, 156, 160, 231, 461])
def test_yolo_boxes_end_with_the_picture(side):
    assert probes.yolo_boxes(side) == pytest.approx([0, 0, side - 1, side - 1], abs=1e-3)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_quality_focal_loss(beta):
    logits = np.array(probes.LOGITS)
    probability = 1 / (1 + np.exp(-logits))
    wanted = np.zeros_like(logits)
    wanted[0, 2], wanted[2, 0], wanted[3, 1] = 0.8, 0.4, 1.0
    entropy = -wanted * np.log(probability) - (1 - wanted) * np.log(1 - probability)
    expected = (entropy * np.abs(wanted - probability) ** beta).sum(axis=1)
    assert np.allclose(probes.quality_loss(beta=beta).numpy(), expected, atol=1e-6)
    assert np.allclose(probes.quality_loss(probability, beta=beta, use_sigmoid=False).numpy(), expected, atol=1e-6)


def test_quality_focal_loss_of_background_alone():
    probability = 1 / (1 + np.exp(-np.array(probes.LOGITS)))
    expected = (-np.log(1 - probability) * probability**2).sum(axis=1)
    assert np.allclose(probes.quality_loss(labels=[3, 3, 3, 3]).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_gfl_distances(training, tmp_path):
    logits = np.random.RandomState(1).randn(6, 4 * 17).astype("float32")
    integral = probes.TwoLevels().integral
    integral.training = training
    found = integral(probes.tensor(logits)).numpy()
    assert found.shape == ((6, 4) if training else (24,))
    assert np.allclose(found.ravel(), probes.expected_of(logits), rtol=1e-5)
    probes.export_distances(tmp_path)


@pytest.mark.parametrize(
    "run", [lambda f, *x: f(*map(probes.tensor, x)), probes.in_static_graph], ids=["eager", "static"]
)
def test_tood_reads_every_side_where_its_offset_points(run):
    sides, offsets, centres = probes.boxes_and_offsets()
    found = run(probes.align_boxes, sides, offsets, centres).numpy()
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
    rois, counts = probes.propose(levels, limit)
    scores, deltas, anchors, inputs = probes.rpn_inputs(levels)
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
    rois, counts = probes.propose(levels=2, limit=7, export_onnx=True)
    several, _ = probes.propose(levels=2, limit=7)
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

    bboxes, result, bbox_num = probes.rescale(counts)
    assert bbox_num.numpy().tolist() == [max(count, 1) for count in counts]
    assert np.allclose(bboxes.numpy(), before)
    assert np.allclose(result.numpy(), after)


def test_rcnn_predictions_for_onnx():
    _, result, bbox_num = probes.rescale((2,), export_onnx=True)
    assert bbox_num.numpy().tolist() == [2]
    assert np.allclose(result.numpy(), [[0, 0.9, 1, 0.5, 9, 4.5], [1, 0.8, 2, 1, 8, 10]])


def test_rcnn_targets_count_the_sampled_boxes():
    rois, labels, _, _, counts = probes.sample_proposals()
    # IoU 0.9, none, and the object itself, which joins the proposals; class 3 is the background.
    assert counts.numpy().tolist() == [3]
    assert sorted(zip(labels[0].numpy().tolist(), rois[0].numpy()[:, 0].tolist())) == [
        (1, 0),
        (1, 0),
        (3, 30),
    ]


def test_rcnn_mask_targets_count_the_foreground():
    _, counts, classes, masks, _, _ = probes.sample_masks()
    assert counts.numpy().tolist() == [1]
    assert classes.numpy().ravel().tolist() == [1]
    assert masks.numpy().tolist() == [[[1, 1, 0, 0]] * 4]


def test_rcnn_targets_see_paddle_otherwise_unchanged():
    seen = probes.ppdet_module("modeling.proposal_generator.target").paddle
    assert seen.nonzero is paddle.nonzero
    assert seen.concat([probes.tensor(1), probes.tensor([2, 3])]).numpy().tolist() == [1, 2, 3]


def test_prior_boxes():
    boxes = probes.in_static_graph(probes.static_prior_box, probes.FEATURE, probes.IMAGE).numpy()
    # Around (8, 8): the minimum, with ratios 2 and 1/2, and sqrt(minimum x maximum), in parts of 32 pixels.
    sizes = [(8, 8), (8 * 2**0.5, 8 / 2**0.5), (8 / 2**0.5, 8 * 2**0.5), ((8 * 16) ** 0.5,) * 2]
    expected = [[(8 - w / 2) / 32, (8 - h / 2) / 32, (8 + w / 2) / 32, (8 + h / 2) / 32] for w, h in sizes]
    assert boxes.shape == (2, 2, 4, 4)
    assert np.allclose(boxes[0, 0], expected, atol=1e-6)
    assert np.allclose(boxes[1, 1], np.array(expected) + 0.5, atol=1e-6)


@pytest.mark.parametrize(
    "run", [lambda f, *x: f(*map(probes.tensor, x)), probes.in_static_graph], ids=["eager", "static"]
)
def test_multiclass_nms_suppresses_within_a_class(run):
    boxes, counts, index = run(probes.static_multiclass_nms, probes.BOXES, probes.SCORES)
    assert np.allclose(boxes.numpy(), [[0, 0.9, 0, 0, 10, 10], [1, 0.6, 20, 20, 30, 30]])  # IoU 0.8 > 0.5
    assert counts.numpy().tolist() == [2]
    assert index.numpy().ravel().tolist() == [0, 2]


@pytest.mark.parametrize(
    "run", [lambda f, *x: f(*map(probes.tensor, x)), probes.in_static_graph], ids=["eager", "static"]
)
def test_matrix_nms_decays_the_score(run):
    boxes, counts, _ = run(probes.static_matrix_nms, probes.BOXES, probes.SCORES)
    expected = [
        [0, 0.9, 0, 0, 10, 10],
        [1, 0.6, 20, 20, 30, 30],
        [0, 0.8 * (1 - 0.8), 0, 0, 10, 8],
    ]  # IoU 0.8
    assert np.allclose(boxes.numpy(), expected)
    assert counts.numpy().tolist() == [3]


def test_a_label_is_drawn_above_its_box():
    picture = probes.draw()
    assert picture[40, 5].any() and picture[50, 20].any()  # left and lower edge
    assert picture[22:30, 8:30].any(axis=-1).mean() > 0.9  # the ground of the label
    assert not picture[:15].any()


# The table.


def test_the_table_holds_every_known_repair():
    assert list(compat.TABLE.repairs) == probes.NAMES == list(dict.fromkeys(probes.NAMES))
    for repair in compat.TABLE.repairs.values():
        assert repair.symptom and repair.why and repair.story
        assert repair.seam.startswith("ppdet.")  # the toolkit is repaired, never Paddle


def test_where_something_is_not_in_force_a_reason_is_given():
    for name in probes.NAMES:
        assert name in names_in_force() or compat.reason_against(name)


def test_apply_twice_is_apply_once():
    owner = probes.ppdet_module("modeling.post_process").BBoxPostProcess
    first = compat.apply()
    function = owner.get_pred
    assert compat.apply() == first == compat.in_force()
    assert owner.get_pred is function


def test_skip_takes_a_repair_back():
    owner = probes.ppdet_module("modeling.post_process").BBoxPostProcess
    repaired = owner.get_pred
    assert "rcnn_predictions" not in [repair.name for repair in compat.apply(skip="rcnn_predictions")]
    assert owner.get_pred.__module__ == "ppdet.modeling.post_process"
    compat.apply()
    assert owner.get_pred is repaired


def test_skip_of_an_unknown_repair():
    with pytest.raises(UserError, match=r"no repair of ppdet is called \['ssd'\]; there are \['ssd_hard"):
        compat.apply(skip=("ssd",))
