"""Which engines there are, which packages they need, and whether those are installed."""

import importlib.util
import sys
from types import ModuleType

from ..errors import UserError

#: engine -> the packages that it needs beside Paddle. The fastest comes first, as docs/export.md measures it.
ENGINES: dict[str, tuple[str, ...]] = {
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime",),
    "paddle": (),
    "eager": (),
}
#: the packages that make an ONNX file of a Paddle program
CONVERTERS = ("paddle2onnx", "onnxruntime")
#: extra -> the release of the toolkit that it brings
TOOLKITS = {"detection": "paddledet==2.6.0", "segmentation": "paddleseg==2.8.0"}
#: the newest Python on which pip can install these releases with all that they ask for
TOOLKITS_END = (3, 11)
#: the newest Python for which there is a paddle2onnx
CONVERTER_ENDS = (3, 12)
#: the arithmetic that an engine can be asked for
PRECISIONS = ("fp32", "bf16", "int8")
#: a module without which nothing of Paddle runs -> what to do
LACKING = {
    "paddle": "Paddle is not installed; pip install paddlepaddle (CPU), or a GPU build",
    "setuptools": "Paddle cannot be imported without setuptools; pip install setuptools",
}
PIP_INSTALL = {"onnxruntime": "densebone[onnx]", "paddle2onnx": "densebone[onnx]", "openvino": "densebone[openvino]"}


def missing_package(*names: str) -> str:
    """Says which of the packages is missing and how to install it; returns "" when all are there."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            if name == "paddle2onnx" and sys.version_info[:2] > CONVERTER_ENDS:
                there, here = ("{}.{}".format(*version) for version in (CONVERTER_ENDS, sys.version_info))
                return (
                    f"paddle2onnx has no release for Python {here}; convert on Python {there}, and run the result here"
                )
            return f"{name} is not installed; pip install '{PIP_INSTALL[name]}'"
        if name == "paddle2onnx" and paddle_version().startswith("2."):
            return f"{name} needs PaddlePaddle 3, and this is {paddle_version()}"
    return ""


def toolkit_command(extra: str) -> str:
    """The command that installs the toolkit of an extra on this Python."""
    command = f'pip install "densebone[{extra}]"'
    if sys.version_info[:2] <= TOOLKITS_END or extra not in TOOLKITS:
        return command
    return f"{command} && pip install --no-deps {TOOLKITS[extra]}"


def import_pyarrow() -> tuple[ModuleType, ModuleType]:
    """(pyarrow, pyarrow.parquet). UserError when pyarrow is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(f"Parquet needs pyarrow ({error}); pip install 'densebone[features]'") from error
    return pyarrow, parquet


def paddle_version() -> str:
    """The version of the installed Paddle, such as "3.2.2"."""
    import paddle

    return paddle.version.full_version
