"""From a network to the files that engines read: ONNX, and from that OpenVINO's IR."""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import paddle

from ..backbones.base import Network, check_choice, deploy_networks
from ..errors import UserError
from ..system import reports
from ..system.packages import CONVERTERS, ENGINES, missing_package
from .formats import PARAMETERS, program_file
from .fusing import fuse_hard_swish

OPSET = 17
# In a process of its own, because paddle2onnx ends the process at an operator that it does not know. With another
# optimize_tool it installs packages.
_CONVERT = """
import sys
sys.path[:] = [folder for folder in sys.path if folder]  # not the current folder, which may hold files of any name
import paddle2onnx
program, parameters, target, opset = sys.argv[1:]
paddle2onnx.export(program, parameters, target, opset_version=int(opset), optimize_tool="None")
"""


class ConversionError(UserError):
    """A network cannot be converted to a format. The message says which and why."""


def prepared(network: paddle.nn.Layer, engine: str) -> paddle.nn.Layer:
    """A copy of a network, in eval mode and in the form that runs fastest on `engine`.

    Args:
        network: a model of the registry, or any layer. Every `Network` in it is deployed, unless it was deployed
            before.
        engine: one of `system.packages.ENGINES`.
    """
    check_choice("engine", engine, ENGINES)
    if hasattr(network, "deploy") and not network.deployed:
        return network.deploy(engine)
    copy = deepcopy(network)
    copy.eval()
    if not hasattr(network, "deploy"):
        deploy_networks(copy, engine)
    return copy


def input_limits(network: paddle.nn.Layer) -> tuple[int, int]:
    """(channels, smallest side in pixels) of a network's input.

    Read from the network or from the first `Network` in it; (3, 1) when neither has them.
    """
    inner = [layer for layer in network.sublayers(include_self=True) if isinstance(layer, Network)]
    layer = inner[0] if inner else network
    return getattr(layer, "in_channels", 3), getattr(network, "min_side", getattr(layer, "min_side", 1))


def to_onnx(
    folder: str | Path, target: str | Path, batch: int | None = None, size: tuple[int, int] | None = None
) -> None:
    """Converts a Paddle inference model to an ONNX file, with paddle2onnx in a process of its own.

    ONNX Runtime then folds batch norms into the convolutions before them, and constants. Free axes get names.

    Args:
        folder: holds the Paddle inference model.
        target: the file to write.
        batch: batch size of the input; None leaves it free.
        size: (height, width) of the input; None leaves them free.

    Raises:
        ConversionError: paddle2onnx or ONNX Runtime is not installed, or paddle2onnx cannot convert this program.
    """
    raw = Path(target).with_name("raw.onnx")
    to_raw_onnx(folder, raw)
    fold_onnx(raw, target, batch, size)
    raw.unlink()


def to_raw_onnx(folder: str | Path, target: str | Path) -> None:
    """Converts a Paddle inference model to an ONNX file layer by layer, with nothing folded; as `to_onnx` otherwise."""
    if reason := missing_package(*CONVERTERS):
        raise ConversionError(reason)
    arguments = [program_file(folder), Path(folder) / PARAMETERS, target, OPSET]
    command = [sys.executable, "-c", _CONVERT, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if run.returncode or not Path(target).is_file() or not Path(target).stat().st_size:
        raise ConversionError(f"paddle2onnx cannot convert this network: {_failure(run.stdout + run.stderr)}")


def _failure(output):
    """The line of a program's output that says why it failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    words = ("not support", "unsupport", "error", "fail")
    telling = [line for line in lines if any(word in line.lower() for word in words)]
    return (telling or lines or ["it says nothing"])[0][:300]


def fold_onnx(
    source: str | Path, target: str | Path, batch: int | None = None, size: tuple[int, int] | None = None
) -> None:
    """Folds batch norms and constants of an ONNX file with ONNX Runtime, names the free axes and checks the file.

    Args:
        source: the file to read.
        target: the file to write.
        batch, size: as in `to_onnx`.
    """
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
    fuse_hard_swish(model.graph)
    _name_axes(model.graph, batch, size)
    model.producer_name = "densebone"
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def _name_axes(graph, batch, size):
    """Names the free axes "batch", "height" and "width", which paddle2onnx only numbers."""
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


def to_openvino(source: str | Path, target: str | Path) -> None:
    """Converts an ONNX file to `target`, an .xml file, and a .bin file beside it, in float32."""
    openvino = reports.import_openvino()
    model = openvino.Core().read_model(str(source))
    openvino.save_model(model, str(target), compress_to_fp16=False)
