"""The report of a segmentation model: collected picture by picture, in memory that does not grow with the pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..pictures.drawing import draw_labels
from . import sections
from .calibration import Calibration
from .confusion import class_figures, count_pairs
from .curves import ThresholdCounts, at_recalls
from .page import Column, Page, Section, Table
from .worst import SIDE, Case, Worst, draw_case
from .writing import Findings

#: pixels of a picture that thresholds and calibration are counted on: every second, third, ... row and column
PIXELS = 100_000
#: classes that a wrong picture lists
_LISTED = 5


class Answers:
    """The answers of a model to the pictures of an evaluation.

    Args:
        classes: how many.
        ignore_index: the label of pixels that do not count.
    """

    def __init__(self, classes: int, ignore_index: int):
        self.classes, self.ignore_index = classes, ignore_index
        self.counts, self.calibration = ThresholdCounts(classes), Calibration()
        self.matrix = np.zeros((classes, classes), np.int64)
        self.images, self.largest_step = 0, 1
        self._worst = Worst()

    def add(self, answer: np.ndarray, label: np.ndarray, shares_of: Callable[[int], np.ndarray]) -> None:
        """Adds the next picture.

        Args:
            answer: int (H, W).
            label: int (H, W).
            shares_of: step -> float (C, h, w), probabilities of every step-th row and column.
        """
        counts = label != self.ignore_index
        matrix = count_pairs(label[counts], answer[counts], self.classes)
        self.matrix += matrix
        step = max(1, math.ceil(math.sqrt(label.size / PIXELS)))
        self.largest_step = max(self.largest_step, step)
        thinned = counts[::step, ::step]
        shares = np.moveaxis(shares_of(step), 0, -1)[thinned]
        true = label[::step, ::step][thinned]
        self.counts.add_shares(true, shares)
        self.calibration.add(shares.max(1), answer[::step, ::step][thinned] == true)
        score, number = mean_iou(matrix), self.images
        if score < 1:  # not for nan, where no pixel counts
            self._worst.offer(-score, lambda: (number, score, matrix, _small(label), _small(answer)))
        self.images += 1

    def worst(self) -> list[tuple[int, float, np.ndarray, np.ndarray, np.ndarray]]:
        """(number, mean IoU, confusion matrix, label and answer at most SIDE pixels wide and high) of the worst."""
        return self._worst.sorted()


def mean_iou(matrix: np.ndarray) -> float:
    """The mean IoU of the classes that occur in the labels or the answers of a confusion matrix; nan for none."""
    right, true, answers = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    union = true + answers - right
    return float((right[union > 0] / union[union > 0]).mean()) if union.any() else float("nan")


def _small(labels):
    """A copy of class numbers (H, W), at most SIDE pixels wide and high."""
    scale = min(1.0, SIDE / max(labels.shape))
    height, width = (max(1, round(side * scale)) for side in labels.shape)
    return _resized(labels, (width, height)).astype(np.uint16)


def findings(
    title: str,
    answers: Answers,
    names: Sequence[str],
    palette: np.ndarray,
    picture_name: Callable[[int], str],
    read: Callable[[int], Image.Image],
    figures: Sequence[tuple[str, str, str]],
    facts: Sequence[tuple[str, str]],
) -> Findings:
    """All findings of a segmentation model's report.

    Args:
        title: the name of the job.
        answers: to all pictures.
        names: of the classes.
        palette: uint8 (at least the number of classes, 3), their colours.
        picture_name, read, figures, facts: as in `classification.findings`.
    """
    counts, calibration, matrix = answers.counts, answers.calibration, answers.matrix
    rows = _class_rows(answers, names)
    precision, recall, _ = counts.curves()
    curves, overall = at_recalls(precision, recall), counts.best_for_all()
    cases = [_case(row, names, palette, answers.ignore_index, picture_name, read) for row in answers.worst()]
    step = answers.largest_step
    thinned = f" Counted on at most {PIXELS:,} pixels of a picture, evenly spread." if step > 1 else ""
    rank = class_figures(matrix)["IoU"]
    page = Page(
        title,
        "segmentation",
        facts,
        [*figures, ("ECE", f"{calibration.error():.3f}", "expected calibration error; 0 is best")],
        [
            Section("Classes", [_class_table(rows)], "Figures over all pixels. The mean IoU is that of the classes."),
            sections.curves_section(
                names, rank, curves, counts, "Each class against the rest, by its probability in a pixel." + thinned
            ),
            sections.confusion_section(matrix, names, "In pixels. The likeliest class is the answer."),
            sections.calibration_section(calibration, "Confidence is the probability of a pixel's answer." + thinned),
            sections.worst_section(cases, "The lowest mean IoU of a picture's classes first."),
        ],
    )
    metrics = {
        "task": "segmentation",
        "job": title,
        "pictures": answers.images,
        "pixels": int(matrix.sum()),
        "classes": rows,
        "best_for_all": None if overall is None else vars(overall),
        "calibration": sections.calibration_values(calibration),
        "curves": sections.curve_values(names, curves, counts),
    }
    return Findings(page, metrics, rows, matrix, names, cases)


def _class_rows(answers, names) -> list[dict[str, Any]]:
    figures, best, pixels = class_figures(answers.matrix), answers.counts.best(), answers.matrix.sum(1)
    return [
        {
            "name": name,
            "pixels": int(pixels[number]),
            "share": float(pixels[number] / max(pixels.sum(), 1)),
            **{key: float(figures[key][number]) for key in ("IoU", "precision", "recall", "F1")},
            **sections.threshold_values(best[number]),
        }
        for number, name in enumerate(names)
    ]


def _class_table(rows):
    columns = (
        Column("name", "class", "text"),
        Column("pixels", "pixels", "count", "labelled with it"),
        Column("share", "of all pixels"),
        Column("IoU", "IoU"),
        Column("precision", "precision", "share", "share of the pixels with this answer that are right"),
        Column("recall", "recall", "share", "share of the pixels of this class that got it"),
        Column("F1", "F1", "share", "also called Dice"),
        *sections.THRESHOLD_COLUMNS,
    )
    return Table("Every class", columns, rows)


def _case(wrong, names, palette, ignore_index, picture_name, read) -> Case:
    number, score, matrix, label, answer = wrong

    def draw(picture, _):
        return {
            kind: draw_labels(picture, _resized(labels, picture.size), names, palette, ignore_index=ignore_index)
            for kind, labels in (("truth", label), ("prediction", answer))
        }

    title = f"mean IoU {score:.3f}"
    return draw_case(picture_name(number), lambda: read(number), title, _lines(matrix, names), draw)


def _lines(matrix, names):
    """(class, what became of it) of the classes with the lowest IoU in a picture."""
    right, true, answers = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    union = true + answers - right
    iou = np.where(union > 0, right / np.maximum(union, 1), 2)
    lines = []
    for number in np.argsort(iou, kind="stable")[:_LISTED]:
        if iou[number] >= 1:
            break
        others = matrix[number].copy()
        others[number] = 0
        taken = f", taken for {names[others.argmax()]} most often" if others.any() else ""
        text = f"{true[number]:,} pixels" if true[number] else "not there"
        lines.append((names[number], f"IoU {iou[number]:.3f}, {text}{taken}"))
    return lines


def _resized(labels, size):
    """Class numbers (H, W) at another size (width, height), without new values."""
    rows = ((np.arange(size[1]) + 0.5) * labels.shape[0] / size[1]).astype(int)
    columns = ((np.arange(size[0]) + 0.5) * labels.shape[1] / size[0]).astype(int)
    return labels[np.ix_(rows, columns)]
