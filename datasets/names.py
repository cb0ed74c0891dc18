"""Class names of one data set found again in another's."""

from __future__ import annotations

from collections.abc import Sequence


def match_names(own: Sequence[str], known: Sequence[str]) -> list[int | None]:
    """The place of each name among the known ones.

    A name matches itself, else the only one that differs in case, spaces, hyphens or underscores alone. What could mean
    two things is not matched.

    Args:
        own: different names.
        known: different names.

    Returns:
        For each name of `own` a place in `known`, or None.
    """
    places, owned = {name: place for place, name in enumerate(known)}, set(own)
    free: dict[str, list[int]] = {}
    for name, place in places.items():
        if name not in owned:
            free.setdefault(_plain(name), []).append(place)
    spelled: dict[str, int] = {}
    for name in own:
        spelled[_plain(name)] = spelled.get(_plain(name), 0) + (name not in places)
    found: list[int | None] = []
    for name in own:
        alike = free.get(_plain(name), [])
        clear = len(alike) == 1 and spelled[_plain(name)] == 1
        found.append(places[name] if name in places else alike[0] if clear else None)
    return found


def _plain(name):
    return "".join(name.casefold().replace("_", " ").replace("-", " ").split())
