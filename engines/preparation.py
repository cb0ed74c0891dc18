"""The steps of a model card as ONNX operators before a network: a picture of any size in, the outputs out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from .graph import Graph

#: the only input: uint8 (H, W, 3) in RGB, any height and width
PICTURE = "picture"
_MODES = {
    "bilinear": {"mode": "linear"},
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.75},
    "nearest": {"mode": "nearest", "nearest_mode": "floor"},
}


def prepend(source: str | Path, target: str | Path, steps: Sequence[Mapping[str, Any]]) -> None:
    """Writes an ONNX file that takes one picture as it is.

    Resizing is that of OpenCV in floating point, rounded to whole values as 8-bit pictures have them. Where pictures
    keep their proportions, places differ by less than half a pixel: an ONNX file cannot round sizes as OpenCV does.

    Args:
        source: an ONNX file whose inputs are among image, scale_factor and im_shape, see `pictures.steps.Prepared`.
        target: the file to write.
        steps: as `pictures.steps` has them.

    Raises:
        UserError: a network for several pictures at once.
    """
    import onnx
    from onnx import TensorProto, helper

    network = onnx.load(str(source))
    batch = network.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    if batch > 1:
        raise UserError(f"{source} takes {batch} pictures at once; with preprocessing it must take any number, or one")
    graph = Graph("prepare")
    pixels = graph.add("Cast", PICTURE, to=TensorProto.FLOAT)
    image = graph.add("Unsqueeze", graph.add("Transpose", pixels, perm=[2, 0, 1]), graph.whole([0]))
    whole = graph.add("Slice", graph.add("Shape", PICTURE), graph.whole([0]), graph.whole([2]))
    sides = graph.add("Cast", whole, to=TensorProto.FLOAT)
    shape, scale = sides, graph.constant([1, 1], np.float32)
    for step in steps:
        ((name, given),) = step.items()
        if name in ("resize", "stretch"):
            image, shape, scale = _resize(graph, image, sides, given, name == "stretch")
        elif name == "normalize":
            image = _normalize(graph, image, given)
        else:
            image = _pad(graph, image, given)
    values = {"image": image, "scale_factor": scale, "im_shape": shape}
    for name in ("scale_factor", "im_shape"):
        values[name] = graph.add("Unsqueeze", values[name], graph.whole([0]))
    outputs = graph.insert(network, [values[value.name] for value in network.graph.input])
    for name, value in zip(outputs, network.graph.output):
        graph.name(name, value.name)
    picture = helper.make_tensor_value_info(PICTURE, TensorProto.UINT8, ["height", "width", 3])
    made = helper.make_graph(graph.nodes, "picture to boxes", [picture], network.graph.output, graph.constants)
    model = helper.make_model(made, opset_imports=network.opset_import, producer_name="densebone")
    model.ir_version = network.ir_version
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def _resize(graph, image, sides, given, corners):
    """(image, its sides, scale (2,) of y and x)."""
    if given.get("keep_ratio"):
        least, most = (graph.constant([pick(given["size"])], np.float32) for pick in (min, max))
        height, width = (graph.add("Slice", sides, graph.whole([place]), graph.whole([place + 1])) for place in (0, 1))
        shorter, longer = (graph.add(name, height, width) for name in ("Min", "Max"))
        factor = graph.add("Min", graph.add("Div", least, shorter), graph.add("Div", most, longer))
        shape, scale = graph.add("Mul", sides, factor), graph.add("Concat", factor, factor, axis=0)
    else:
        shape = graph.constant(given["size"], np.float32)
        scale = graph.add("Div", shape, sides)
    new = graph.add("Cast", graph.add("Round", shape), to=7)
    sizes = graph.add("Concat", graph.whole([1, 3]), new, axis=0)
    where = "asymmetric" if corners or given.get("interpolation") == "nearest" else "half_pixel"
    mode = _MODES["bilinear" if corners else given.get("interpolation", "bilinear")]
    image = graph.add("Resize", image, "", "", sizes, coordinate_transformation_mode=where, **mode)
    low, high = (graph.constant(value, np.float32) for value in (0, 255))
    return graph.add("Clip", graph.add("Round", image), low, high), shape, scale


def _normalize(graph, image, given):
    mean, std = (graph.constant(np.reshape(given[key], (1, 3, 1, 1)), np.float32) for key in ("mean", "std"))
    if given["scale"] != 1:
        image = graph.add("Mul", image, graph.constant(1 / given["scale"], np.float32))
    return graph.add("Div", graph.add("Sub", image, mean), std)


def _pad(graph, image, given):
    """Zeros below and right, up to a size or a multiple of a stride."""
    sides = graph.add("Slice", graph.add("Shape", image), graph.whole([2]), graph.whole([4]))
    if "size" in given:
        missing = graph.add("Sub", graph.whole(given["size"]), sides)
    else:
        stride = graph.whole([given["stride"]])
        missing = graph.add("Mod", graph.add("Sub", stride, graph.add("Mod", sides, stride)), stride)
    return graph.add("Pad", image, graph.add("Concat", graph.whole([0] * 6), missing, axis=0))
