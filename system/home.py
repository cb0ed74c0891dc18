"""The folder of densebone's own files: downloaded weights, exported networks, locks."""

import os
from pathlib import Path


def home() -> Path:
    """$DENSEBONE_HOME, or else `densebone` in the user's cache ($XDG_CACHE_HOME, ~/.cache). It need not exist yet."""
    given = os.environ.get("DENSEBONE_HOME")
    if given:
        return Path(given).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification says to ignore a relative path.
    return (Path(cache) if cache and os.path.isabs(cache) else Path("~/.cache").expanduser()) / "densebone"
