"""Commands print what is ours; -v shows the messages of the libraries too."""

import subprocess
import sys

import pytest

SMOKE = "smoke_ppyoloe_hardnet39ds_192_10e_sample"


def profile(*options):
    """All that `densebone profile` prints of a detector, in a process of its own."""
    command = [sys.executable, "-m", "densebone.scripts", "profile", "-c", SMOKE, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_only_the_verbose_command_shows_the_toolkits_messages():
    pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
    quiet, verbose = profile(), profile("-v")
    for noise in ("ccache", "numba", "annotations into memory"):
        assert noise not in quiet
    assert "Unable to use numba" in verbose  # which no extra installs
    assert "MMACs" in quiet
    assert "MMACs" in verbose
