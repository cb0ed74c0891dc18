"""Matching and average precision, against pycocotools."""

import numpy as np
import pytest
import random_boxes
from pycocotools import mask

from densebone.reports import boxes
from densebone.reports.boxes import Detections, Truth

TRUTH, FOUND = random_boxes.draw()
COCO = random_boxes.coco_evaluation(TRUTH, FOUND)
# places in pycocotools' arrays: [iou, recall, class, size, limit]
IOU_50, ALL_SIZES, LIMIT_100 = 0, 0, 2


def test_overlaps_are_those_of_pycocotools():
    own = boxes.overlaps(FOUND.boxes, TRUTH.boxes, TRUTH.crowd)
    theirs = mask.iou(FOUND.boxes, TRUTH.boxes, TRUTH.crowd.astype(int).tolist())
    assert TRUTH.crowd.any() and (own > 0).sum() > 200
    np.testing.assert_allclose(own, theirs, rtol=0, atol=1e-15)


@pytest.mark.parametrize("step", range(10))
def test_ap_of_each_class_at_each_iou_is_that_of_pycocotools(step):
    matches = boxes.match(TRUTH, FOUND, COCO.params.iouThrs[step])
    counted = ~matches.ignored
    found = boxes.average_precision(
        FOUND.label[counted], FOUND.score[counted], matches.right[counted], TRUTH.per_class(random_boxes.CLASSES)
    )
    expected = COCO.eval["precision"][step, :, :, ALL_SIZES, LIMIT_100].mean(0)
    assert np.isnan(found[-1]) and expected[-1] == -1 and len(set(found[:-1])) == 3
    np.testing.assert_allclose(found[:-1], expected[:-1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("size", range(3))
def test_ap_by_size_is_that_of_pycocotools(size):
    _, least, most = boxes.SIZES[size]
    matches = boxes.match(TRUTH, FOUND, 0.5, (least, most))
    inside = (TRUTH.area >= least) & (TRUTH.area <= most)
    counted = ~matches.ignored
    for label in range(3):
        own = counted & (FOUND.label == label)
        truths = int((inside & ~TRUTH.crowd & (TRUTH.label == label)).sum())
        found = boxes.precision_at_recalls(FOUND.score[own], matches.right[own], truths)
        np.testing.assert_array_equal(found, COCO.eval["precision"][IOU_50, :, label, size + 1, LIMIT_100])


def test_the_curve_is_that_of_pycocotools():
    matches = boxes.match(TRUTH, FOUND)
    for label in range(3):
        own = ~matches.ignored & (FOUND.label == label)
        truths = TRUTH.per_class(4)[label]
        found = boxes.precision_at_recalls(FOUND.score[own], matches.right[own], truths)
        np.testing.assert_array_equal(found, COCO.eval["precision"][IOU_50, :, label, ALL_SIZES, LIMIT_100])


def test_only_the_best_of_each_class_in_a_picture_count():
    many = Detections(np.zeros(5, int), np.array([1, 0, 1, 1, 0]), np.ones((5, 4)), np.array([0.1, 0.2, 0.9, 0.5, 0.3]))
    best = many.best(2)
    assert best.score.tolist() == [0.9, 0.5, 0.3, 0.2] and best.label.tolist() == [1, 1, 0, 0]


def test_a_difficult_object_need_not_be_found():
    truth = Truth(
        np.zeros(2, int), np.zeros(2, int), np.array([[0, 0, 10, 10], [50, 50, 10, 10.0]]), np.full(2, 100.0),
        np.array([False, True]), np.zeros(2, bool),
    )  # fmt: skip
    found = Detections(np.zeros(3, int), np.zeros(3, int), truth.boxes[[0, 1, 1]], np.array([0.9, 0.8, 0.7]))
    matches = boxes.match(truth, found)
    # the second box on a difficult object is an error: only a crowd may be found twice
    assert matches.right.tolist() == [True, False, False] and matches.wrong.tolist() == [False, False, True]
    assert truth.per_class(1).tolist() == [1]


def test_nothing_found_and_nothing_there():
    nothing = Detections(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4)), np.zeros(0)).best()
    matches = boxes.match(TRUTH, nothing)
    assert len(matches.truth) == 0
    found = boxes.average_precision(nothing.label, nothing.score, matches.right, TRUTH.per_class(4))
    assert found[:3].tolist() == [0, 0, 0] and np.isnan(found[3])
    empty = boxes.take(TRUTH, np.zeros(len(TRUTH), bool))
    assert boxes.match(empty, FOUND).wrong.all()
