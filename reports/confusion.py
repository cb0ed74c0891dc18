"""Confusion matrices: a row for each true class, a column for each answer; and what follows from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .boxes import Detections, Matches, Truth, by_picture, overlaps


def count_pairs(true: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    """int (C, C): how often each true class (N,) got each answer (N,)."""
    places = np.asarray(true, np.int64).ravel() * classes + np.asarray(answer, np.int64).ravel()
    return np.bincount(places, minlength=classes * classes).reshape(classes, classes)


def class_figures(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of each class from a confusion matrix (C, C), each float (C,).

    With TP the diagonal, T the sum of a row and P that of a column:
    precision = TP / P, recall = TP / T, F1 = 2 TP / (T + P), IoU = TP / (T + P - TP). Where the denominator is 0, and
    for recall, F1 and IoU where the class does not occur, the value is nan.
    """
    right, true, answers = (x.astype(float) for x in (matrix.diagonal(), matrix.sum(1), matrix.sum(0)))
    there = np.where(true > 0, 1.0, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": right / answers,
            "recall": right / true,
            "F1": there * 2 * right / (true + answers),
            "IoU": there * right / (true + answers - right),
        }


def most_confused(matrix: np.ndarray, limit: int) -> list[dict[str, Any]]:
    """The most frequent confusions, at most `limit`: {true, answer (numbers), count, share (of the true class)}."""
    errors = matrix.copy()
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:limit]
    rows = []
    for place in order:
        true, answer = divmod(int(place), len(matrix))
        if errors[true, answer]:
            share = float(errors[true, answer] / matrix[true].sum())
            rows.append({"true": true, "answer": answer, "count": int(errors[true, answer]), "share": share})
    return rows


def worst_classes(matrix: np.ndarray, limit: int) -> np.ndarray:
    """int (at most limit,): the classes of the most frequent confusions, in their own order.

    Where the confusions have fewer classes, those with the most objects join them.
    """
    chosen: dict[int, None] = {}
    for pair in most_confused(matrix, limit * limit):
        both = {**chosen, pair["true"]: None, pair["answer"]: None}
        if len(both) <= limit:
            chosen = both
    for number in np.argsort(-matrix.sum(1), kind="stable").tolist():
        if len(chosen) < limit:
            chosen.setdefault(number)
    return np.sort(np.array([*chosen], np.int64))


def confusion_of_boxes(
    truth: Truth, found: Detections, matches: Matches, kept: np.ndarray, classes: int, iou: float = 0.5
) -> np.ndarray:
    """The confusion matrix of a detector, with the background as the last row and column.

    The diagonal holds what `boxes.match` calls right. Of the other detections and objects in a picture those belong
    together that overlap by `iou` or more, the pair with the largest overlap first. A detection that is left over found
    the background, an object that is left over was missed. What is ignored does not count.

    Args:
        truth, found: of all pictures.
        matches: of `boxes.match` with the same `iou`.
        kept: bool (D,), the detections that are looked at.
        classes: how many.

    Returns:
        int (classes + 1, classes + 1).
    """
    right, open_found = matches.right & kept, matches.wrong & kept
    open_true = ~truth.ignored
    open_true[matches.truth[right]] = False
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    np.add.at(matrix, (found.label[right], found.label[right]), 1)
    for places, targets in by_picture(truth, found):
        places, targets = places[open_found[places]], targets[open_true[targets]]
        if not len(places) or not len(targets):
            continue
        table = overlaps(found.boxes[places], truth.boxes[targets], np.zeros(len(targets), bool))
        while table.size and table.max() >= iou:
            row, column = divmod(int(table.argmax()), table.shape[1])
            matrix[truth.label[targets[column]], found.label[places[row]]] += 1
            open_found[places[row]] = open_true[targets[column]] = False
            table[row], table[:, column] = -1, -1
    matrix[classes, :classes] = np.bincount(found.label[open_found], minlength=classes)[:classes]
    matrix[:classes, classes] = np.bincount(truth.label[open_true], minlength=classes)[:classes]
    return matrix
