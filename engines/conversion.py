"""From a network to the files that engines read: Paddle's inference program, ONNX and OpenVINO's IR; and its digest."""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path

from ..backbones.base import Network, check_choice, deploy_networks
from ..errors import UserError
from ..system.packages import CONVERTERS, ENGINES, missing_package
from .formats import PARAMETERS, program_file

OPSET = 17
# paddle2onnx ends the process on an operator that it does not know, and installs packages with another optimize_tool.
_CONVERT = """
import sys, paddle2onnx
program, parameters, target, opset = sys.argv[1:]
paddle2onnx.export(program, parameters, target, opset_version=int(opset), optimize_tool="None")
"""


class ConversionError(UserError):
    """A network cannot be brought into a format; says which and why."""


def prepared(network, engine):
    """A copy of a network, in eval mode and in the form that runs fastest on `engine`.

    Args:
        network (Layer): a model of the registry, or any layer; `Network`s in it are deployed. A copy that was deployed
            before is taken as it is.
        engine (str): one of `system.packages.ENGINES`.
    """
    check_choice("engine", engine, ENGINES)
    if hasattr(network, "deploy") and not network.deployed:
        return network.deploy(engine)
    copy = deepcopy(network)
    copy.eval()
    if not hasattr(network, "deploy"):
        deploy_networks(copy, engine)
    return copy


def input_limits(network):
    """(channels, smallest side in pixels) of the pictures that a network takes; (3, 1) where neither it nor the first
    `Network` in it says so."""
    inner = [layer for layer in network.sublayers(include_self=True) if isinstance(layer, Network)]
    layer = inner[0] if inner else network
    return getattr(layer, "in_channels", 3), getattr(network, "min_side", getattr(layer, "min_side", 1))


def to_onnx(folder, target, batch=None, size=None):
    """Converts FOLDER/model.* to an ONNX file, with paddle2onnx in a process of its own.

    ONNX Runtime puts batch norms into the convolutions before them and folds constants; axes that are free have names.

    Args:
        folder (str | Path): holds the Paddle inference model.
        target (str | Path): the file to write.
        batch (int | None), size ((height, width) | None): of the input; None leaves them free.

    Raises:
        ConversionError: one of the two is not installed, or cannot convert this program.
    """
    if reason := missing_package(*CONVERTERS):
        raise ConversionError(reason)
    raw = Path(target).with_name("raw.onnx")
    arguments = [program_file(folder), Path(folder) / PARAMETERS, raw, OPSET]
    command = [sys.executable, "-c", _CONVERT, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if run.returncode or not raw.is_file() or not raw.stat().st_size:
        raise ConversionError(f"paddle2onnx cannot convert this network: {_reason(run.stdout + run.stderr)}")
    _fold(raw, target, batch, size)
    raw.unlink()


def _reason(output):
    """The line of a program's output that says why it failed, without colours and time."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    words = ("not support", "unsupport", "error", "fail")
    telling = [line for line in lines if any(word in line.lower() for word in words)]
    return (telling or lines or ["it says nothing"])[0][:300]


def _fold(source, target, batch, size):
    """What `to_onnx` does after paddle2onnx."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    model = onnx.load(str(target))
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    _name_axes(model.graph, batch, size)
    model.producer_name = "densebone"
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def _name_axes(graph, batch, size):
    """Says "batch", "height" and "width" where paddle2onnx numbers the axes that are free."""
    for value, sides in [(graph.input[0], size or ("height", "width")), *((out, ()) for out in graph.output)]:
        axes = value.type.tensor_type.shape.dim
        if axes and not axes[0].dim_value:
            _set_axis(axes[0], batch or "batch")
        for axis, side in zip(axes[2:], sides):
            if not axis.dim_value:
                _set_axis(axis, side)
        for number, axis in enumerate(axes):
            if not axis.dim_value and "DynamicDimension" in axis.dim_param:
                axis.dim_param = f"{value.name}_{number}"


def _set_axis(axis, value):
    if isinstance(value, int):
        axis.dim_value = value
    else:
        axis.dim_param = value


def to_openvino(source, target):
    """Converts an ONNX file to TARGET.xml and .bin beside it, float32 as it is."""
    import openvino

    model = openvino.Core().read_model(str(source))
    openvino.save_model(model, str(target), compress_to_fp16=False)
