"""The processors of this machine: how many, of which kind, with which instructions."""

import hashlib
import os
import platform
from pathlib import Path


def available_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """The name of the CPU as Linux gives it; "" where the system does not say."""
    return _cpuinfo("model name")


def cpu_flags() -> tuple[str, ...]:
    """The instruction sets of the CPU as Linux names them, such as "avx2"; empty where the system does not say."""
    return tuple(_cpuinfo("flags").split())


def machine() -> tuple[str, str, str, int]:
    """What tells two machines of different speed apart: architecture, CPU model, hash of its flags, number of CPUs."""
    flags = hashlib.sha256(" ".join(cpu_flags()).encode()).hexdigest()
    return platform.machine(), cpu_model(), flags, available_cpus()


def _cpuinfo(key):
    """The value of the first line of /proc/cpuinfo that begins with `key`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
