"""Only one process has a folder; the lock is nowhere near it, and goes with its process."""

import subprocess
import sys

import pytest

from densebone.errors import UserError
from densebone.system.locks import only_one

HOLD = """
import sys, time
from densebone.system.locks import only_one
with only_one(sys.argv[1], "works in"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"^another process works in {folder}; wait"), only_one(folder, "works in"):
            pytest.fail("entered")
        with only_one(tmp_path / "other", "works in"):
            pass
    finally:
        process.kill()
        process.wait()
    with only_one(folder, "works in"):
        assert not folder.exists()


def test_a_home_that_cannot_be_written_to_has_no_locks(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path / "file"))
    with only_one(tmp_path / "out", "works in"), only_one(tmp_path / "out", "works in"):
        pass
