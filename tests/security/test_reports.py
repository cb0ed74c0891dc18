"""No command without a URL opens a connection, in Python or in native code, and none leaves an identifier."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from densebone import create_model

LEFT = re.compile(r"ga_cid|openvino_telemetry|deviceid|DeveloperTools|\.onnxruntime", re.I)


def tracer():
    """How strace is called here, or None. With seccomp only the calls that are watched cost time."""
    program = shutil.which("strace")
    for options in (["-f", "--seccomp-bpf"], ["-f"]):
        command = [program, *options, "-e", "trace=socket,connect,sendto", "-o"]
        if program and subprocess.run([*command, os.devnull, "true"], capture_output=True).returncode == 0:
            return command
    return None


TRACER = tracer()


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number in range(2):
        Image.fromarray(rng.integers(0, 255, (80, 80, 3), np.uint8)).save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path / "pictures"


def commands(pictures, weights, out):
    """Commands that import every engine."""
    for engine in ("openvino", "onnxruntime"):
        options = ["--engine", engine, "--size", "64", "64", "--preprocessing", "hardnet68.official"]
        yield ["features", "-m", "hardnet39ds", "-w", weights, "-O", out / engine, *options, pictures]
    yield ["export", "hardnet39ds", "--random", "--format", "paddle", "onnx", "openvino", "-O", out / "export"]
    yield ["doctor"]


@pytest.mark.skipif(TRACER is None, reason="watching sockets needs strace and the right to trace")
def test_no_connection_and_no_identifier(tmp_path, pictures):
    home, trace = tmp_path / "home", tmp_path / "trace"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    weights = tmp_path / "w.safetensors"
    save_file({key: value.numpy() for key, value in create_model("hardnet39ds").state_dict().items()}, weights)
    for arguments in commands(pictures, weights, tmp_path / "out"):
        command = [*TRACER, str(trace), sys.executable, "-m", "densebone.scripts", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        lines = trace.read_text(errors="replace").splitlines()
        # urllib3 opens a socket to see whether the machine has IPv6; it connects to nothing
        outside = [line for line in lines if "AF_INET" in line and not re.search(r" socket\(", line)]
        assert not outside, outside[:3]
    found = [str(path.relative_to(home)) for path in home.rglob("*")]
    assert not [name for name in found if LEFT.search(name)], found


def test_openvino_is_imported_without_the_package_that_reports(tmp_path):
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install densebone[openvino]")
    code = (
        "import sys\n"
        "from densebone.system import reports\n"
        "reports.import_openvino()\n"
        "import openvino.tools.ovc.telemetry_utils as used\n"
        "print('openvino_telemetry' in sys.modules, used.tm.__name__)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["False", "openvino.tools.ovc.telemetry_stub"], done.stderr


def test_what_the_user_set_stays(monkeypatch):
    from densebone.system import reports

    monkeypatch.setenv(reports.ONNXRUNTIME, "0")
    reports.forbid()
    assert os.environ[reports.ONNXRUNTIME] == "0"
    monkeypatch.delenv(reports.ONNXRUNTIME)
    reports.forbid()
    assert os.environ[reports.ONNXRUNTIME] == "1"


def test_only_our_files_import_openvino_and_they_do_it_quietly():
    root = Path(__file__).parents[2]
    wrong = []
    for file in root.glob("*/**/*.py"):
        place = file.relative_to(root)
        if place.parts[0] in ("tests", "benchmarks") or place.parts[0].startswith("."):
            continue
        wrong += [
            str(place) for line in file.read_text().splitlines() if re.match(r"\s*(import|from) openvino\b", line)
        ]
    assert wrong == ["system/reports.py"]
