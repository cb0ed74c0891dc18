"""Which GPUs there are, for which the installed Paddle holds code, and what is said of it."""

import stat
import struct
from types import SimpleNamespace

import paddle
import pytest

from densebone.system import gpus
from densebone.system.fatbins import Code, code_in
from densebone.system.gpus import Gpu, Survey

# what paddlepaddle-gpu 2.6.2 of PyPI holds: counted in its libraries
PYPI = Code(((6, 1), (7, 0), (7, 5), (8, 0), (8, 6)))
MACHINE_CODE, PTX = 2, 1


def fat_binary(*entries):
    """A fat binary of (kind, architecture) entries, as NVIDIA's compiler writes it."""
    body = b""
    for kind, architecture in entries:
        header = struct.pack("<HHIQIIIIII", kind, 0x101, 64, 24, 0, 0, 0, architecture, 0, 0)
        body += header.ljust(64, b"\0") + b"\x50\xed\x55\xba" * 6  # the code may look like a header
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def library(path, sections):
    """Writes a 64-bit ELF file with sections {name: content}."""
    names = b"\0" + b"\0".join(name.encode() for name in (*sections, ".shstrtab")) + b"\0"
    contents = [*sections.items(), (".shstrtab", names)]
    data, rows = bytearray(64), [bytes(64)]
    for name, content in contents:
        start = names.index(b"\0" + name.encode() + b"\0") + 1
        rows.append(struct.pack("<IIQQQQIIQQ", start, 1, 0, 0, len(data), len(content), 0, 0, 8, 0))
        data += content
    data[:5] = b"\x7fELF\x02"
    struct.pack_into("<Q", data, 40, len(data))
    struct.pack_into("<HHH", data, 58, 64, len(rows), len(rows) - 1)
    path.write_bytes(bytes(data) + b"".join(rows))
    return path


def test_the_code_in_a_library(tmp_path):
    usual = fat_binary((MACHINE_CODE, 61), (MACHINE_CODE, 86), (PTX, 90))
    one = library(tmp_path / "one.so", {".text": usual, ".nv_fatbin": usual + b"\0" * 8 + usual})
    two = library(tmp_path / "two.so", {"__nv_relfatbin": usual + fat_binary((MACHINE_CODE, 120))})
    assert code_in([one, two]) == Code(((6, 1), (8, 6)), ((9, 0),))  # a rare one does not count
    assert code_in([library(tmp_path / "cpu.so", {".text": usual})]) == Code()


def test_files_that_are_no_whole_libraries(tmp_path):
    whole = library(tmp_path / "whole.so", {".nv_fatbin": fat_binary((MACHINE_CODE, 61))})
    for number, content in enumerate((b"", b"text", b"\x7fELF\x02", whole.read_bytes()[:100])):
        (tmp_path / f"{number}.so").write_bytes(content)
        assert code_in([tmp_path / f"{number}.so"]) == Code()


@pytest.mark.parametrize(
    ("code", "runs", "fails"),
    [
        (PYPI, [(6, 1), (7, 0), (7, 2), (7, 5), (8, 0), (8, 6), (8, 9)], [(5, 2), (6, 0), (9, 0), (10, 0), (12, 0)]),
        (Code(((8, 0),), ((9, 0),)), [(8, 0), (8, 6), (9, 0), (12, 0)], [(7, 5)]),
    ],
)
def test_what_runs_where(code, runs, fails):
    assert [one for one in runs if not code.runs_on(one)] == []
    assert [one for one in fails if code.runs_on(one)] == []


A10, H200 = Gpu("NVIDIA A10", (8, 6), 23 << 30), Gpu("NVIDIA H200", (9, 0), 139 << 30)


