"""Preparing a picture inside the file gives what `pictures.steps` gives."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="pip install densebone[onnx]")
pytest.importorskip("onnxruntime", reason="pip install onnxruntime")

import onnx

from densebone.engines.preparation import PICTURE, prepend
from densebone.errors import UserError
from densebone.pictures.steps import prepare
from densebone.runtime.sessions import OnnxRuntime, OpenVINO

NORMALIZE = {"normalize": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "scale": 255}}
RATIO = {"resize": {"size": [80, 133], "keep_ratio": True, "interpolation": "bilinear"}}


def write(file, batch="n"):
    """A network that returns its inputs."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shapes = {"image": [batch, 3, "h", "w"], "scale_factor": [batch, 2], "im_shape": [batch, 2]}
    inputs = [helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()]
    outputs = [helper.make_tensor_value_info(f"{name}_out", kind, shape) for name, shape in shapes.items()]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in shapes]
    graph = helper.make_graph(nodes, "same", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)


@pytest.mark.parametrize("engine", [OnnxRuntime, OpenVINO])
@pytest.mark.parametrize(
    "steps",
    [
        [{"resize": {"size": [96, 128], "keep_ratio": False, "interpolation": "bicubic"}}, NORMALIZE],
        [{"resize": {"size": [96, 128], "keep_ratio": False, "interpolation": "bilinear"}}, NORMALIZE],
        [
            {"resize": {"size": [80, 133], "keep_ratio": True, "interpolation": "bilinear"}},
            NORMALIZE,
            {"pad": {"stride": 32}},
        ],
        [
            {"resize": {"size": [80, 133], "keep_ratio": True, "interpolation": "bilinear"}},
            {"pad": {"size": [160, 160]}},
        ],
        [{"stretch": {"size": [64, 96]}}, {"normalize": {"mean": [3, 2, 1], "std": [1, 2, 3], "scale": 1}}],
    ],
    ids=["bicubic", "bilinear", "ratio and stride", "ratio and size", "stretch"],
)
def test_the_input_is_the_same(steps, engine, tmp_path):
    write(tmp_path / "model.onnx")
    prepend(tmp_path / "model.onnx", tmp_path / "whole.onnx", steps)
    session = engine(tmp_path / "whole.onnx", None)
    assert list(session.inputs) == [PICTURE]
    rng = np.random.default_rng(0)
    for height, width in ((110, 150), (150, 75)):
        smooth = np.kron(rng.integers(0, 256, (11, 15, 3)), np.ones((14, 10, 1)))[:height, :width].astype(np.uint8)
        ready = prepare(smooth, steps)
        image, scale, shape = session({PICTURE: smooth})
        assert image.shape[1:] == ready.image.shape
        unit = 1.0 / (255 * 0.22) if NORMALIZE in steps else 1.0
        difference = np.abs(image[0] - ready.image)[:, :-1, :-1]  # a stretched picture ends in black, or in its edge
        if RATIO not in steps:
            assert difference.max() < (2.1 if "stretch" in steps[0] else 1.1) * unit
        assert difference.mean() < (3 if RATIO in steps else 0.1) * unit
        assert np.allclose(scale[0], ready.scale) and np.allclose(shape[0], ready.shape, rtol=1e-5)


def test_a_network_for_several_pictures(tmp_path):
    write(tmp_path / "model.onnx", 4)
    with pytest.raises(UserError, match="takes 4 pictures at once"):
        prepend(tmp_path / "model.onnx", tmp_path / "whole.onnx", [NORMALIZE])
