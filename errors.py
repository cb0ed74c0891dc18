"""The one error class of densebone, and the words that errors share."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake of the user: one line that says what was given, what is allowed and what to do.

    It is a `ValueError`, so code that catches those keeps working. The commands print the line without a traceback and
    exit with status 2. Every other exception is a bug and keeps its traceback.
    """


def suggest(name: object, known: Iterable[object]) -> str:
    """A clause with the nearest of the `known` names, or with all of them when none is near."""
    spelled = {str(k).lower(): str(k) for k in known}
    near = difflib.get_close_matches(str(name).lower(), spelled, n=4, cutoff=0.5)
    if near:
        return "the nearest names are " + ", ".join(spelled[n] for n in near)
    return "known names are " + ", ".join(sorted(spelled.values()))
