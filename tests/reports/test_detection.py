"""A detector's findings: against pycocotools, and where something is missing."""

import faster_coco_eval
import numpy as np
import pytest
import random_boxes
from PIL import Image

from densebone import UserError
from densebone.reports import boxes, detection, writing
from densebone.reports.boxes import SIZES, Detections, Truth
from densebone.reports.coco import class_scores
from densebone.reports.curves import THRESHOLDS

NAMES = ["cat", "<b>dog</b>", "鳥", "never"]
NOTHING = Detections(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4)), np.zeros(0))


def evaluated(truth, found, scores=None, names=NAMES, read=None):
    """What an evaluation gives to a report, on gray pictures of 450 x 450 pixels."""
    count = 1 + max([*truth.picture.tolist(), *found.picture.tolist()], default=0)
    return detection.Evaluated(
        names=names,
        pictures=[f"{number}.jpg" for number in range(count)],
        read=read or (lambda number: Image.new("RGB", (450, 450), "gray")),
        truth=truth,
        found=found,
        scores=scores or {"AP50": np.full(len(names), 0.5)},
        figures=[("AP", "0.5", "")],
        facts=[("weights", "w")],
    )


@pytest.fixture(scope="module")
def made():
    truth, found = random_boxes.draw()
    return truth, found, detection.findings("job", evaluated(truth, found))


@pytest.mark.parametrize("kind", [None, faster_coco_eval.COCOeval_faster])
def test_figures_of_classes_are_those_of_pycocotools(kind):
    """AP of each class, and by size, from the arrays of pycocotools and of faster-coco-eval, against own means."""
    truth, found = random_boxes.draw(3)
    arrays = random_boxes.coco_evaluation(truth, found).eval
    evaluation = random_boxes.coco_evaluation(truth, found, kind=kind)
    scores = class_scores(evaluation.params.catIds, evaluation.eval["precision"], evaluation.eval["recall"])
    assert list(scores.categories) == [1, 2, 3, 4]
    for label in range(3):
        usual = arrays["precision"][:, :, label, 0, 2]
        assert scores.values["AP"][label] == pytest.approx(usual.mean())
        assert scores.values["AP50"][label] == pytest.approx(usual[0].mean())
        assert scores.values["AP75"][label] == pytest.approx(usual[5].mean())
        assert scores.values["AR"][label] == pytest.approx(arrays["recall"][:, label, 0, 2].mean())
        for place, (name, _, _) in enumerate(SIZES, 1):
            expected = arrays["precision"][:, :, label, place, 2].mean()
            assert scores.values[f"AP_{name}"][label] == pytest.approx(
                np.nan if expected < 0 else expected, nan_ok=True
            )
    assert all(np.isnan(column[3]) for column in scores.values.values())


def test_rows_curves_and_matrix_belong_together(made):
    truth, found, findings = made
    matches = boxes.match(truth, found)
    for number, row in enumerate(findings.classes[:3]):
        kept = (found.label == number) & (found.score >= row["threshold"] - 1e-9)
        assert (row["right"], row["wrong"]) == ((kept & matches.right).sum(), (kept & matches.wrong).sum())
        assert row["best_precision"] == pytest.approx(row["right"] / (row["right"] + row["wrong"]))
        assert row["best_recall"] == pytest.approx(row["right"] / row["objects"])
        assert row["missed"] == row["objects"] - row["right"]
        assert findings.matrix[number, number] == row["right"]
        assert findings.matrix[number].sum() == row["objects"]
        assert findings.matrix[:, number].sum() == row["right"] + row["wrong"]
        assert row["threshold"] in THRESHOLDS
    last = findings.classes[3]
    assert last["objects"] == 0 and last["threshold"] is None and np.isnan(last["AP50_small"])
    assert findings.names == [*NAMES, "(background)"]
    precision = findings.metrics["curves"]["precision"]
    assert list(precision) == NAMES[:3]
    expected = random_boxes.coco_evaluation(truth, found).eval["precision"][0, :, :3, 0, 2].T
    np.testing.assert_allclose([*precision.values()], expected, atol=6e-5)


