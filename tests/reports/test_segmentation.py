"""A segmentation model's and a classifier's findings, against scikit-learn and counts by hand."""

import itertools

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

from densebone.reports import classification, segmentation, worst, writing

CLASSES, IGNORED = 4, 255
NAMES = ["road", "<i>sky</i>", "木", "never"]
PALETTE = np.arange(768, dtype=np.uint8).reshape(256, 3)


def pictures(count=30, size=(40, 56), seed=0):
    """[(answer, label, shares (C, H, W))]: class 3 is in no label, a part of each label is ignored."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        label = np.kron(rng.integers(0, 3, (5, 7)), np.ones((size[0] // 5, size[1] // 7), int))
        label[:3] = IGNORED
        logits = rng.normal(0, 1, (CLASSES, *size)) + rng.uniform(0.5, 2) * np.eye(CLASSES)[label % CLASSES].T.swapaxes(
            1, 2
        )
        shares = np.exp(logits) / np.exp(logits).sum(0)
        found.append((shares.argmax(0), label, shares))
    return found


def collect(found):
    answers = segmentation.Answers(CLASSES, IGNORED)
    for answer, label, shares in found:
        answers.add(answer, label, lambda step, s=shares: s[:, ::step, ::step])
    return answers


def made(answers):
    read = lambda number: Image.new("RGB", (56, 40), "gray")  # noqa: E731
    return segmentation.findings("job", answers, NAMES, PALETTE, "{}.png".format, read, [], [])


def test_figures_are_those_of_scikit_learn(tmp_path):
    found = pictures()
    label, answer = (np.concatenate([row[place].ravel() for row in found]) for place in (1, 0))
    label, answer = label[label != IGNORED], answer[label != IGNORED]
    findings = made(collect(found))
    np.testing.assert_array_equal(findings.matrix, metrics.confusion_matrix(label, answer, labels=range(CLASSES)))
    iou = metrics.jaccard_score(label, answer, labels=range(3), average=None)
    precision, recall, f1, pixels = metrics.precision_recall_fscore_support(label, answer, labels=range(3))
    rows = findings.classes
    for key, values in {"IoU": iou, "precision": precision, "recall": recall, "F1": f1, "pixels": pixels}.items():
        assert [row[key] for row in rows[:3]] == pytest.approx(values)
    assert rows[3]["pixels"] == 0 and np.isnan(rows[3]["IoU"])
    text = writing.write_report(tmp_path, findings).read_text(encoding="utf-8")
    assert "&lt;i&gt;sky" in text and "<i>" not in text and "at most" not in text


def test_thresholds_and_calibration_count_every_pixel_of_small_pictures():
    found = pictures()
    answers = collect(found)
    shares = np.concatenate([np.moveaxis(s, 0, -1)[label != IGNORED] for _, label, s in found])
    label = np.concatenate([label[label != IGNORED] for _, label, _ in found])
    for number, best in enumerate(answers.counts.best()[:3]):
        expected = metrics.f1_score(label == number, shares[:, number] >= best.threshold)
        assert best.f1 == pytest.approx(expected)
    confidence, right = shares.max(1), shares.argmax(1) == label
    edges = np.linspace(0, 1, 16)
    gaps = []
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        gaps.append(abs(confidence[inside].sum() - right[inside].sum()) / len(label))
    assert answers.calibration.error() == pytest.approx(sum(gaps))


def test_large_pictures_are_thinned(monkeypatch):
    monkeypatch.setattr(segmentation, "PIXELS", 600)
    found = pictures(count=2)
    answers = collect(found)
    assert answers.largest_step == 2  # 40 x 56 pixels
    counted = sum(int((label[::2, ::2] != IGNORED).sum()) for _, label, _ in found)
    assert answers.calibration.count.sum() == answers.counts.truths.sum() == counted
    assert answers.matrix.sum() == sum(int((label != IGNORED).sum()) for _, label, _ in found)
    text = [section.text for section in made(answers).page.sections]
    assert sum("at most 600 pixels of a picture" in line for line in text) == 2


def test_the_worst_pictures_are_those_with_the_lowest_mean_iou():
    found = pictures(count=40)
    scores = []
    for answer, label, _ in found:
        counts = label != IGNORED
        present = np.union1d(label[counts], answer[counts])
        scores.append(metrics.jaccard_score(label[counts], answer[counts], labels=present, average="macro"))
    kept = collect(found).worst()
    assert [row[0] for row in kept] == np.argsort(scores, kind="stable")[: worst.LIMIT].tolist()
    assert [row[1] for row in kept] == pytest.approx(np.sort(scores)[: worst.LIMIT])
    case = made(collect(found)).cases[0]
    assert [drawing.name for drawing in case.drawings] == ["truth", "prediction"] and len(case.lines) >= 3


def test_labels_of_the_worst_are_kept_small():
    label = np.zeros((2000, 1000), int)
    label[:, 500:] = 2
    answers = segmentation.Answers(CLASSES, IGNORED)
    answers.add(np.zeros_like(label), label, lambda step: np.full((4, *label[::step, ::step].shape), 0.25))
    _, score, _, small, answer = answers.worst()[0]
    assert small.shape == answer.shape == (480, 240) and score == pytest.approx(0.25)
    assert (small[:, :120] == 0).all() and (small[:, 120:] == 2).all()


def test_labels_that_are_all_ignored_and_perfect_answers():
    label = np.full((8, 8), IGNORED)
    answers = segmentation.Answers(CLASSES, IGNORED)
    shares = np.full((4, 8, 8), 0.25)
    answers.add(np.zeros_like(label), label, lambda step: shares)
    answers.add(np.ones_like(label), np.ones_like(label), lambda step: shares)
    assert answers.images == 2 and answers.worst() == [] and answers.matrix.sum() == 64
    assert made(answers).page.sections[-1].text == "No picture went wrong."


def test_a_classifier():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 200)
    logits = rng.normal(0, 1, (200, CLASSES)) + 1.2 * np.eye(CLASSES)[label]
    answers = classification.Answers(CLASSES)
    for part in (np.arange(120), np.arange(120, 200)):
        answers.add(part, label[part], logits[part].astype(np.float32))
    read = lambda number: Image.new("RGB", (56, 40), "gray")  # noqa: E731
    findings = classification.findings("job", answers, NAMES, "{}.png".format, read, [], [])
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    answer = logits.argmax(1)
    precision, recall, f1, count = metrics.precision_recall_fscore_support(label, answer, labels=range(3))
    expected = {"precision": precision, "accuracy": recall, "F1": f1, "pictures": count}
    for key, values in expected.items():
        assert [row[key] for row in findings.classes[:3]] == pytest.approx(values)
    rounded = np.floor(shares * 1000) / 1000
    ap = [metrics.average_precision_score(label == number, rounded[:, number]) for number in range(3)]
    assert [row["AP"] for row in findings.classes[:3]] == pytest.approx(ap, abs=1e-3)
    wrong = np.flatnonzero(answer != label)
    order = wrong[np.argsort(shares[wrong, label[wrong]])]
    assert [case.file for case in findings.cases] == [f"{n}.png" for n in order[: worst.LIMIT]]
    first = order[0]
    assert findings.cases[0].title == f"{NAMES[label[first]]} taken for {NAMES[answer[first]]}"
