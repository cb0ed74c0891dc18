"""The fixture with which tests run commands."""

import zlib  # noqa: F401  (before Paddle, as in densebone/__init__.py)

import pytest
import warm


@pytest.fixture(scope="session")
def densebone():
    """Runs `densebone ARGUMENTS` in a process of its own; returns a CompletedProcess with stdout and stderr as text."""
    starter = warm.Starter()
    yield lambda *arguments, cwd=None, timeout=600: starter.run(arguments, cwd, timeout)
    starter.close()
