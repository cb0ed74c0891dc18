"""What a machine of the cluster is asked first. It travels as code, since densebone may be missing there."""


def look() -> tuple[str | None, str]:
    """(the version of densebone here, where it is), or (None, why it cannot be imported)."""
    try:
        import densebone
    except Exception as error:  # whatever the installation there raises
        return None, f"{type(error).__name__}: {error}"
    return str(densebone.__version__), str(densebone.__file__)
