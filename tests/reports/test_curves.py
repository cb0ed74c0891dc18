"""Thresholds, calibration and confusion, against scikit-learn, pycocotools and figures written by hand."""

import numpy as np
import pytest
import random_boxes
from sklearn import metrics

from densebone.reports import boxes, confusion
from densebone.reports.calibration import Calibration
from densebone.reports.curves import STEPS, THRESHOLDS, ThresholdCounts

CLASSES = 4


@pytest.fixture(scope="module")
def answers():
    """(true classes, shares of all classes) of 300 pictures; class 3 never occurs."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, CLASSES - 1, 300)
    logits = rng.normal(0, 1, (300, CLASSES)) + 1.5 * np.eye(CLASSES)[label]
    return label, np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


@pytest.fixture(scope="module")
def counts(answers):
    """The same, added in two parts."""
    result = ThresholdCounts(CLASSES)
    for part in (slice(0, 100), slice(100, None)):
        result.add_shares(answers[0][part], answers[1][part])
    return result


@pytest.mark.parametrize("step", [0, 137, 500, 731])
def test_figures_at_a_threshold_are_those_of_scikit_learn(answers, counts, step):
    label, shares = answers
    for number in range(CLASSES - 1):
        expected = metrics.precision_recall_fscore_support(
            label == number, shares[:, number] >= THRESHOLDS[step], average="binary", zero_division=0
        )
        found = [curve[number, step] for curve in counts.curves()]
        assert found == pytest.approx(expected[:3])
    assert np.isnan(counts.curves()[1][3]).all() and np.isnan(counts.curves()[2][3]).all()


def test_best_thresholds_are_those_of_a_search(answers, counts):
    label, shares = answers
    for number, best in enumerate(counts.best()[:3]):
        f1 = [metrics.f1_score(label == number, shares[:, number] >= t, zero_division=0) for t in THRESHOLDS[::10]]
        assert best.f1 >= max(f1)
        assert best.f1 == pytest.approx(metrics.f1_score(label == number, shares[:, number] >= best.threshold))
    assert counts.best()[3] is None
    overall = counts.best_for_all()
    mean = counts.curves()[2][:3].mean(0)
    assert overall.f1 == mean.max() and mean[round(overall.threshold * STEPS)] == mean.max()


def test_average_precision_is_that_of_scikit_learn(answers, counts):
    label, shares = answers
    rounded = np.floor(shares * STEPS) / STEPS
    expected = [metrics.average_precision_score(label == number, rounded[:, number]) for number in range(3)]
    assert counts.average_precision()[:3] == pytest.approx(expected)
    assert np.isnan(counts.average_precision()[3])


def test_the_middle_of_the_best_thresholds_is_taken():
    counts = ThresholdCounts(1)
    counts.add(np.zeros(3, int), np.array([0.9, 0.8, 0.2]), np.array([True, True, False]))
    counts.truths += 2
    best = counts.best()[0]
    assert 0.2 < best.threshold <= 0.8 and best.threshold == 0.501 and best.f1 == 1


def test_curves_of_boxes_are_those_of_pycocotools():
    truth, found = random_boxes.draw()
    matches = boxes.match(truth, found)
    counted = ~matches.ignored
    counts = ThresholdCounts(CLASSES)
    counts.add(found.label[counted], found.score[counted], matches.right[counted])
    counts.truths += truth.per_class(CLASSES)
    precision, recall, _ = counts.curves()
    for step in (300, 605):
        kept = boxes.take(found, found.score >= THRESHOLDS[step])
        images = random_boxes.coco_evaluation(truth, kept).evalImgs
        for label in range(3):
            rows = [r for r in images if r and r["category_id"] == label + 1 and r["aRng"] == [0, 1e10]]
            counts_there = [(r["dtMatches"][0] > 0, r["dtIgnore"][0]) for r in rows]
            right = sum(int((m & ~i.astype(bool)).sum()) for m, i in counts_there)
            total = sum(int((~i.astype(bool)).sum()) for _, i in counts_there)
            assert precision[label, step] == pytest.approx(right / total)
            assert recall[label, step] == pytest.approx(right / truth.per_class(CLASSES)[label])


def test_calibration_by_hand():
    calibration = Calibration(bins=4)
    confidence, right = np.array([0.1, 0.25, 0.3, 0.45, 0.9, 0.95, 1.0]), np.array([0, 1, 0, 1, 1, 1, 0], bool)
    for part in (slice(0, 3), slice(3, None)):
        calibration.add(confidence[part], right[part])
    # (0, 0.25]: 0.1 and 0.25; (0.25, 0.5]: 0.3 and 0.45; (0.75, 1]: the rest
    assert calibration.count.tolist() == [2, 2, 0, 3]
    gaps = [abs(1 / 2 - 0.35 / 2), abs(1 / 2 - 0.75 / 2), abs(2 / 3 - 2.85 / 3)]
    assert calibration.error() == pytest.approx((2 * gaps[0] + 2 * gaps[1] + 3 * gaps[2]) / 7)
    assert calibration.largest_error() == pytest.approx(max(gaps))
    assert calibration.accuracy[[0, 1, 3]] == pytest.approx([0.5, 0.5, 2 / 3])
    assert np.isnan(calibration.accuracy[2]) and np.isnan(Calibration().error())


def test_confusion_is_that_of_scikit_learn(answers):
    label, shares = answers
    answer = shares.argmax(1)
    matrix = confusion.count_pairs(label, answer, CLASSES)
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(label, answer, labels=range(CLASSES)))
    figures = confusion.class_figures(matrix)
    expected = metrics.precision_recall_fscore_support(label, answer, labels=range(CLASSES), zero_division=0)
    for name, values in zip(("precision", "recall", "F1"), expected):
        assert figures[name][:3] == pytest.approx(values[:3])
    iou = metrics.jaccard_score(label, answer, labels=range(3), average=None)
    assert figures["IoU"][:3] == pytest.approx(iou)
    assert all(np.isnan(figures[name][3]) for name in ("recall", "F1", "IoU"))
    pairs = confusion.most_confused(matrix, 2)
    errors = matrix - np.diag(matrix.diagonal())
    assert pairs[0]["count"] == errors.max() and matrix[pairs[0]["true"], pairs[0]["answer"]] == errors.max()


def test_the_classes_of_the_most_frequent_confusions_are_shown():
    matrix = np.diag([9, 1, 1, 5, 1, 8])
    matrix[4, 1], matrix[2, 5], matrix[1, 0] = 7, 3, 2
    assert confusion.worst_classes(matrix, 4).tolist() == [1, 2, 4, 5]
    assert confusion.worst_classes(matrix, 3).tolist() == [0, 1, 4]
    assert confusion.worst_classes(np.diag([1, 3, 2]), 2).tolist() == [1, 2]
    assert confusion.worst_classes(matrix, 25).tolist() == [0, 1, 2, 3, 4, 5]


def test_confusion_of_boxes():
    truth, found = random_boxes.draw()
    matches, kept = boxes.match(truth, found), found.score >= 0.4
    matrix = confusion.confusion_of_boxes(truth, found, matches, kept, CLASSES)
    # a second way: every pair of what is left, by overlap, with plain loops
    expected = np.zeros_like(matrix)
    taken_found, taken_true = set(np.flatnonzero(~kept | matches.ignored)), set(np.flatnonzero(truth.ignored))
    for d in np.flatnonzero(matches.right & kept):
        expected[found.label[d], found.label[d]] += 1
        taken_found.add(d)
        taken_true.add(matches.truth[d])
    table = boxes.overlaps(found.boxes, truth.boxes, np.zeros(len(truth), bool))
    table[found.picture[:, None] != truth.picture[None]] = 0
    for d, t in sorted(np.ndindex(table.shape), key=lambda pair: -table[pair]):
        if table[d, t] >= 0.5 and d not in taken_found and t not in taken_true:
            expected[truth.label[t], found.label[d]] += 1
            taken_found.add(d)
            taken_true.add(t)
    for d in set(range(len(found))) - taken_found:
        expected[CLASSES, found.label[d]] += 1
    for t in set(range(len(truth))) - taken_true:
        expected[truth.label[t], CLASSES] += 1
    np.testing.assert_array_equal(matrix, expected)
    assert expected[:3, :4].sum() - expected.diagonal().sum() >= 5
    assert matrix[:CLASSES].sum(1).tolist() == truth.per_class(CLASSES).tolist()
