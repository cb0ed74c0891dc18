"""What a benchmark ran on, in words."""

import os
import platform
import re
from pathlib import Path

from benchmarks.worker import versions
from densebone.system.processors import available_cpus, cpu_flags, cpu_model

OURS = ("paddlepaddle", "paddlepaddle-gpu", "openvino", "onnxruntime", "paddle2onnx", "numpy")
# The instruction sets that decide how fast a network runs.
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


def describe(peers):
    """Lines of text: processor, cores, load, memory, system, and the versions of our packages and of the peers.

    Args:
        peers (dict): package to version in the peers' environment.
    """
    processor = cpu_model() or platform.processor() or platform.machine()
    known = cpu_flags()
    flags = [flag for flag in _FLAGS if flag in known]
    load = f"; load average at the start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    lines = [
        f"Processor: {processor}, {available_cpus()} cores" + (f" ({', '.join(flags)})" if flags else "") + load,
        f"Memory: {_memory()}. System: {platform.system()} {platform.release()}, Python {platform.python_version()}",
        "Versions: " + _list(versions(OURS)),
    ]
    return [*lines, "Versions of the peers: " + (_list(peers) if peers else "none installed")]


def _list(found):
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _memory():
    try:
        kib = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
    except (OSError, TypeError):
        return "unknown"
    return f"{kib / 2**20:.0f} GiB"
