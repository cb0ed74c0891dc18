"""Exported models whose graphs are written by hand, so that what they find is known."""

import numpy as np
import onnx
from exported import write_model

PLAIN = [{"normalize": {"mean": [0, 0, 0], "std": [1, 1, 1], "scale": 255}}]


def square_detector(folder, classes=("red", "blue")):
    """Finds the red object and the blue one of a picture: the box around its pixels, with score 0.9, or 0 for none."""
    node, kind = onnx.helper.make_node, onnx.TensorProto
    nodes = [node("Split", ["image"], ["r", "g", "b"], axis=1)]
    for colour, other in (("r", "b"), ("b", "r")):
        names = {key: f"{colour}_{key}" for key in ("more", "is", "mask", "score", "cut")}
        nodes += [
            node("Sub", [colour, other], [names["more"]]),
            node("Greater", [names["more"], "least"], [names["is"]]),
            node("Cast", [names["is"]], [names["mask"]], to=kind.FLOAT),
            node("ReduceMax", [names["mask"]], [names["cut"]], axes=[1, 2, 3], keepdims=0),
            node("Mul", [names["cut"], "nine"], [names["score"]]),
        ]
        for side, over in (("x", [1, 2]), ("y", [1, 3])):
            line, one, place, low, high = (f"{colour}_{side}_{key}" for key in ("line", "one", "place", "low", "high"))
            nodes += [
                node("ReduceMax", [names["mask"]], [f"{line}_4"], axes=over, keepdims=1),
                node("Reshape", [f"{line}_4", "flat"], [line]),
                node("Mul", [line, "zero"], [f"{one}_0"]),
                node("Add", [f"{one}_0", "unit"], [one]),
                node("CumSum", [one, "axis1"], [place]),
                node("Mul", [place, line], [f"{high}_all"]),
                node("ReduceMax", [f"{high}_all"], [high], axes=[1], keepdims=1),
                node("Sub", ["unit", line], [f"{low}_off"]),
                node("Mul", [f"{low}_off", "far"], [f"{low}_far"]),
                node("Add", [place, f"{low}_far"], [f"{low}_all"]),
                node("ReduceMin", [f"{low}_all"], [f"{low}_1"], axes=[1], keepdims=1),
                node("Sub", [f"{low}_1", "unit"], [low]),
            ]
        sides = [f"{colour}_{key}" for key in ("x_low", "y_low", "x_high", "y_high")]
        nodes.append(node("Concat", sides, [f"{colour}_box"], axis=1))
    nodes += [
        node("Concat", ["r_box", "b_box"], ["eight"], axis=1),
        node("Reshape", ["eight", "boxes_shape"], ["boxes"]),
        node("Unsqueeze", ["r_score", "axis1"], ["r_one"]),
        node("Unsqueeze", ["b_score", "axis1"], ["b_one"]),
        node("Concat", ["r_one", "b_one"], ["scores"], axis=1),
        node("Identity", ["kinds"], ["labels"]),
    ]
    constants = [
        ("least", np.float32(0.35)), ("nine", np.float32(0.9)), ("zero", np.float32(0)), ("unit", np.float32(1)),
        ("far", np.float32(1e6)), ("flat", np.int64([1, -1])), ("axis1", np.int64([1])),
        ("boxes_shape", np.int64([1, 2, 4])), ("kinds", np.int64([[0, 1]])),
    ]  # fmt: skip
    outputs = {"boxes": (kind.FLOAT, [1, 2, 4]), "scores": (kind.FLOAT, [1, 2]), "labels": (kind.INT64, [1, 2])}
    card = {"task": "detection", "classes": list(classes), "preprocessing": {"steps": PLAIN}}
    return write_model(folder, nodes, {"image": [1, 3, "h", "w"]}, outputs, card, constants)


def brightest_channel(folder):
    """A segmentation model: the class of a pixel is its brightest channel."""
    kind = onnx.TensorProto
    nodes = [
        onnx.helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0),
        onnx.helper.make_node("Cast", ["best"], ["y"], to=kind.INT32),
    ]
    card = {"task": "segmentation", "classes": ["r", "g", "b"], "preprocessing": {"steps": PLAIN}}
    return write_model(folder, nodes, {"x": ["n", 3, "h", "w"]}, {"y": (kind.INT32, ["n", "h", "w"])}, card)
