"""How tests call the commands."""

import zlib  # noqa: F401  (before Paddle, as in densebone/__init__.py)

import pytest
import warm


@pytest.fixture(scope="session")
def densebone():
    """Runs `densebone ARGUMENTS` as its own process; returns it with exit status, stdout and stderr."""
    starter = warm.Starter()
    yield lambda *arguments, cwd=None, timeout=600: starter.run(arguments, cwd, timeout)
    starter.close()