@pytest.mark.parametrize(
    ("survey", "said"),
    [
        (Survey(None, (), (), None, None, Code()), ["GPUs: none; this Paddle is a CPU build (docs/gpu.md)"]),
        (
            Survey("550.1", (A10,), (), None, None, Code()),
            [
                "GPU 0: NVIDIA A10, compute capability 8.6, 23 GiB",
                "GPUs: none is used, because this Paddle is a CPU build (docs/gpu.md)",
            ],
        ),
        (
            Survey("550.1", (A10, H200), (A10, H200), "11.8", "8.6.0", PYPI),
            [
                "GPU 0: NVIDIA A10, compute capability 8.6, 23 GiB: fits",
                "GPU 1: NVIDIA H200, compute capability 9.0, 139 GiB: does NOT fit, Paddle holds no code for it; see "
                "docs/gpu.md",
                "GPU build of Paddle: CUDA 11.8, cuDNN 8.6.0, code for compute capability 6.1 7.0 7.5 8.0 8.6; driver "
                "550.1",
            ],
        ),
        (
            Survey("450.1", (A10,), (), "12.6", "9.5", Code()),
            [
                "GPU 0: NVIDIA A10, compute capability 8.6, 23 GiB: whether it fits is unknown",
                "GPU build of Paddle: CUDA 12.6, cuDNN 9.5, code for compute capability unknown; driver 450.1",
                "GPUs: Paddle sees none; the driver 450.1 may be too old for CUDA 12.6",
            ],
        ),
        (
            Survey(None, (), (), "12.6", "9.5", Code((), ((9, 0),))),
            [
                "GPU build of Paddle: CUDA 12.6, cuDNN 9.5, code for compute capability unknown, and to compile from "
                "9.0 on; driver ?",
                "GPUs: Paddle sees none, and nvidia-smi names none",
            ],
        ),
    ],
)
def test_what_is_said(survey, said, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert survey.describe() == said


def test_hidden_gpus_are_explained(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    hidden = Survey("550.1", (A10,), (), "11.8", "8.6.0", PYPI)
    assert hidden.describe()[-1] == "GPUs: Paddle sees none, because CUDA_VISIBLE_DEVICES is ''"


def answer(folder, text, status=0):
    """Puts an nvidia-smi that answers with a text before all others on the path."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {status}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_a_gpu_build_on_two_gpus(tmp_path, monkeypatch):
    answer(tmp_path, "NVIDIA A10, 8.6, 23028, 550.1\nNVIDIA H200, 9.0, 143771, 550.1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    properties = [SimpleNamespace(name="NVIDIA A10", major=8, minor=6, total_memory=23 << 30)]
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(paddle.device.cuda, "get_device_properties", properties.__getitem__)
    monkeypatch.setattr(paddle.version, "cuda", lambda: "11.8")
    monkeypatch.setattr(paddle.version, "cudnn", lambda: "8.6.0")
    held = library(tmp_path / "libphi.so", {".nv_fatbin": fat_binary((MACHINE_CODE, 80))})
    monkeypatch.setattr(gpus, "_libraries", lambda: [held])

    found = gpus.survey()

    assert found.driver == "550.1" and [gpu.name for gpu in found.present] == ["NVIDIA A10", "NVIDIA H200"]
    assert found.seen == (A10,)
    assert [found.fits(gpu) for gpu in found.present] == [True, False]
    assert found.facts()["present"][1]["memory_bytes"] == 143771 << 20


def test_what_paddle_says_of_itself_where_its_libraries_cannot_be_read(monkeypatch):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(paddle.version, "cuda_archs", lambda: ["90", "120"], raising=False)
    assert gpus.survey().code == Code(((9, 0), (12, 0)))


@pytest.mark.parametrize(
    ("text", "status"), [("NVIDIA A10, [N/A], 23028, 450.1", 0), ("Failed to initialize NVML", 9), ("", 0)]
)
def test_a_driver_that_does_not_answer(text, status, tmp_path, monkeypatch):
    answer(tmp_path, text, status)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert gpus._of_driver() == (None, ())


def test_this_paddle_is_a_cpu_build():
    if paddle.is_compiled_with_cuda():
        pytest.skip("this Paddle is a GPU build")
    assert code_in(gpus._libraries()) == Code() and [*gpus._libraries()]
    assert gpus.survey().cuda is None
