"""The report of a detector: from its boxes and the true ones to all findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..pictures.drawing import draw_boxes
from . import breakdown, charts, sections
from .boxes import SIZES, Detections, Matches, Truth, average_precision, match, precision_at_recalls
from .confusion import confusion_of_boxes
from .curves import STEPS, ThresholdCounts, steps_of, thresholds_of
from .page import Chart, Column, Page, Section, Table
from .worst import LIMIT, Case, draw_case
from .writing import Findings

#: an object counts as found from this overlap on
IOU = 0.5
_RIGHT, _WRONG, _IGNORED = (47, 126, 216), (232, 100, 40), (130, 130, 130)
_LISTED = 8


@dataclass
class Evaluated:
    """What an evaluation of a detector found.

    Attributes:
        names: of the C classes.
        pictures: names of the P pictures' files.
        read: number of a picture -> the picture in RGB; raises UserError where it can no longer be read.
        truth, found: boxes; `found` as `Detections.best` returns it.
        scores: float (C,) values of each class that the evaluation itself gave, such as {"AP": ..., "AP50": ...}.
        figures: (name, value, meaning) of the evaluation's own figures.
        facts: (what, value), for the head of the page.
    """

    names: Sequence[str]
    pictures: Sequence[str]
    read: Callable[[int], Image.Image]
    truth: Truth
    found: Detections
    scores: dict[str, np.ndarray]
    figures: Sequence[tuple[str, str, str]]
    facts: Sequence[tuple[str, str]]


@dataclass
class _Counted:
    """What follows from the boxes.

    Attributes:
        matches, kinds: of all detections.
        counts: over the thresholds.
        kept: bool (D,), the detections from the best threshold of their class on.
        by_size: size of the objects -> float (C,), AP50.
    """

    matches: Matches
    kinds: breakdown.Breakdown
    counts: ThresholdCounts
    kept: np.ndarray
    by_size: dict[str, np.ndarray]


def findings(title: str, evaluated: Evaluated) -> Findings:
    """All findings of a detector's report; `title` names the job."""
    counted = _count(evaluated)
    classes, truth, found = len(evaluated.names), evaluated.truth, evaluated.found
    rows = _class_rows(evaluated, counted)
    matrix = confusion_of_boxes(truth, found, counted.matches, counted.kept, classes, IOU)
    curves = _curves(evaluated, counted.matches)
    cases = _cases(evaluated, counted)
    by_size, errors = _sizes(evaluated, counted), _errors(evaluated, counted)
    overall = counted.counts.best_for_all()
    page = Page(
        title,
        "detection",
        evaluated.facts,
        [*evaluated.figures, ("F1", f"{overall.f1 if overall else 0:.3f}", "mean of the classes, one best threshold")],
        [
            Section("Classes", [_class_table(rows)], "Thresholds, precision, recall and F1 are at IoU 0.5."),
            sections.curves_section(
                evaluated.names, _rank(evaluated), curves, counted.counts, "An object is found from IoU 0.5 on."
            ),
            _error_section(errors, by_size),
            sections.confusion_section(
                matrix, evaluated.names, "At each class's best threshold, IoU 0.5.", background=True
            ),
            sections.worst_section(
                cases,
                "Lowest F1 first, at each class's best threshold. Blue is right; orange is wrong or missed; grey does "
                "not count.",
            ),
        ],
    )
    metrics = {
        "task": "detection",
        "job": title,
        "pictures": len(evaluated.pictures),
        "objects": int((~truth.ignored).sum()),
        "classes": rows,
        "best_for_all": None if overall is None else vars(overall),
        "sizes": by_size,
        "errors": errors,
        "curves": sections.curve_values(evaluated.names, curves, counted.counts),
    }
    return Findings(page, metrics, rows, matrix, [*evaluated.names, "(background)"], cases)


def _count(evaluated):
    truth, found = evaluated.truth, evaluated.found
    matches = match(truth, found, IOU)
    counts, counted = ThresholdCounts(len(evaluated.names)), ~matches.ignored
    counts.add(found.label[counted], found.score[counted], matches.right[counted])
    counts.truths += truth.per_class(len(evaluated.names))
    limits = thresholds_of(counts.best(), counts.best_for_all())
    kept = steps_of(found.score) >= np.rint(limits * STEPS).astype(int)[found.label]
    by_size = {name: size_ap(truth, found, len(evaluated.names), (least, most)) for name, least, most in SIZES}
    return _Counted(matches, breakdown.break_down(truth, found, matches, IOU), counts, kept, by_size)


