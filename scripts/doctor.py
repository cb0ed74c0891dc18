"""Print versions, which file each toolkit is imported from, the registered names and the repairs in force.

densebone doctor
"""

import importlib
import importlib.metadata
import platform
import sys
from collections.abc import Sequence
from typing import NamedTuple

from ..system import reports
from . import options

PACKAGES = (
    "paddlepaddle",
    "paddlepaddle-gpu",
    "paddledet",
    "paddleseg",
    "numpy",
    "opencv-python",
    "pillow",
    "pycocotools",
)


class Toolkit(NamedTuple):
    """A toolkit: its title, a module whose import needs all of it, densebone's adapter, the extra that installs it."""

    title: str
    heaviest: str
    adapter: str
    extra: str


TOOLKITS = (
    Toolkit("PaddleDetection", "ppdet.engine", "paddledet", "detection"),
    Toolkit("PaddleSeg", "paddleseg.core", "paddleseg", "segmentation"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status, 1 when Paddle cannot be imported."""
    options.plain_parser("doctor", __doc__).parse_args(argv)
    from .. import __version__

    print(f"densebone {__version__}, Python {sys.version.split()[0]}, {platform.platform()}")
    for name in PACKAGES:
        try:
            print(f"  {name:18} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"  {name:18} not installed")
    print(f"reports of engines: {reports.describe()}")
    imported = {toolkit: _import(toolkit.heaviest) for toolkit in TOOLKITS}  # before Paddle: Paddle 2.6 needs that
    paddle = _import("paddle")
    if isinstance(paddle, Exception):
        print(f"Paddle cannot be imported: {_line(paddle)}\n  pip install paddlepaddle (CPU), or a GPU build")
        return 1
    gpus = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    print(f"Paddle: {paddle.__file__}, {f'{gpus} GPUs' if gpus else 'CPU'}")
    from ..registry import list_models

    print(f"models: {', '.join(list_models())}")
    for toolkit, package in imported.items():
        _report(toolkit, package)
    return 0


def _report(toolkit, package):
    """Prints what densebone does in a toolkit; `package` is the toolkit's package, or why it cannot be imported."""
    if isinstance(package, Exception):
        print(f'{toolkit.title}: cannot be imported ({_line(package)})\n  pip install "densebone[{toolkit.extra}]"')
        return
    adapter = importlib.import_module(f"..integrations.{toolkit.adapter}", __package__)
    compat = importlib.import_module(f"..integrations.compat.{toolkit.adapter}", __package__)
    print(f"{toolkit.title}: {package.__file__}")
    print(f"  registered: {', '.join(adapter.__all__)}")
    repairs = compat.in_force()
    print(f"  repairs in force: {len(repairs) or 'none needed'}")
    for repair in repairs:
        print(f"    {repair.name:24} {repair.why}: {_line(repair.symptom)}")


def _import(name):
    """Imports a module; returns its top package, or the exception that the import raised."""
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken installation can raise anything, and this command shows it
        return error
    return sys.modules[name.partition(".")[0]]


def _line(text):
    return " ".join(str(text).split())[:140]
