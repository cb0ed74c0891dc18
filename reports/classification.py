"""The report of a classifier: collected batch by batch, in memory that does not grow with the pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from . import sections
from .calibration import Calibration
from .confusion import class_figures, count_pairs
from .curves import ThresholdCounts, at_recalls
from .page import Column, Page, Section, Table
from .worst import Case, Worst, draw_case
from .writing import Findings

#: answers that a wrong picture lists
_LISTED = 3


class Answers:
    """The answers of a classifier to the pictures of an evaluation.

    Args:
        classes: how many.
    """

    def __init__(self, classes: int):
        self.classes = classes
        self.counts, self.calibration = ThresholdCounts(classes), Calibration()
        self.matrix = np.zeros((classes, classes), np.int64)
        self._worst = Worst()

    def add(self, numbers: np.ndarray, label: np.ndarray, logits: np.ndarray) -> None:
        """Adds a batch.

        Args:
            numbers: int (N,), of the pictures.
            label: int (N,), the true classes.
            logits: float (N, C).
        """
        powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
        shares = powers / powers.sum(1, keepdims=True)
        answer = shares.argmax(1)
        self.counts.add_shares(label, shares)
        self.calibration.add(shares.max(1), answer == label)
        self.matrix += count_pairs(label, answer, self.classes)
        for number, true, row in zip(numbers, label, shares):
            if row.argmax() != true:
                self._worst.offer(-float(row[true]), partial(self._wrong, number, true, row))

    @staticmethod
    def _wrong(number, true, row):
        best = np.argsort(-row, kind="stable")[:_LISTED]
        return int(number), (int(true), float(row[true])), [(int(n), float(row[n])) for n in best]

    def worst(self) -> list[tuple[int, tuple[int, float], list[tuple[int, float]]]]:
        """(number, (true class, its probability), best answers with theirs) of the worst wrong pictures."""
        return self._worst.sorted()


def findings(
    title: str,
    answers: Answers,
    names: Sequence[str],
    picture_name: Callable[[int], str],
    read: Callable[[int], Image.Image],
    figures: Sequence[tuple[str, str, str]],
    facts: Sequence[tuple[str, str]],
) -> Findings:
    """All findings of a classifier's report.

    Args:
        title: the name of the job.
        answers: to all pictures.
        names: of the classes.
        picture_name: number of a picture -> name of its file.
        read: number of a picture -> the picture in RGB; raises UserError where it can no longer be read.
        figures: (name, value, meaning) of the evaluation's own figures.
        facts: (what, value), for the head of the page.
    """
    counts, calibration, matrix = answers.counts, answers.calibration, answers.matrix
    average = counts.average_precision()
    rows = _class_rows(answers, names, average)
    precision, recall, _ = counts.curves()
    curves, overall = at_recalls(precision, recall), counts.best_for_all()
    cases = [_case(row, names, picture_name, read) for row in answers.worst()]
    figures = [*figures, ("ECE", f"{calibration.error():.3f}", "expected calibration error; 0 is best")]
    thresholds = sections.curves_section(
        names, average, curves, counts, "Each class against the rest, by its probability."
    )
    page = Page(
        title,
        "classification",
        facts,
        figures,
        [
            Section("Classes", [_class_table(rows)]),
            thresholds,
            sections.confusion_section(matrix, names, "The likeliest class is the answer."),
            sections.calibration_section(calibration, "The confidence is the probability of the answer."),
            sections.worst_section(cases, "Wrong answers; the lowest probability of the true class first."),
        ],
    )
    metrics = {
        "task": "classification",
        "job": title,
        "pictures": int(matrix.sum()),
        "classes": rows,
        "best_for_all": None if overall is None else vars(overall),
        "calibration": sections.calibration_values(calibration),
        "curves": sections.curve_values(names, curves, counts),
    }
    return Findings(page, metrics, rows, matrix, names, cases)


def _class_rows(answers, names, average) -> list[dict[str, Any]]:
    figures, best = class_figures(answers.matrix), answers.counts.best()
    return [
        {
            "name": name,
            "pictures": int(answers.counts.truths[number]),
            "accuracy": float(figures["recall"][number]),
            "precision": float(figures["precision"][number]),
            "F1": float(figures["F1"][number]),
            "AP": float(average[number]),
            **sections.threshold_values(best[number]),
        }
        for number, name in enumerate(names)
    ]


def _class_table(rows):
    columns = (
        Column("name", "class", "text"),
        Column("pictures", "pictures", "count"),
        Column("accuracy", "accuracy", "share", "share of the pictures of this class that got it; its recall"),
        Column("precision", "precision", "share", "share of the answers with this class that are right"),
        Column("F1", "F1"),
        Column("AP", "AP", "share", "average precision by the probability of this class"),
        *sections.THRESHOLD_COLUMNS,
    )
    return Table("Every class", columns, rows)


def _case(wrong, names, picture_name, read) -> Case:
    number, (true, share), best = wrong
    title = f"{names[true]} taken for {names[best[0][0]]}"
    lines = [("truth", f"{names[true]} {100 * share:.2f} %")]
    lines += [("answer" if place == 0 else "then", f"{names[n]} {100 * s:.2f} %") for place, (n, s) in enumerate(best)]
    return draw_case(picture_name(number), lambda: read(number), title, lines, lambda picture, _: {"picture": picture})
