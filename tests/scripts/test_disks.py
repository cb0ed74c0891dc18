"""Every command that writes, on a full disk and in a folder that may not be written to: one line, nothing half.

When there is room again, the same command does its work.
"""

import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import writing

DENSEBONE = [sys.executable, "-m", "densebone.scripts"]
#: bytes that a file may have, so that the command fails in the midst of its work
LIMITS = {
    "classification": 1 << 20, "segmentation": 1 << 20, "detection": 1 << 20, "features": 1 << 12, "export": 1 << 20,
    "download": 1 << 20, "sample": 1 << 12, "prepare": 1 << 6, "predict": 1 << 6,
}  # fmt: skip
#: mounts the folder $1 read-only where only this command sees it, and runs the rest
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd "$1" && shift && exec "$@"'
UNSHARE = ["unshare", "-rm", "sh", "-c", READ_ONLY, "sh"]


@pytest.fixture(autouse=True, scope="module")
def server():
    with writing.serving():
        yield


@pytest.fixture(scope="module")
def unshare(tmp_path_factory):
    folder = tmp_path_factory.mktemp("read-only")
    if not shutil.which("unshare") or subprocess.run([*UNSHARE, folder, "true"], capture_output=True).returncode:
        pytest.skip("a folder can be made read-only for one process only with unshare and user namespaces")
    return UNSHARE


def run(command, folder, prefix=(), **options):
    environment = {**os.environ, "DENSEBONE_HOME": str(folder / "home")}
    return subprocess.run(
        [*prefix, *DENSEBONE, *map(str, command)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        **options,
    )


def check_line(done, words):
    lines = [line for line in done.stderr.splitlines() if line.startswith("densebone: ")]
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and len(lines) == 1 and done.stderr.rstrip().endswith(lines[0])
    assert any(word in lines[0] for word in words), lines[0]


def commands(*later):
    """Every command as a parameter; those named here take long and wait for `-m acceptance`."""
    marks = {True: pytest.mark.acceptance, False: ()}
    return [pytest.param(c, id=c.__name__, marks=marks[c.__name__ in later]) for c in writing.COMMANDS]


@pytest.mark.parametrize(
    "prepared", commands("classification", "segmentation", "detection", "export", "predict", "prepare")
)
def test_a_full_disk(prepared, tmp_path):
    command, result = prepared(tmp_path)
    size = LIMITS[prepared.__name__]
    done = run(command, tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    check_line(done, ["a file may not become larger here", "make room"])
    hidden = [path for path in tmp_path.rglob(".*-????????*") if "home" not in path.parts]
    assert not hidden
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "whole").mkdir()
    command, _ = prepared(tmp_path / "whole")
    assert run(command, tmp_path / "whole").returncode == 0
    expected, got = result(tmp_path / "whole"), result(tmp_path)
    got = {name: value for name, value in got.items() if not name.startswith("whole")}
    assert got.keys() == expected.keys() and expected
    for name, value in expected.items():
        assert np.array_equal(got[name], value), name


@pytest.mark.parametrize("prepared", commands("predict", "export"))
def test_a_folder_that_may_not_be_written_to(prepared, unshare, tmp_path):
    command, _ = prepared(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = run(command, tmp_path, prefix=[*unshare, str(tmp_path)])
    check_line(done, ["cannot write into", "not be written"])
    assert "Read-only file system" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
