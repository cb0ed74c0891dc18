"""OpenCV before Paddle, as Paddle 2.6 wants it; and how tests call the commands."""

import subprocess
import sys

import pytest

try:
    import cv2  # noqa: F401
except ImportError:  # no toolkit is installed: nothing here needs the order
    cv2 = None


@pytest.fixture(scope="session")
def densebone():
    """Runs `densebone ARGUMENTS` as its own process; returns it with exit status, stdout and stderr."""

    def run(*arguments, cwd=None, timeout=600):
        return subprocess.run(
            [sys.executable, "-m", "densebone.scripts", *map(str, arguments)],
            cwd=cwd, timeout=timeout, capture_output=True, text=True,
        )  # fmt: skip

    return run
