"""What a machine of the cluster is asked first. It travels as code, since densebone may be missing there."""

from __future__ import annotations


def look() -> tuple[str | None, str]:
    """(the version of densebone here, where it is), or (None, why it cannot be imported)."""
    import importlib

    try:
        package = importlib.import_module("densebone")
    except Exception as error:  # whatever the installation there raises
        return None, f"{type(error).__name__}: {error}"
    return str(package.__version__), str(package.__file__)
