"""One operator in the place of several that compute the same."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
helper = onnx.helper


def model(nodes, outputs=("y",)):
    values = [helper.make_tensor_value_info(name, 1, [2, 3]) for name in ("x", *outputs)]
    graph = helper.make_graph(nodes, "tiny", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def sigmoid(alpha=1 / 6, beta=0.5):
    return helper.make_node("HardSigmoid", ["x"], ["s"], alpha=alpha, beta=beta)


def run(made):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.float32([[-5, -3, -1], [0, 1, 6]])})


@pytest.mark.parametrize("order", [["x", "s"], ["s", "x"]])
def test_a_hard_swish_becomes_one_node(order):
    from densebone.engines.fusing import fuse_hard_swish

    made = model([sigmoid(), helper.make_node("Mul", order, ["y"], "product")])
    (before,) = run(made)
    assert fuse_hard_swish(made.graph) == 1
    assert [(node.op_type, node.name) for node in made.graph.node] == [("HardSwish", "product")]
    onnx.checker.check_model(made)
    np.testing.assert_allclose(run(made)[0], before, rtol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ([sigmoid(0.2), helper.make_node("Mul", ["x", "s"], ["y"])], ("y",)),
        ([sigmoid(), helper.make_node("Mul", ["s", "s"], ["y"])], ("y",)),
        ([sigmoid(), helper.make_node("Mul", ["x", "s"], ["y"])], ("y", "s")),
        ([sigmoid(), helper.make_node("Mul", ["x", "s"], ["m"]), helper.make_node("Add", ["m", "s"], ["y"])], ("y",)),
        ([sigmoid(), helper.make_node("Add", ["x", "s"], ["y"])], ("y",)),
    ],
)
def test_what_is_no_hard_swish_stays(nodes, outputs):
    from densebone.engines.fusing import fuse_hard_swish

    made = model(nodes, outputs)
    assert fuse_hard_swish(made.graph) == 0
    assert len(made.graph.node) == len(nodes)