def _rank(evaluated):
    """By which the worst classes are told: AP, or AP50 where there is no other."""
    return evaluated.scores.get("AP", evaluated.scores["AP50"])


def _class_rows(evaluated, counted):
    right, wrong = (
        np.bincount(evaluated.found.label[chosen & counted.kept], minlength=len(evaluated.names))
        for chosen in (counted.matches.right, counted.matches.wrong)
    )
    truths, columns = counted.counts.truths, dict(evaluated.scores)
    if "AP_small" not in columns:
        columns |= {f"AP50_{name}": values for name, values in counted.by_size.items()}
    rows = []
    for number, best in enumerate(counted.counts.best()):
        values = {name: float(column[number]) for name, column in columns.items()}
        rows.append(
            {
                "name": evaluated.names[number],
                "objects": int(truths[number]),
                **values,
                **sections.threshold_values(best),
                "right": int(right[number]),
                "wrong": int(wrong[number]),
                "missed": int(truths[number] - right[number]),
            }
        )
    return rows


_HINTS = {
    "AP": "mean over the IoU thresholds 0.50:0.95",
    "AP50": "at IoU 0.50",
    "AP75": "at IoU 0.75",
    "AP_mask": "of the masks, mean over the IoU thresholds 0.50:0.95",
    "AR": "recall of at most 100 detections in a picture, mean over the IoU thresholds 0.50:0.95",
    **{f"{ap}_{name}": f"of {name} objects" for ap in ("AP", "AP50") for name, _, _ in SIZES},
}


def _class_table(rows):
    usual = [key for key in rows[0] if key in _HINTS]
    columns = (
        Column("name", "class", "text"),
        Column("objects", "objects", "count", "that must be found"),
        *(Column(key, key.replace("_", " "), "share", _HINTS[key]) for key in usual),
        *sections.THRESHOLD_COLUMNS,
        Column("right", "right", "count", "detections at the best threshold"),
        Column("wrong", "wrong", "count", "detections at the best threshold"),
        Column("missed", "missed", "count", "objects at the best threshold"),
    )
    return Table("Every class", columns, rows)


def _curves(evaluated, matches):
    """float (C, 101): precision at recalls of 0, 0.01, ... 1."""
    found, truths = evaluated.found, evaluated.truth.per_class(len(evaluated.names))
    rows = np.full((len(truths), 101), np.nan)
    for number in np.flatnonzero(truths):
        own = ~matches.ignored & (found.label == number)
        rows[number] = precision_at_recalls(found.score[own], matches.right[own], truths[number])
    return rows


def _sizes(evaluated, counted):
    """{size: {objects, AP50, AP where the evaluation gave it}}."""
    result = {}
    for name, least, most in SIZES:
        truth = evaluated.truth
        inside = (truth.area >= least) & (truth.area <= most) & ~truth.ignored
        own = evaluated.scores.get(f"AP_{name}")
        result[name] = {
            "objects": int(inside.sum()),
            "AP50": _mean(counted.by_size[name]),
            **({} if own is None else {"AP": _mean(own)}),
        }
    return result


def size_ap(truth: Truth, found: Detections, classes: int, area: tuple[float, float]) -> np.ndarray:
    """float (C,): AP50 of the objects with an area (smallest, largest) in square pixels; nan where there are none."""
    matches = match(truth, found, IOU, area)
    inside = (truth.area >= area[0]) & (truth.area <= area[1]) & ~truth.ignored
    counted = ~matches.ignored
    truths = np.bincount(truth.label[inside], minlength=classes)
    return average_precision(found.label[counted], found.score[counted], matches.right[counted], truths)


def _mean(values):
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _errors(evaluated, counted):
    """{kind: {count (at the best thresholds), all (of all detections), AP50 (what it costs)}}."""
    truth, matches, kinds = evaluated.truth, counted.matches, counted.kinds
    at_best = breakdown.counts(truth, matches, kinds, counted.kept)
    of_all = breakdown.counts(truth, matches, kinds)
    costs = breakdown.costs(truth, evaluated.found, matches, kinds, len(evaluated.names))
    return {k: {"count": at_best[k], "all": of_all[k], "AP50": costs[k]} for k in breakdown.KINDS}


