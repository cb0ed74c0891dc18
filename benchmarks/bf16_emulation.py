"""bf16 on a CPU without bf16 instructions: float32 arithmetic that rounds where bf16 arithmetic rounds.

A CPU with avx512_bf16 or amx_bf16 multiplies numbers with 8 bits of mantissa and sums the products in float32. A
float32 graph whose convolutions and matrix products read only rounded numbers computes the same, up to the order of the
sums.
"""

import numpy as np

MULTIPLY = ("Conv", "Gemm", "MatMul")


def to_bf16(values):
    """Values rounded to the nearest number with 8 bits of mantissa, ties to even, as a float32 array."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) & np.uint32(0xFFFF0000)).astype(np.uint32).view(np.float32)


def round_graph(source, target):
    """Writes an ONNX file whose convolutions and matrix products read rounded weights and rounded feature maps.

    Biases and all other operators stay in float32.

    Args:
        source (str | Path): a float32 ONNX file.
        target (str | Path): the ONNX file to write.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(source))
    weights, rounded, nodes = {each.name: each for each in model.graph.initializer}, set(), []
    for node in model.graph.node:
        for place in (0, 1) if node.op_type in MULTIPLY else ():
            name = node.input[place]
            if name not in rounded:
                rounded.add(name)
                if name in weights:
                    values = to_bf16(numpy_helper.to_array(weights[name]))
                    weights[name].CopyFrom(numpy_helper.from_array(values, name))
                else:
                    nodes.append(helper.make_node("Cast", [name], [f"{name}_bf16"], to=TensorProto.BFLOAT16))
                    nodes.append(helper.make_node("Cast", [f"{name}_bf16"], [f"{name}_rounded"], to=TensorProto.FLOAT))
            if name not in weights:
                node.input[place] = f"{name}_rounded"
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))
