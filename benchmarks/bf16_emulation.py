"""bf16 on a CPU without instructions for it: float32 arithmetic that rounds where bf16's does.

A CPU with avx512_bf16 or amx_bf16 multiplies numbers of 8 bits of mantissa and sums in float32. So a graph whose
convolutions and matrix products read rounded numbers alone computes the same, up to the order of the sums.
"""

import numpy as np

MULTIPLY = ("Conv", "Gemm", "MatMul")


def to_bf16(values):
    """float32 rounded to the nearest number of 8 bits of mantissa, ties to even; an array of float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) & np.uint32(0xFFFF0000)).astype(np.uint32).view(np.float32)


def round_graph(source, target):
    """Writes an ONNX file in which convolutions and matrix products read rounded numbers, weights and maps alike.

    Biases and all other operators stay in float32.

    Args:
        source, target (str | Path): ONNX files, float32.
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
