"""What a benchmark ran on, in words."""

import os
import platform
import re
from importlib import metadata
from pathlib import Path

OURS = ("paddlepaddle", "paddlepaddle-gpu", "openvino", "onnxruntime", "paddle2onnx", "numpy")
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


def describe(peers):
    """Lines of text: processor, cores, memory, system, and versions here and of the peers.

    Args:
        peers (dict): package to version in the peers' environment.
    """
    processor, flags = _processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f"; load average at the start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    lines = [
        f"Processor: {processor}, {cores} cores" + (f" ({', '.join(flags)})" if flags else "") + load,
        f"Memory: {_memory()}. System: {platform.system()} {platform.release()}, Python {platform.python_version()}",
        "Versions: " + _list(versions(OURS)),
    ]
    return [*lines, "Versions of the peers: " + (_list(peers) if peers else "none installed")]


def versions(names):
    """{package: version} of those that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _list(found):
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _processor():
    """(name, those of its instruction sets that matter here)."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine(), []
    name = re.search(r"model name\s*: (.*)", text)
    flags = re.search(r"flags\s*: (.*)", text)
    known = flags[1].split() if flags else []
    return name[1] if name else platform.machine(), [flag for flag in _FLAGS if flag in known]


def _memory():
    try:
        kib = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
    except (OSError, TypeError):
        return "unknown"
    return f"{kib / 2**20:.0f} GiB"
