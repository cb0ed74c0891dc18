"""A padded graph computes what the original computes, whatever reads its maps."""

import numpy as np
import pytest
import tiny

pytest.importorskip("onnx", reason="needs densebone[onnx]")
pytest.importorskip("onnxruntime", reason="needs densebone[onnx]")

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from densebone.engines import opening, session
from densebone.engines.channel_padding import pad_channels


def build(nodes, outputs, shapes):
    """A model of `nodes`, from (N, 3, H, W) to the maps `outputs`. Constants hold random numbers: {name: shape}."""
    random = np.random.default_rng(0)
    constants = [numpy_helper.from_array(random.standard_normal(s).astype("float32"), n) for n, s in shapes.items()]
    for name, values in (("zero", np.float32(0)), ("two", np.float32(2))):
        constants.append(numpy_helper.from_array(np.array(values), name))
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "graph", [source], results, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def conv(source, target, weight, bias=None, **options):
    return helper.make_node("Conv", [source, weight, *([bias] if bias else [])], [target], **options)


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def check(model, padded, block=8):
    x = np.random.default_rng(1).standard_normal((2, 3, 9, 12)).astype("float32")
    expected = run(model, x)
    assert pad_channels(model, block) == padded
    found = run(model, x)
    for want, have in zip(expected, found, strict=True):
        assert want.shape == have.shape
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-4)
    return model


def node(kind, sources, target, **options):
    return helper.make_node(kind, sources, [target], **options)


DENSE = [
    conv("x", "a", "w_a", "b_a", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    node("Clip", ["a", "zero", "two"], "a6"),
    conv("a6", "b", "w_b", kernel_shape=[1, 1]),
    node("Relu", ["b"], "b0"),
    node("Concat", ["a6", "b0", "a6"], "ab", axis=1),
    conv("ab", "c", "w_c", "b_c", kernel_shape=[1, 1]),
    conv("c", "d", "w_d", "b_d", kernel_shape=[3, 3], strides=[2, 2], group=10),
    node("MaxPool", ["d"], "e", kernel_shape=[2, 2]),
]
SHAPES = {
    "w_a": (5, 3, 3, 3), "b_a": (5,), "w_b": (16, 5, 1, 1), "w_c": (10, 26, 1, 1), "b_c": (10,), "w_d": (10, 1, 3, 3),
    "b_d": (10,),
}  # fmt: skip


def test_concatenations_and_depthwise_convolutions():
    model = check(build(DENSE, ["e"], SHAPES), padded=2)
    kinds = [each.op_type for each in model.graph.node]
    assert kinds.count("Gather") == 1  # only at the end
    weights = {each.name: list(each.dims) for each in model.graph.initializer}
    assert {"a_constant1": [8, 3, 3, 3], "c_constant1": [16, 32, 1, 1], "d_constant1": [16, 1, 3, 3]}.items() <= (
        weights.items()
    )
    assert "w_c" not in weights  # nothing is kept twice


@pytest.mark.parametrize("block", [4, 16])
def test_other_registers(block):
    check(build(DENSE, ["e"], SHAPES), padded=2, block=block)


def test_maps_that_are_outputs_and_are_read_too():
    check(build(DENSE, ["a6", "ab", "d", "e"], SHAPES), padded=2)


@pytest.mark.parametrize(
    "reader",
    [
        [node("Add", ["a", "a6"], "z")],
        [node("ReduceMean", ["c"], "z", axes=[1])],
        [node("Transpose", ["c"], "z", perm=[0, 2, 3, 1])],
        [node("Concat", ["c", "c"], "z", axis=2)],
        [node("Concat", ["x", "c"], "z", axis=1)],
        [conv("c", "z", "w_two", kernel_shape=[1, 1], group=2)],
        [node("GlobalAveragePool", ["c"], "g"), node("Flatten", ["g"], "f"), node("MatMul", ["f", "w_last"], "z")],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_what_reads_channels_gets_those_that_there_were(reader):
    shapes = {**SHAPES, "w_two": (6, 5, 1, 1), "w_last": (10, 4)}
    check(build([*DENSE, *reader], ["z", "e"], shapes), padded=2)


def test_even_channels_stay():
    even = build([conv("x", "y", "w", kernel_shape=[1, 1])], ["y"], {"w": (16, 3, 1, 1)})
    before = even.SerializeToString()
    assert pad_channels(even) == 0
    assert even.SerializeToString() == before


def test_a_graph_with_branches_stays():
    branch = helper.make_graph(
        [node("Identity", ["a6"], "y")], "branch", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    )
    choice = numpy_helper.from_array(np.array(True), "choice")
    model = build(
        [*DENSE[:2], helper.make_node("If", ["choice"], ["z"], then_branch=branch, else_branch=branch)], ["z"], SHAPES
    )
    model.graph.initializer.append(choice)
    before = model.SerializeToString()
    assert pad_channels(model) == 0
    assert model.SerializeToString() == before


@pytest.mark.skipif("onnxruntime" not in opening.available(), reason="needs densebone[onnx] and Paddle 3")
@pytest.mark.parametrize(("flags", "padded"), [(("avx2",), True), (("avx2", "avx512f"), False), ((), False)])
def test_the_engine_pads_where_it_was_measured_to_help(flags, padded, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "cpu_flags", lambda: flags)
    net = tiny.build(out_indices=(1, 3))
    seen = []
    monkeypatch.setattr(session, "pad_channels", lambda model: seen.append(pad_channels(model)) or seen[-1])
    with opening.open_network(net, "onnxruntime", cache=tmp_path) as engine:
        maps = engine.run(np.zeros((1, 3, 64, 64), "float32"))  # compared with Paddle's when it was opened
    assert [each.shape[1] for each in maps] == net.channels
    assert bool(seen) == padded and all(seen)
