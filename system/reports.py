"""Engines report to their makers, unless they are told not to. densebone tells them, in its own processes alone.

OpenVINO's Python package looks up www.google-analytics.com, reports there, and leaves intel/openvino_ga_cid in the
user's home. ONNX Runtime leaves Microsoft/DeveloperTools/.onnxruntime with a device id in the user's cache. Ray's
clusters report how they are used. Nothing here changes what the user has set for other programs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

# ONNX Runtime reads it when it is first imported.
ONNXRUNTIME = "ORT_DISABLE_TELEMETRY"
# Ray reads it when a cluster is started.
RAY = "RAY_USAGE_STATS_ENABLED"
_OPENVINO = "openvino_telemetry"


def forbid() -> None:
    """Switches the reports of ONNX Runtime and Ray off, here and in child processes, unless the user set the switch."""
    os.environ.setdefault(ONNXRUNTIME, "1")
    os.environ.setdefault(RAY, "0")


def describe() -> str:
    """What is in force, in one line."""
    onnxruntime = "off" if os.environ.get(ONNXRUNTIME, "0") != "0" else f"on, because {ONNXRUNTIME} is 0"
    return f"ONNX Runtime {onnxruntime}, OpenVINO off (see docs/security.md)"


def import_openvino() -> ModuleType:
    """OpenVINO without its reports: while it is imported, the package that sends them cannot be found.

    It is made safe for threads too. The first look at a tensor's data sets up something shared, without Python's lock,
    which it then waits for. A second thread that looks meanwhile has that lock and waits for the first: for ever.
    """
    if "openvino" not in sys.modules:
        with _absent(_OPENVINO):
            import openvino
        _ = openvino.Tensor(openvino.Type.f32, openvino.Shape([1])).data
    return sys.modules["openvino"]


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """Within this context a package cannot be imported."""
    missing = object()
    before = sys.modules.get(name, missing)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is missing:
            del sys.modules[name]
        else:
            sys.modules[name] = before  # type: ignore[assignment]
