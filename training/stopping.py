"""Early stopping: a run ends when its evaluations no longer get better.

It counts from the history's rows, so that a run which was killed and resumed stops where an uninterrupted one does.
"""

from collections.abc import Mapping, Sequence
from typing import Any


def is_over(rows: Sequence[Mapping[str, Any]], score: str, patience: int) -> bool:
    """Whether the last `patience` evaluations were no better than the best before them.

    Args:
        rows: of evaluations, in order.
        score: the entry that counts.
        patience: 1 or more.
    """
    best = _best(rows, score)
    return best is not None and len(rows) - 1 - best >= patience


def explanation(rows: Sequence[Mapping[str, Any]], score: str, iteration: int, iters: int) -> str:
    """The line of a run that stops early; the arguments are those of `is_over`, and how far the run is."""
    place = _best(rows, score) or 0
    best, after = rows[place], len(rows) - 1 - place
    return (
        f"stopped early at iteration {iteration} of {iters}: the best {score} is {best[score]:.4f}, of iteration "
        f"{best['iteration']}, and {after} evaluation{'s' * (after > 1)} gave none better; to go on, give -r and a "
        f"larger --patience, or none"
    )


def _best(rows, score):
    """The position of the first row with the best score, or None; what is not a number is never the best."""
    best = None
    for place, row in enumerate(rows):
        if row[score] == row[score] and (best is None or row[score] > rows[best][score]):
            best = place
    return best
