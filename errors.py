"""The one error class of densebone, and the words that errors share."""

import difflib


class UserError(ValueError):
    """What was given cannot be used: one line that says what was given, what is allowed and what to do.

    A `ValueError`, so that code which catches those keeps working. The commands print the line and exit with
    status 2, without a traceback; every other exception is a fault of the program and keeps its traceback.
    """


def suggest(name, known):
    """A clause that offers the nearest of the `known` names, or all of them when none is near."""
    spelled = {str(k).lower(): str(k) for k in known}
    near = difflib.get_close_matches(str(name).lower(), spelled, n=4, cutoff=0.5)
    if near:
        return "the nearest names are " + ", ".join(spelled[n] for n in near)
    return "known names are " + ", ".join(sorted(spelled.values()))