def _error_section(errors, by_size):
    costs = {kind: row["AP50"] for kind, row in errors.items()}
    notes = [f"{100 * np.nan_to_num(cost):.1f}" for cost in costs.values()]
    chart = charts.bars({k: 100 * v for k, v in costs.items()}, "AP50 points that mending it would gain", notes)
    rows = [{"kind": kind, "means": breakdown.KINDS[kind], **row} for kind, row in errors.items()]
    columns = (
        Column("kind", "kind", "text"),
        Column("means", "what it is", "text"),
        Column("count", "at the best thresholds", "count"),
        Column("all", "of all detections", "count"),
        Column("AP50", "costs AP50, points", "points"),
    )
    ap = "AP" if all("AP" in row for row in by_size.values()) else "AP50"
    values = {name: row[ap] for name, row in by_size.items()}
    notes = [f"{row[ap]:.3f} of {row['objects']:,} objects" if row["objects"] else "none" for row in by_size.values()]
    sizes = charts.bars(values, ap, notes, 1.0)
    return Section(
        "Errors",
        [
            Chart("What each kind of error costs", chart),
            Chart("Size of the objects", sizes, "Small: an area below 32 x 32 pixels. Large: above 96 x 96."),
            Table("Kinds of errors", columns, rows),
        ],
        "The kinds of TIDE (Bolya et al., 2020): found from IoU 0.5 on, background below 0.1.",
    )


def _cases(evaluated, counted):
    """The worst pictures: the lowest F1, then the most errors."""
    truth, found, matches, kept = evaluated.truth, evaluated.found, counted.matches, counted.kept
    count = len(evaluated.pictures)
    right, wrong = (np.bincount(found.picture[m & kept], minlength=count) for m in (matches.right, matches.wrong))
    missed = np.bincount(truth.picture[~truth.ignored], minlength=count) - right
    errors = wrong + missed
    f1 = 2 * right / np.maximum(2 * right + errors, 1)
    order = np.lexsort((-errors, f1))
    order = order[errors[order] > 0][:LIMIT]
    return [_case(evaluated, counted, number, (right[number], wrong[number], missed[number])) for number in order]


def _case(evaluated, counted, number, sums) -> Case:
    truth, found, names = evaluated.truth, evaluated.found, evaluated.names
    own = np.flatnonzero((found.picture == number) & counted.kept)
    true = np.flatnonzero(truth.picture == number)
    right = counted.matches.right[own]
    is_found = np.isin(true, counted.matches.truth[own[right]])
    lines = []
    for place, kind in enumerate(breakdown.KINDS):
        texts = [f"{names[found.label[d]]} {found.score[d]:.2f}" for d in own[counted.kinds.kind[own] == place]]
        if kind == "missed":
            lost = true[~is_found & ~truth.ignored[true]]
            texts = [_times(n, names[label]) for label, n in Counter(truth.label[lost].tolist()).most_common()]
        if texts:
            more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
            lines.append((kind, ", ".join(texts[:_LISTED]) + more))

    def draw(picture, scale):
        colours = np.where(truth.ignored[true], 2, np.where(is_found, 0, 1))
        states = np.where(right, 0, np.where(counted.matches.ignored[own], 2, 1))
        return {
            "truth": _boxes(picture, truth.boxes[true] * scale, [names[n] for n in truth.label[true]], colours),
            "prediction": _boxes(
                picture, found.boxes[own] * scale, [names[n] for n in found.label[own]], states, found.score[own]
            ),
        }

    title = f"{sums[0]} right, {sums[1]} wrong, {sums[2]} missed"
    return draw_case(evaluated.pictures[number], lambda: evaluated.read(number), title, lines, draw)


def _times(count, name):
    return f"{name} x {count}" if count > 1 else name


def _boxes(picture: Image.Image, boxes, labels, states, scores=None) -> Any:
    """Draws boxes (left, top, width, height); states: 0 right, 1 wrong, 2 does not count, drawn from the last on."""
    corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    for state, colour in ((2, _IGNORED), (0, _RIGHT), (1, _WRONG)):
        chosen = np.flatnonzero(states == state)
        texts = [labels[n] for n in chosen]
        own = None if scores is None else scores[chosen]
        picture = draw_boxes(picture, corners[chosen], texts, own, dict.fromkeys(texts, colour))
    return picture
