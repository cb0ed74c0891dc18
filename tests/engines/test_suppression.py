"""Non-maximum suppression as ONNX operators against PaddleDetection's, on random boxes."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
pytest.importorskip("onnx", reason="pip install densebone[onnx]")

import onnx
import paddle
from ppdet.modeling import ops

from densebone.engines.suppression import OUTPUTS, Suppression, append
from densebone.runtime.sessions import OnnxRuntime, OpenVINO


def write(folder: Path, settings, classes):
    """A network that returns its inputs as boxes and scores, with the suppression behind it."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shapes = {"boxes_in": ["n", "k", 4], "scores_in": ["n", classes, "k"]}
    inputs = [helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()]
    names = [("boxes_in", "candidates"), ("scores_in", "points")]
    nodes = [helper.make_node("Identity", [a], [b]) for a, b in names]
    outputs = [helper.make_tensor_value_info(b, kind, shapes[a]) for a, b in names]
    graph = helper.make_graph(nodes, "candidates", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "raw.onnx")
    append(folder / "raw.onnx", folder / "model.onnx", settings)
    return folder / "model.onnx"


@pytest.mark.parametrize("engine", [OnnxRuntime, OpenVINO])
@pytest.mark.parametrize(
    "settings",
    [
        Suppression(0.05, 0.5, 100, 20),
        Suppression(0.3, 0.7, 8, 200),
        Suppression(0.05, 0.45, -1, 50, background=True),
        Suppression(0.999, 0.5, 100, 20),
    ],
    ids=["usual", "few candidates", "background", "nothing left"],
)
def test_the_boxes_are_paddledetections(settings, engine, tmp_path):
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 80, (3, 120, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 60, (3, 120, 2))], -1).astype(np.float32)
    scores = rng.permutation(3 * 5 * 120).reshape(3, 5, 120).astype(np.float32) / (3 * 5 * 120) * 0.99
    background = {"background_label": 4} if settings.background else {}
    expected, counts, _ = ops.multiclass_nms(
        paddle.to_tensor(boxes), paddle.to_tensor(scores), settings.score_threshold, settings.nms_top_k,
        settings.keep_top_k, settings.nms_threshold, True, 1.0, return_index=False, return_rois_num=True, **background,
    )  # fmt: skip
    session = engine(write(tmp_path, settings, 5), None)
    assert session.outputs == list(OUTPUTS)
    found, points, labels, count = session({"boxes_in": boxes, "scores_in": scores})
    ends = np.cumsum(counts.numpy())
    for place, end in enumerate(ends):
        rows = expected.numpy()[end - counts.numpy()[place] : end]
        rows = rows[rows[:, 0] >= 0]
        number = int(count[place])
        mine = np.column_stack([labels[place, :number], points[place, :number], found[place, :number]])
        order = np.argsort(-rows[:, 1], kind="stable")
        assert np.allclose(mine, rows[order], atol=1e-5) and (labels[place, number:] == -1).all()
        assert (number == 0) == (settings.score_threshold > 0.99)
