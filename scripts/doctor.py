"""Print versions, which file each toolkit is imported from, the registered names and the repairs in force.

densebone doctor
"""

import argparse
import importlib
import importlib.metadata
import platform
import sys

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


def main(argv=None):
    """Returns the exit status: 1 when Paddle cannot be imported."""
    argparse.ArgumentParser(
        prog="densebone doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(argv)
    import densebone

    print(f"densebone {densebone.__version__}, Python {sys.version.split()[0]}, {platform.platform()}")
    for name in PACKAGES:
        try:
            print(f"  {name:18} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"  {name:18} not installed")
    toolkit = _import("ppdet.engine")
    paddle = _import("paddle")
    if isinstance(paddle, Exception):
        print(f"Paddle cannot be imported: {_line(paddle)}\n  pip install paddlepaddle (CPU), or a GPU build")
        return 1
    gpus = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    print(f"Paddle: {paddle.__file__}, {f'{gpus} GPUs' if gpus else 'CPU'}")
    from ..registry import list_models

    print(f"models: {', '.join(list_models())}")
    if isinstance(toolkit, Exception):
        print(f'PaddleDetection: cannot be imported ({_line(toolkit)})\n  pip install "densebone[detection]"')
        return 0
    from ..integrations import paddledet
    from ..integrations.compat import paddledet as compat

    print(f"PaddleDetection: {toolkit.__file__}")
    print(f"  registered: {', '.join(paddledet.__all__)}")
    repairs = compat.in_force()
    print(f"  repairs in force: {len(repairs) or 'none needed'}")
    for repair in repairs:
        print(f"    {repair.name:24} {repair.why}: {_line(repair.symptom)}")
    return 0


def _import(name):
    """The top package of a module, or the exception that its import raised."""
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken installation can raise anything, and this command is there to show it
        return error
    return sys.modules[name.partition(".")[0]]


def _line(text):
    return " ".join(str(text).split())[:140]