def test_sizes_and_errors(made):
    truth, found, findings = made
    arrays = random_boxes.coco_evaluation(truth, found).eval["precision"][0, :, :3, :, 2].mean(0)
    for place, (name, least, most) in enumerate(SIZES, 1):
        row, there = findings.metrics["sizes"][name], arrays[:, place] > -1
        assert row["AP50"] == pytest.approx(arrays[there, place].mean())
        assert row["objects"] == ((truth.area >= least) & (truth.area <= most) & ~truth.ignored).sum()
    errors = findings.metrics["errors"]
    assert sum(row["all"] for kind, row in errors.items() if kind != "missed") == boxes.match(truth, found).wrong.sum()
    assert all(row["count"] <= row["all"] for kind, row in errors.items() if kind != "missed")


def test_the_worst_pictures_come_first(made, tmp_path):
    truth, _, findings = made
    assert len(findings.cases) == 24
    first = findings.cases[0]
    assert first.title.startswith("0 right")
    assert [drawing.name for drawing in first.drawings] == ["truth", "prediction"]
    number = int(first.file.removesuffix(".jpg"))
    objects = int(((truth.picture == number) & ~truth.ignored).sum())
    assert first.title.endswith(f"{objects} missed")
    text = writing.write_report(tmp_path, findings).read_text(encoding="utf-8")
    assert "&lt;b&gt;dog&lt;/b&gt;" in text and "<b>dog" not in text and "鳥" in text
    assert len(list(tmp_path.glob("worst/*.jpg"))) == 48


def test_a_picture_that_cannot_be_read_any_more(tmp_path):
    def gone(number):
        raise UserError(f"{number}.jpg: no such file")

    truth, found = random_boxes.draw()
    findings = detection.findings("job", evaluated(truth, found, read=gone))
    assert {case.fault for case in findings.cases} == {"no such file"}
    assert "cannot be shown: no such file" in writing.write_report(tmp_path, findings).read_text(encoding="utf-8")


@pytest.mark.parametrize("case", ["nothing found", "nothing there", "crowds alone", "one picture", "one class"])
def test_where_something_is_missing(case, tmp_path):
    truth, found = random_boxes.draw()
    names = NAMES
    if case == "nothing found":
        found = NOTHING
    elif case == "nothing there":
        truth = boxes.take(truth, np.zeros(len(truth), bool))
    elif case == "crowds alone":
        truth = boxes.take(truth, truth.crowd)
    elif case == "one picture":
        truth, found = boxes.take(truth, truth.picture == 5), boxes.take(found, found.picture == 5)
        truth.picture[:], found.picture[:] = 0, 0
    else:
        truth.label[:], found.label[:], names = 0, 0, ["thing"]
    findings = detection.findings("job", evaluated(truth, found, names=names))
    assert findings.matrix[: len(names)].sum() == (~truth.ignored).sum()
    assert writing.write_report(tmp_path, findings).stat().st_size > 10_000


def test_a_perfect_detector_has_no_worst_pictures(tmp_path):
    truth, _ = random_boxes.draw(crowds=False)
    found = Detections(truth.picture, truth.label, truth.boxes, np.full(len(truth), 0.9)).best()
    findings = detection.findings("job", evaluated(truth, found))
    assert findings.cases == [] and "No picture went wrong" in writing.write_report(tmp_path, findings).read_text()
    assert all(row["best_F1"] == 1 for row in findings.classes[:3])


def test_what_finds_a_crowd_counts_neither_way():
    box = np.array([[10, 10, 40, 40.0]])
    crowd = np.array([True])
    truth = Truth(np.array([0, 0]), np.array([0, 0]), np.vstack([box, box + 100]), np.full(2, 1600.0),
                  np.array([True, False]), np.array([True, False]))  # fmt: skip
    found = Detections(np.zeros(3, int), np.zeros(3, int), np.vstack([box, box, box + 100]), np.array([0.9, 0.8, 0.7]))
    findings = detection.findings("job", evaluated(truth, found, names=["thing"]))
    row = findings.classes[0]
    assert crowd.all() and (row["objects"], row["right"], row["wrong"], row["missed"]) == (1, 1, 0, 0)
    assert findings.cases == []
