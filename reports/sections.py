"""The sections that the reports of the tasks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import charts
from .calibration import Calibration
from .confusion import most_confused, worst_classes
from .curves import THRESHOLDS, Best, ThresholdCounts
from .page import MATRIX, Chart, Column, Pictures, Section, Table, confusion_matrix
from .worst import Case

#: confusions that a report lists
PAIRS = 50
#: a chart has every tenth of the thresholds
_THINNED = slice(None, None, 10)
RECALLS = np.linspace(0, 1, 101)

THRESHOLD_COLUMNS = (
    Column("threshold", "best threshold", "share", "on the score: there F1 is highest"),
    Column("best_precision", "precision at it", "share", "at the best threshold"),
    Column("best_recall", "recall at it", "share", "at the best threshold"),
    Column("best_F1", "F1 at it", "share", "at the best threshold"),
)


def threshold_values(best: Best | None) -> dict[str, float | None]:
    """The values of `THRESHOLD_COLUMNS` for a class."""
    if best is None:
        return dict.fromkeys(column.key for column in THRESHOLD_COLUMNS)
    values = (best.threshold, best.precision, best.recall, best.f1)
    return {column.key: value for column, value in zip(THRESHOLD_COLUMNS, values)}


def curves_section(
    names: Sequence[str], rank: np.ndarray, precision: np.ndarray, counts: ThresholdCounts, what: str
) -> Section:
    """Precision over recall, and F1 over the threshold.

    Args:
        names: of the C classes.
        rank: float (C,), by which the worst classes are told.
        precision: float (C, 101), at `RECALLS`.
        counts: for the F1.
        what: says of the curves what was counted.
    """
    f1, overall = counts.curves()[2], counts.best_for_all()
    best = (
        f"One threshold for all classes: {overall.threshold:.3f} gives a mean F1 of {overall.f1:.3f}."
        if overall
        else "No answer is right."
    )
    curve = charts.class_lines(RECALLS, precision, names, rank, "recall", "precision")
    over = charts.class_lines(THRESHOLDS[_THINNED], f1[:, _THINNED], names, rank, "threshold on the score", "F1")
    return Section(
        "Thresholds", [Chart("Precision and recall", curve), Chart("F1 and the threshold", over)], f"{what} {best}"
    )


def confusion_section(matrix: np.ndarray, names: Sequence[str], what: str, background: bool = False) -> Section:
    """The confusion matrix, of many classes a part, and the most frequent confusions.

    Args:
        matrix: int (C, C), or (C + 1, C + 1) with the background last.
        names: of the C classes.
        what: says what was counted.
        background: whether the matrix has it.
    """
    classes = matrix[: len(names), : len(names)]
    pairs = most_confused(classes, PAIRS)
    rows = [{**pair, "true": names[pair["true"]], "answer": names[pair["answer"]]} for pair in pairs]
    columns = (
        Column("true", "true class", "text"),
        Column("answer", "answer", "text"),
        Column("count", "how often", "count"),
        Column("share", "share of the true class"),
    )
    table = Table("Most frequent confusions", columns, rows)
    chosen = worst_classes(classes, MATRIX)
    return Section(
        "Confusions", [confusion_matrix(matrix, names, chosen, background), *([table] if rows else [])], what
    )


def calibration_section(calibration: Calibration, what: str) -> Section:
    """The reliability diagram and its two errors."""
    chart = charts.reliability(calibration.confidence, calibration.accuracy, calibration.count)
    note = (
        f"Expected calibration error (ECE) {calibration.error():.4f}, largest error of a bin "
        f"{calibration.largest_error():.4f}, in {calibration.bins} bins. Below the diagonal the model is too sure."
    )
    return Section("Calibration", [Chart("Reliability diagram", chart, note)], what)


def calibration_values(calibration: Calibration) -> dict[str, Any]:
    """The figures of a calibration for metrics.json."""
    return {
        "ECE": calibration.error(),
        "MCE": calibration.largest_error(),
        "bins": {
            "confidence": calibration.confidence,
            "accuracy": calibration.accuracy,
            "count": calibration.count,
        },
    }


def curve_values(names: Sequence[str], precision: np.ndarray, counts: ThresholdCounts) -> dict[str, Any]:
    """The curves of the classes that occur, for metrics.json, with four digits."""
    f1 = counts.curves()[2][:, _THINNED]
    there = np.flatnonzero(np.isfinite(precision).all(1))
    return {
        "recall": RECALLS.round(2),
        "precision": {names[number]: precision[number].round(4) for number in there},
        "threshold": THRESHOLDS[_THINNED].round(2),
        "F1": {names[number]: f1[number].round(4) for number in there},
    }


def worst_section(cases: Sequence[Case], what: str) -> Section:
    """The worst pictures; a sentence where none went wrong."""
    if not cases:
        return Section("Worst pictures", [], "No picture went wrong.")
    return Section("Worst pictures", [Pictures("The worst first", cases, what)])
