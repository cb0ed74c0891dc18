"""Why detections are wrong: the six kinds of errors of TIDE, and what each costs in AP50.

Bolya, Foley, Hays and Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020. A wrong
detection gets one kind, tried in the order of TIDE's program: localisation, classification, duplicate, background,
both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .boxes import Detections, Matches, Truth, average_precision, by_picture, overlaps

#: kind -> what it means
KINDS = {
    "classification": "on an object, with the wrong class",
    "localisation": "the right class, but the box does not fit",
    "both": "the wrong class and a box that does not fit",
    "duplicate": "the object was found already, with a higher score",
    "background": "no object is there",
    "missed": "an object that nothing found, not even with the wrong class or a box that does not fit",
}
_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
#: below this overlap with every object, a detection is on the background
BACKGROUND = 0.1


@dataclass
class Breakdown:
    """The kind of each error.

    Attributes:
        kind: int (D,), place in `KINDS` of each detection's error; -1 where it is right or does not count.
        target: int (D,): place of the true box that a detection with a classification or localisation error was meant
            for, else -1.
    """

    kind: np.ndarray
    target: np.ndarray

    def of(self, name: str) -> np.ndarray:
        """bool (D,): the detections with this kind of error."""
        return self.kind == _NUMBERS[name]


def break_down(
    truth: Truth, found: Detections, matches: Matches, iou: float = 0.5, background: float = BACKGROUND
) -> Breakdown:
    """The kind of error of every wrong detection.

    With a the largest overlap with an object of the same class, and b with one of another class:
    localisation: background <= a <= iou; classification: b >= iou; duplicate: a >= iou; background: both are at most
    `background`; both: the rest.

    Args:
        truth, found: of all pictures.
        matches: of `boxes.match` with the same `iou`.
        iou: from which overlap on an object counts as found.
        background: up to which overlap a detection is on the background.
    """
    wrong = matches.wrong
    kind = np.where(wrong, _NUMBERS["background"], -1)
    target = np.full(len(found), -1)
    for places, targets in by_picture(truth, found):
        places, targets = places[wrong[places]], targets[~truth.ignored[targets]]
        if len(places) and len(targets):
            kind[places], target[places] = _kinds(truth, found, places, targets, iou, background)
    return Breakdown(kind, target)


def _kinds(truth, found, places, targets, iou, background):
    """(kind, target) of the wrong detections of one picture."""
    table = overlaps(found.boxes[places], truth.boxes[targets], np.zeros(len(targets), bool))
    same = found.label[places][:, None] == truth.label[targets][None]
    own, other = np.where(same, table, 0), np.where(same, 0, table)
    most_own, most_other = own.max(1), other.max(1)
    is_place = (most_own >= background) & (most_own <= iou)
    is_class = ~is_place & (most_other >= iou)
    is_double = ~is_place & ~is_class & (most_own >= iou)
    is_nothing = ~is_place & ~is_class & ~is_double & (table.max(1) <= background)
    choices = [is_place, is_class, is_double, is_nothing]
    names = ("localisation", "classification", "duplicate", "background")
    kind = np.select(choices, [_NUMBERS[name] for name in names], _NUMBERS["both"])
    target = np.select([is_place, is_class], [targets[own.argmax(1)], targets[other.argmax(1)]], -1)
    return kind, target


def missed(truth: Truth, matches: Matches, breakdown: Breakdown, kept: np.ndarray | None = None) -> np.ndarray:
    """bool (M,): the objects that nothing found, and that no classification or localisation error was meant for.

    Args:
        truth: the objects.
        matches, breakdown: of the detections.
        kept: bool (D,), the detections that are looked at; None for all.
    """
    kept = np.ones(len(matches.truth), bool) if kept is None else kept
    open_ = ~truth.ignored
    for places in (matches.truth[kept], breakdown.target[kept]):
        open_[places[places >= 0]] = False
    return open_


def counts(truth: Truth, matches: Matches, breakdown: Breakdown, kept: np.ndarray | None = None) -> dict[str, int]:
    """{kind: number of errors}; arguments as in `missed`."""
    kinds = breakdown.kind if kept is None else breakdown.kind[kept]
    result = {name: int((kinds == number).sum()) for name, number in _NUMBERS.items()}
    return {**result, "missed": int(missed(truth, matches, breakdown, kept).sum())}


def costs(truth: Truth, found: Detections, matches: Matches, breakdown: Breakdown, classes: int) -> Mapping[str, float]:
    """What AP50 would gain if the errors of one kind were mended, and no others: TIDE's delta AP.

    A detection with a classification or localisation error becomes right if it is the best of those that were meant
    for an object, by either kind of error, and no right one found that object; else it is dropped. Detections with the
    other errors are dropped. Objects that were missed are no longer there.

    Returns:
        {kind: gain in AP50, 0 to 1}; nan where there is no object.
    """
    truths, counted = truth.per_class(classes), ~matches.ignored
    base = _mean_ap(found.label, found.score, matches.right, counted, truths)
    best = _best_meant(found.score, breakdown.target, matches.truth[matches.right])
    result = {}
    for name, number in _NUMBERS.items():
        errors, label, right = breakdown.kind == number, found.label, matches.right
        if name == "missed":
            away = np.bincount(truth.label[missed(truth, matches, breakdown)], minlength=classes)
            result[name] = _mean_ap(label, found.score, right, counted, truths - away) - base
            continue
        mended, label = errors & best, label.copy()
        label[mended] = truth.label[breakdown.target[mended]]
        result[name] = _mean_ap(label, found.score, right | mended, counted & ~(errors & ~mended), truths) - base
    return result


def _best_meant(score, target, taken):
    """bool (D,): the best detection that was meant for each object, where no right one has taken it."""
    places = np.flatnonzero((target >= 0) & ~np.isin(target, taken))
    places = places[np.argsort(-score[places], kind="stable")]
    _, first = np.unique(target[places], return_index=True)
    result = np.zeros(len(score), bool)
    result[places[first]] = True
    return result


def _mean_ap(label, score, right, counted, truths):
    values = average_precision(label[counted], score[counted], right[counted], truths)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
