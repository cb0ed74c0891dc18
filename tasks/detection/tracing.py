"""From a part of a detector to an ONNX file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import paddle

from ...engines.conversion import prepared, to_onnx
from ...engines.formats import FORMATS

#: float (N, 3, H, W), as the TestReader prepares pictures; (N, 2) of y and x, the prepared size over the picture's;
#: (N, 2), height and width as prepared, where the head needs it
INPUTS = ("image", "scale_factor", "im_shape")


def trace(
    layer: paddle.nn.Layer,
    inputs: Mapping[str, Sequence[int | None]],
    target: str | Path,
    size: tuple[int, int] | None = None,
) -> None:
    """Writes a layer as an ONNX file.

    Args:
        layer: in eval mode.
        inputs: name -> shape of each float input, in the order of the layer's arguments; None for a free axis.
        target: the file to write.
        size: (height, width) of the first input in pixels; None for any.
    """
    specs = [paddle.static.InputSpec(list(shape), "float32", name=name) for name, shape in inputs.items()]
    with tempfile.TemporaryDirectory(prefix="densebone-") as folder, paddle.no_grad():
        program = paddle.jit.to_static(prepared(layer, FORMATS["onnx"].form), input_spec=specs, full_graph=True)
        paddle.jit.save(program, str(Path(folder) / "model"))
        to_onnx(folder, target, None, size)
