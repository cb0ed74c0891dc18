"""A whole detector in one file finds what PaddleDetection's own finds: every head, every family with -m acceptance."""

import copy

import numpy as np
import pytest

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
pytest.importorskip("paddle2onnx", reason="pip install densebone[onnx]")

import paddle
from spread import batch_of, build

from densebone.engines.conversion import to_openvino
from densebone.errors import UserError
from densebone.runtime.sessions import OnnxRuntime, OpenVINO
from densebone.tasks.detection import whole
from densebone.tasks.detection.exporting import nearest

SIDES = {"SSD": 300, "PicoDet": 160, "FCOS": 128, "TOOD": 128, "GFL": 128, "RetinaNet": 128}
FIXED = ("SSD", "YOLOv3", "PP-YOLOE", "PicoDet", "TOOD")
HEADS = ("SSD", "YOLOv3", "PP-YOLOE", "PicoDet", "FCOS", "RetinaNet", "GFL", "TOOD", "CenterNet")
QUICK = {
    ("HarDNet39DS", "PP-YOLOE"),
    ("HarDNet39DS", "SSD"),
    ("PeleeNet", "RetinaNet"),
    ("CondenseNetV2A", "CenterNet"),
}
PAIRS = [
    pytest.param(backbone, head, marks=() if (backbone, head) in QUICK else pytest.mark.acceptance)
    for backbone in ("HarDNet39DS", "PeleeNet", "CondenseNetV2A")
    for head in HEADS
]


def rows_of(model, images, scales):
    """PaddleDetection's boxes (M, 6) of each picture, taken one by one."""
    found = []
    with paddle.no_grad():
        for image, scale in zip(images, scales):
            boxes = model(batch_of(image[None], scale[None]))["bbox"].numpy()
            found.append(boxes[(boxes[:, 0] >= 0) & (boxes[:, 1] > 0)])
    return found


@pytest.mark.parametrize(("backbone", "head"), PAIRS)
def test_the_boxes_are_paddledetections(backbone, head, tmp_path):
    side = SIDES.get(head, 96)
    sizes = [(side, side)] if head in FIXED else [(side, side), (side, side + 64)]
    model, _ = build(backbone, head, tmp_path, (side, side))
    whole.write_onnx(copy.deepcopy(model), tmp_path / "model.onnx", sizes[0] if len(sizes) == 1 else None)
    to_openvino(tmp_path / "model.onnx", tmp_path / "model.xml")
    rng = np.random.default_rng(0)
    for size in sizes:
        images = rng.normal(size=(4, 3, *size)).astype(np.float32)
        scales = np.float32([[0.5, 0.4], [1, 1], [0.7, 0.9], [2, 1.5]])
        expected = rows_of(model, images, scales)
        assert sum(map(len, expected)) > 20
        for session in (OnnxRuntime(tmp_path / "model.onnx", None), OpenVINO(tmp_path / "model.xml", None)):
            for first, last in ((0, 1), (0, 4)):
                feed = {name: value.numpy() for name, value in batch_of(images[first:last], scales[first:last]).items()}
                found = session({name: feed[name] for name in session.inputs})
                boxes, scores, labels, count = found
                for place, rows in enumerate(expected[first:last]):
                    number = int(count[place])
                    mine = np.column_stack([labels[place], scores[place], boxes[place]])[:number]
                    assert abs(number - len(rows)) <= 2
                    check(rows, mine, number >= boxes.shape[1])
                    check(mine, rows, number >= boxes.shape[1])


def check(expected, found, full):
    """All boxes have a like, but for one in fifty: rounding decides whether an IoU is above the limit."""
    apart = [one for row in expected if (one := alone(row, found, expected[:, 1].min() if full else -1)) is not None]
    assert sum(one > 1e-3 for one in apart) <= max(1, len(expected) // 50), sorted(apart)[-5:]


def alone(row, found, lowest):
    """The difference of a box from the nearest one; None for one of the lowest scores."""
    if row[1] < lowest + 1e-3:
        return None
    try:
        return nearest(row[None], found)
    except RuntimeError:
        return 1.0


def test_detectors_that_cannot_be_one_file(tmp_path):
    model, _ = build("HarDNet39DS", "SSD", tmp_path, (300, 300))
    with pytest.raises(UserError, match="SSD's boxes depend on the input's size"):
        whole.write_onnx(copy.deepcopy(model), tmp_path / "model.onnx", None)
    model.post_process.nms.nms_eta = 0.9
    with pytest.raises(UserError, match="a whole file needs MultiClassNMS"):
        whole.write_onnx(model, tmp_path / "model.onnx", (300, 300))


def test_boxes_without_a_like_are_told():
    rows = np.float32([[1, 0.9, 10, 10, 20, 20], [0, 0.5, 0, 0, 5, 5]])
    assert nearest(rows, rows) == 0
    assert nearest(rows, rows * np.float32([1, 1, 1.0001, 1, 1, 1])) == pytest.approx(1e-4, rel=0.1)
    with pytest.raises(RuntimeError, match="differ from the trained one's by"):
        nearest(rows, rows[:1])
    with pytest.raises(RuntimeError, match="finds no box where the trained one finds 2"):
        nearest(rows, rows[:0])
    assert nearest(rows, rows[:1], full=True) == 0  # the one of the lowest score is a matter of rounding
