"""How tests call the commands."""

import subprocess
import sys
import zlib  # noqa: F401  (before Paddle, as in densebone/__init__.py)

import pytest


@pytest.fixture(scope="session")
def densebone():
    """Runs `densebone ARGUMENTS` as its own process; returns it with exit status, stdout and stderr."""

    def run(*arguments, cwd=None, timeout=600):
        return subprocess.run(
            [sys.executable, "-m", "densebone.scripts", *map(str, arguments)],
            cwd=cwd, timeout=timeout, capture_output=True, text=True,
        )  # fmt: skip

    return run
