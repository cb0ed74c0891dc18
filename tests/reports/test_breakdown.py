"""The kinds of errors, on boxes whose kinds are known, and what mending them is worth."""

import numpy as np
import pytest
import random_boxes

from densebone.reports import boxes, breakdown
from densebone.reports.boxes import Detections, Truth

# 100 x 100 pixels each, of the classes 0, 1, 0 and 1
OBJECTS = np.array([[0, 0, 100, 100], [200, 0, 100, 100], [600, 0, 100, 100], [900, 0, 100, 100.0]])


def scene(*found):
    """Truth, detections, matches and breakdown of boxes (label, left, top, width, height), the best first."""
    truth = Truth(
        np.zeros(4, int), np.array([0, 1, 0, 1]), OBJECTS, np.full(4, 1e4), np.zeros(4, bool), np.zeros(4, bool)
    )
    rows = np.array(found, float)
    scores = np.linspace(0.9, 0.5, len(rows))
    detections = Detections(np.zeros(len(rows), int), rows[:, 0].astype(int), rows[:, 1:], scores)
    matches = boxes.match(truth, detections)
    return truth, detections, matches, breakdown.break_down(truth, detections, matches)


@pytest.mark.parametrize(
    "box, kind",
    [
        ((0, 5, 0, 100, 100), "duplicate"),
        ((0, 50, 0, 100, 100), "localisation"),  # IoU 1/3
        ((1, 0, 5, 100, 100), "classification"),
        ((1, 50, 0, 100, 100), "both"),
        ((0, 400, 0, 50, 50), "background"),
        ((0, 90, 0, 100, 100), "background"),  # IoU 0.05 with class 0, 0 with class 1
        ((0, 205, 0, 100, 100), "classification"),
    ],
)
def test_kinds(box, kind):
    truth, _, matches, found = scene((0, 0, 0, 100, 100), box)
    assert found.kind[0] == -1
    assert list(breakdown.KINDS)[found.kind[1]] == kind
    assert breakdown.counts(truth, matches, found)[kind] == 1


def test_missed_are_those_that_nothing_was_meant_for():
    truth, _, matches, found = scene((0, 0, 0, 100, 100), (0, 205, 0, 100, 100))
    # the object at 200 got the wrong class, those at 600 and 900 nothing
    assert breakdown.missed(truth, matches, found).tolist() == [False, False, True, True]
    only_first = np.array([True, False])
    assert breakdown.missed(truth, matches, found, only_first).tolist() == [False, True, True, True]
    assert breakdown.counts(truth, matches, found, only_first)["classification"] == 0


def ap50(truths, *rows):
    """Mean AP50 over two classes, from rows (class, score, right) that are written by hand."""
    label, score, right = (np.array(column) for column in zip(*rows))
    return np.nanmean(boxes.average_precision(label, score, right, np.array(truths)))


def test_costs_by_hand():
    truth, found, matches, kinds = scene(
        (0, 0, 0, 100, 100),  # 0.90 right
        (0, 5, 0, 100, 100),  # 0.82 duplicate
        (0, 205, 0, 100, 100),  # 0.74 should be class 1
        (0, 206, 0, 100, 100),  # 0.66 likewise; dropped, because the one before is better
        (0, 640, 0, 100, 100),  # 0.58 IoU 3/7 with the object at 600
        (0, 400, 0, 50, 50),  # 0.50 background
    )
    rows = [(0, 0.9, True), (0, 0.82, False), (0, 0.74, False), (0, 0.66, False), (0, 0.58, False), (0, 0.5, False)]
    base = ap50([2, 2], *rows)
    expected = {
        "classification": ap50([2, 2], *rows[:2], (1, 0.74, True), *rows[4:]),
        "localisation": ap50([2, 2], *rows[:4], (0, 0.58, True), rows[5]),
        "both": base,
        "duplicate": ap50([2, 2], rows[0], *rows[2:]),
        "background": ap50([2, 2], *rows[:5]),
        "missed": ap50([2, 1], *rows),  # the object at 900
    }
    costs = breakdown.costs(truth, found, matches, kinds, 2)
    assert list(costs) == list(breakdown.KINDS)
    assert costs == pytest.approx({kind: value - base for kind, value in expected.items()})
    assert costs["classification"] > 0.2 and costs["localisation"] > 0.05


def test_counts_and_costs_are_those_of_tide():
    """tidecv 1.0.1 gave these figures for the same boxes, without crowds and with scores that all differ."""
    truth, found = random_boxes.draw(1, crowds=False)
    found.score = found.score + np.random.default_rng(1).uniform(0, 0.009, len(found))
    found = boxes.take(found, found.label < 3).best()
    matches = boxes.match(truth, found)
    kinds = breakdown.break_down(truth, found, matches)
    expected = {
        "classification": (18, 5.831), "localisation": (44, 15.132), "both": (13, 1.579),
        "duplicate": (31, 1.295), "background": (40, 5.647), "missed": (35, 9.406),
    }  # fmt: skip
    assert breakdown.counts(truth, matches, kinds) == {kind: count for kind, (count, _) in expected.items()}
    costs = breakdown.costs(truth, found, matches, kinds, 3)
    assert {kind: 100 * value for kind, value in costs.items()} == pytest.approx(
        {kind: cost for kind, (_, cost) in expected.items()}, abs=6e-4
    )


def test_every_wrong_detection_has_one_kind():
    truth, found = random_boxes.draw()
    matches = boxes.match(truth, found)
    kinds = breakdown.break_down(truth, found, matches)
    np.testing.assert_array_equal(kinds.kind >= 0, matches.wrong)
    counts = breakdown.counts(truth, matches, kinds)
    assert min(counts.values()) > 0
    assert sum(counts.values()) - counts["missed"] == matches.wrong.sum()


def test_without_objects_or_detections():
    truth, found = random_boxes.draw()
    none = boxes.take(found, np.zeros(len(found), bool))
    matches = boxes.match(truth, none)
    kinds = breakdown.break_down(truth, none, matches)
    assert breakdown.counts(truth, matches, kinds)["missed"] == (~truth.ignored).sum()
    assert np.isnan(breakdown.costs(truth, none, matches, kinds, 4)["missed"])  # no object would be left
    empty = boxes.take(truth, np.zeros(len(truth), bool))
    matches = boxes.match(empty, found)
    kinds = breakdown.break_down(empty, found, matches)
    assert kinds.of("background").all()
    assert np.isnan(list(breakdown.costs(empty, found, matches, kinds, 4).values())).all()
