"""Freed memory stays with the process where glibc is asked to, and nowhere else."""

import subprocess
import sys

import pytest

CODE = """
import ctypes, resource
from densebone.system.memory import keep_freed
print(keep_freed())
buffer = bytearray(8 << 20)
del buffer
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    bytearray(8 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks glibc")
def test_memory_is_used_again():
    faults = {}
    for name, given in (("kept", {}), ("as it is", {"MALLOC_TRIM_THRESHOLD_": "131072"})):
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env={**given})
        kept, count = done.stdout.split()
        if name == "kept" and kept == "False":
            pytest.skip("this system's C library is not glibc")
        assert kept == str(name == "kept")
        faults[name] = int(count)
    assert faults["kept"] * 4 < faults["as it is"], faults
