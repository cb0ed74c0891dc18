"""The processors are described, also where the system does not say what they are."""

import os
import platform
from pathlib import Path

import pytest

from densebone.system import processors

CPUINFO = """\
processor\t: 0
model name\t: Test CPU @ 2.00GHz
flags\t\t: fpu sse2 avx2

processor\t: 1
model name\t: Another CPU
flags\t\t: fpu
"""


@pytest.fixture
def cpuinfo(monkeypatch):
    """A function that sets what /proc/cpuinfo holds; None for a system without it."""

    def set_text(text):
        def read_text(path):
            assert path == Path("/proc/cpuinfo")
            if text is None:
                raise FileNotFoundError(path)
            return text

        monkeypatch.setattr(processors.Path, "read_text", read_text)

    return set_text


def test_the_first_processor_counts(cpuinfo):
    cpuinfo(CPUINFO)
    assert processors.cpu_model() == "Test CPU @ 2.00GHz"
    assert processors.cpu_flags() == ("fpu", "sse2", "avx2")


@pytest.mark.parametrize("text", [None, "", "processor\t: 0\nBogoMIPS\t: 50.00\n"])
def test_a_system_that_does_not_say(text, cpuinfo):
    cpuinfo(text)
    assert (processors.cpu_model(), processors.cpu_flags()) == ("", ())
    architecture, model, _, count = processors.machine()
    assert (architecture, model, count) == (platform.machine(), "", processors.available_cpus())


def test_machines_differ_by_their_flags(cpuinfo):
    cpuinfo(CPUINFO)
    first = processors.machine()
    assert processors.machine() == first
    cpuinfo(CPUINFO.replace("avx2", "avx2 avx512f"))
    assert processors.machine() != first


def test_cpus_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3}, raising=False)
    assert processors.available_cpus() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert processors.available_cpus() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors.available_cpus() == 1
