"""The one error class of densebone, and the words that errors share."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake of the user: one line that says what was given, what is allowed and what to do.

    It is a `ValueError`, so code that catches those keeps working. The commands print the line without a traceback and
    exit with status 2. Every other exception is a bug and keeps its traceback.

    Control characters, as names of files may hold, are shown as escapes.
    """

    def __init__(self, message: object = ""):
        super().__init__(printable(message))


def printable(text: object) -> str:
    """A text in one line that a terminal shows and does not obey: control characters become escapes such as \\x1b."""
    return "".join(c if c.isprintable() else _escaped(c) for c in str(text))


def _escaped(character):
    return character.encode("unicode_escape").decode()


def suggest(name: object, known: Iterable[object]) -> str:
    """A clause with the nearest of the `known` names, or with all of them when none is near."""
    spelled = {str(k).lower(): str(k) for k in known}
    near = difflib.get_close_matches(str(name).lower(), spelled, n=4, cutoff=0.5)
    if near:
        return "the nearest names are " + ", ".join(spelled[n] for n in near)
    return "known names are " + ", ".join(sorted(spelled.values()))
