"""The counter on ONNX graphs: a graph by hand, and our own networks, whose counts `densebone profile` knows."""

import numpy as np
import paddle
import pytest

import densebone as db
from densebone.comparison import building
from densebone.comparison.counting import count
from densebone.comparison.subjects import parse
from densebone.engines.agreement import check_outputs
from densebone.engines.conversion import prepared
from densebone.errors import UserError

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install densebone[onnx]")
pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install densebone[onnx]")
pytest.importorskip("paddle2onnx", reason="needs paddle2onnx: pip install densebone[onnx]")

SMALL = ("hardnet39ds",)  # tests/scripts/test_compare.py has another
LARGE = (
    "condensenetv2_a", "hardnet68ds", "hardnet68", "hardnet85", "peleenet", "condensenetv2_b", "condensenetv2_c",
    "fchardnet70", "centernet_hardnet85",
)  # fmt: skip


def save(path, nodes, weights, outputs, sides=("N", 3, "H", "W"), inputs=("x",)):
    """Writes a graph of nodes (operator, inputs, outputs, attributes) and weights {name: shape}."""
    made = [onnx.helper.make_node(kind, read, written, **attributes) for kind, read, written, attributes in nodes]
    tensors = [onnx.numpy_helper.from_array(np.ones(shape, "float32"), name) for name, shape in weights.items()]
    info = onnx.helper.make_tensor_value_info
    given = [info(name, onnx.TensorProto.FLOAT, list(sides)) for name in inputs]
    found = [info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    graph = onnx.helper.make_graph(made, "by hand", given, found, tensors)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def test_a_graph_by_hand(tmp_path):
    nodes = [
        ("Conv", ["x", "w1", "b1"], ["a"], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ("BatchNormalization", ["a", "scale", "shift", "mean", "variance"], ["b"], {}),
        ("Conv", ["b", "w2"], ["c"], {"kernel_shape": [3, 3], "group": 8}),
        ("ConvTranspose", ["c", "w3"], ["d"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Mul", ["d", "half"], ["e"], {}),
        ("MatMul", ["e", "e"], ["attention"], {}),
        ("GlobalAveragePool", ["attention"], ["f"], {}),
        ("Flatten", ["f"], ["g"], {}),
        ("Gemm", ["g", "w4", "b4"], ["logits"], {"transB": 1}),
        ("Clip", ["logits", "half"], ["y"], {}),
    ]
    weights = {
        "w1": (8, 3, 3, 3), "b1": (8,), "scale": (8,), "shift": (8,), "mean": (8,), "variance": (8,),
        "w2": (8, 1, 3, 3), "w3": (8, 4, 2, 2), "w4": (10, 4), "b4": (10,), "half": (), "unused": (99,),
    }  # fmt: skip
    found = count(save(tmp_path / "a.onnx", nodes, weights, ["y"]), (16, 16))
    # 16x16 -> 8x8 -> 6x6 -> 12x12 -> 1x1
    first, depthwise, up, linear = 8 * 64 * 27, 8 * 36 * 9, 8 * 36 * 4 * 4, 40
    assert found.macs == first + depthwise + up + linear
    assert found.cio == (3 * 256 + 8 * 64) + (8 * 64 + 8 * 36) + (8 * 36 + 4 * 144)
    assert found.parameters == 216 + 8 + 16 + 72 + 128 + 40 + 10
    assert found.outputs == ((1, 10),)


def test_a_shared_weight_counts_once_and_works_twice(tmp_path):
    twice = [("Conv", [read, "w"], [written], {"pads": [1, 1, 1, 1]}) for read, written in (("x", "a"), ("a", "y"))]
    path = save(tmp_path / "a.onnx", twice, {"w": (3, 3, 3, 3)}, ["y"], sides=(2, 3, 8, 8))
    found = count(path, (8, 8), batch=2)
    assert (found.parameters, found.macs, found.cio) == (81, 2 * 64 * 81, 2 * 2 * 3 * 64)


@pytest.mark.parametrize(
    ("changes", "size", "message"),
    [
        ({"sides": (1, 3, 8, 8)}, (16, 16), "is made for 8 x 8 pixels; give --size 8 8"),
        ({"sides": (4, 3, 8, 8)}, (8, 8), "is made for 4 pictures at once; give --batch 4"),
        ({"sides": (1, 1, 8, 8)}, (8, 8), "takes pictures of 1 channels"),
        ({"sides": (1, 3)}, (8, 8), "a network with one input, float32"),
        ({"inputs": ("x", "z")}, (8, 8), "has 2 inputs"),
        ({}, (1, 1), "cannot run on a picture of 1 x 1"),
    ],
)
def test_files_that_do_not_fit(tmp_path, changes, size, message):
    nodes = [("Conv", ["x", "w"], ["y"], {"kernel_shape": [3, 3]})]
    path = save(tmp_path / "a.onnx", nodes, {"w": (4, 3, 3, 3)}, ["y"], **changes)
    with pytest.raises(UserError, match=message) as caught:
        count(path, size)
    assert "\n" not in str(caught.value)


def test_no_layers_and_no_onnx(tmp_path):
    path = save(tmp_path / "a.onnx", [("Relu", ["x"], ["y"], {})], {}, ["y"])
    with pytest.raises(UserError, match="holds no convolution and no linear layer"):
        count(path, (8, 8))
    path.write_bytes(b"no onnx")
    with pytest.raises(UserError, match="cannot be read as ONNX"):
        count(path, (8, 8))


def check_counts(name, folder, side):
    """Writes a network as `densebone compare` does and compares its counts with the profile's."""
    images = building.random_pictures([1, 3, side, side])
    building._write_paddle(parse(name), folder, images, [])
    found = count(folder / building.RAW, (side, side))
    costs = db.profile(name, (side, side))
    assert (found.parameters, found.macs, found.cio) == (costs.parameters, costs.macs, costs.cio)


@pytest.mark.parametrize("name", SMALL)
def test_our_networks_count_what_the_profile_says(name, tmp_path):
    check_counts(name, tmp_path, 64)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", LARGE)
def test_all_other_networks_of_ours_too(name, tmp_path):
    check_counts(name, tmp_path, 128)


def test_the_spelled_out_form_computes_the_same():
    paddle.seed(3)
    network = db.create_model("condensenetv2_a").eval()
    random = np.random.default_rng(0)
    for layer in network.sublayers():
        if hasattr(layer, "index"):  # channels that several places read, and channels that none does
            layer.index.set_value(random.integers(0, len(layer.index), len(layer.index)))
    copy = prepared(network, "eager")
    copy.spell_out()
    images = paddle.to_tensor(building.random_pictures([2, 3, 64, 64]))
    with paddle.no_grad():
        assert check_outputs([network(images).numpy()], [copy(images).numpy()], 1e-4) < 1e-4
