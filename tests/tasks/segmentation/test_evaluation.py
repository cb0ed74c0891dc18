"""PaddleSeg's figures against a confusion matrix of our own, however the pictures are put through the model."""

import json
import math

import numpy as np
import paddle
import pytest

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
import tiny_training
from PIL import Image

from densebone.errors import UserError
from densebone.tasks.segmentation.evaluation import evaluate, inference_settings, score

NORMALIZE = [{"type": "Normalize"}]
WAYS = {
    "plain": {},
    "flipped": {"aug_eval": True, "flip_horizontal": True},
    "flipped both ways at three scales": {
        "aug_eval": True, "flip_horizontal": True, "flip_vertical": True, "scales": [0.75, 1.0, 1.5],
    },
    "window that divides the picture": {"is_slide": True, "crop_size": [32, 16], "stride": [16, 16]},
    "window that does not": {"is_slide": True, "crop_size": [40, 24], "stride": [17, 11]},
    "window larger than the picture": {"is_slide": True, "crop_size": [128, 20], "stride": [64, 12]},
    "window at two scales": {
        "aug_eval": True, "scales": [0.5, 2.0], "is_slide": True, "crop_size": [48, 24], "stride": [32, 16],
    },
}  # fmt: skip


@pytest.fixture
def job(tmp_path):
    paddle.seed(3)
    tiny = tiny_training.job(tiny_training.write(tmp_path))
    for index in range(tiny_training.PICTURES):
        file = tmp_path / f"{index}_label.png"
        label = np.array(Image.open(file))
        label[index : index + 5, 3:20] = 255
        Image.fromarray(label).save(file)
    tiny.builder.model.head.weight.set_value(tiny.builder.model.head.weight * 5)
    return tiny


def resized(x, height, width):
    """(1, C, h, w), bilinearly; pixel centres at halves."""

    def weights(before, after):
        at = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
        low = np.minimum(at.astype(int), max(before - 2, 0))
        matrix = np.zeros((after, before))
        matrix[np.arange(after), low] = 1 - (at - low)
        matrix[np.arange(after), np.minimum(low + 1, before - 1)] += at - low
        return matrix

    return (weights(x.shape[2], height) @ x @ weights(x.shape[3], width).T).astype("float32")


def logits_of(model, x, way):
    """(1, 3, H, W) -> logits, by windows or as a whole."""
    run = lambda part: model(paddle.to_tensor(np.ascontiguousarray(part)))[0].numpy()  # noqa: E731
    if not way.get("is_slide"):
        return run(x)
    (width, height), (right, down) = way["crop_size"], way["stride"]
    height, width = min(height, x.shape[2]), min(width, x.shape[3])
    starts = [
        sorted({min(start, whole - side) for start in range(0, whole - side + step, step)})
        for whole, side, step in ((x.shape[2], height, down), (x.shape[3], width, right))
    ]
    total, count = 0.0, np.zeros(x.shape[2:])
    for top in starts[0]:
        for left in starts[1]:
            part = run(x[:, :, top : top + height, left : left + width])
            margins = (top, x.shape[2] - top - height), (left, x.shape[3] - left - width)
            total = total + np.pad(part, ((0, 0), (0, 0), *margins))
            count += np.pad(np.ones((height, width)), margins)
    assert count.min() > 0
    return total / count


def classes_of(model, picture, way):
    """uint8 (H, W, 3) -> (H, W)."""
    x = ((picture.astype("float32") / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None]
    if not way.get("aug_eval"):
        return logits_of(model, x, way)[0].argmax(0)
    total = 0.0
    for scale in way.get("scales", [1.0]):
        small = resized(x, int(32 * scale + 0.5), int(64 * scale + 0.5))
        for axes in [(), (3,), (2,), (2, 3)]:
            if (3 in axes and not way.get("flip_horizontal")) or (2 in axes and not way.get("flip_vertical")):
                continue
            total = total + resized(np.flip(logits_of(model, np.flip(small, axes), way), axes), 32, 64)
    return total[0].argmax(0)


def figures(job, way, classes):
    """Confusion matrix over the data set, and what follows from it."""
    matrix = np.zeros((classes, classes))
    job.builder.model.eval()
    for image, label in job.builder.val_dataset.file_list:
        label = np.array(Image.open(label))
        found = classes_of(job.builder.model, np.array(Image.open(image)), way)
        np.add.at(matrix, (label[label != 255], found[label != 255]), 1)
    right, labelled, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    iou = right / np.maximum(labelled + predicted - right, 1)
    chance = (labelled * predicted).sum() / matrix.sum() ** 2
    accuracy = right.sum() / matrix.sum()
    return {
        "mIoU": iou.mean(), "accuracy": accuracy, "kappa": (accuracy - chance) / (1 - chance), "IoU": iou,
        "precision": right / np.maximum(predicted, 1), "pixels": labelled, "predicted": predicted,
    }  # fmt: skip


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_figures_are_those_of_a_confusion_matrix(job, way):
    expected = figures(job, way, 3)
    assert (expected["predicted"] > 50).all(), "too easy: a class is hardly predicted"
    found = score(job.builder.model, job, way)
    off = 1e-3 if way.get("scales") else 1e-9  # a rounding error may turn a pixel on the edge of two classes
    for key in ("mIoU", "accuracy", "kappa"):
        assert found[key] == pytest.approx(expected[key], abs=off)
    for key in ("IoU", "precision"):
        assert [row[key] for row in found["classes"]] == pytest.approx(list(expected[key]), abs=3 * off)
    assert [row["pixels"] for row in found["classes"]] == expected["pixels"].tolist()
    assert [row["name"] for row in found["classes"]] == ["class 0", "class 1", "class 2"]
    assert (found["images"], found["absent"]) == (6, [])


def test_ways_differ(job):
    found = {json.dumps(score(job.builder.model, job, way)["classes"]) for way in WAYS.values()}
    assert len(found) == len(WAYS)


def test_an_absent_class_is_named_and_left_out_of_the_mean(tmp_path):
    four = [f"{part}.num_classes=4" for part in ("model", "train_dataset", "val_dataset")]
    job = tiny_training.job(tiny_training.write(tmp_path), *four, "class_names=[a,b,c,d]")
    model = job.builder.model
    model.head.bias.set_value(paddle.to_tensor([0.0, 0, 0, -1000]))
    found = score(model, job)
    assert found["absent"] == ["d"]
    assert found["classes"][3] == {"name": "d", "IoU": None, "precision": 0.0, "recall": None, "pixels": 0}
    assert found["mIoU"] == pytest.approx(sum(row["IoU"] for row in found["classes"][:3]) / 3)
    model.head.bias.set_value(paddle.to_tensor([0.0, 0, 0, 1000]))  # found everywhere, which the others pay for
    found = score(model, job)
    assert (found["absent"], found["mIoU"]) == (["d"], 0)


def test_the_model_stays_in_its_mode_and_the_configuration_says_how(job):
    model = job.builder.model
    model.train()
    plain = score(model, job)
    assert model.training
    model.eval()
    assert score(model, job) == plain
    assert not model.training
    job.dic["test_config"] = WAYS["flipped"]
    assert score(model, job) != plain
    assert score(model, job, {"aug_eval": False}) == plain


def test_evaluate_writes_what_it_found(job, tmp_path):
    paddle.save(job.builder.model.state_dict(), str(tmp_path / "mine.pdparams"))
    result = evaluate(job, tmp_path / "mine.pdparams", test_config=WAYS["flipped"])
    file = job.folder / "evaluation.json"
    assert (result["file"], result["weights"]) == (str(file), str(tmp_path / "mine.pdparams"))
    written = json.loads(file.read_text())
    assert written == {key: value for key, value in result.items() if key != "file"}
    assert {key: result[key] for key in ("mIoU", "kappa")} == {
        key: score(job.builder.model, job, WAYS["flipped"])[key] for key in ("mIoU", "kappa")
    }


def test_kappa_of_a_single_class_is_no_number(job, tmp_path):
    for index in range(tiny_training.PICTURES):
        Image.fromarray(np.zeros((32, 64), np.uint8)).save(tmp_path / f"{index}_label.png")
    job.builder.model.head.bias.set_value(paddle.to_tensor([1000.0, 0, 0]))
    paddle.save(job.builder.model.state_dict(), str(tmp_path / "mine.pdparams"))
    result = evaluate(job, tmp_path / "mine.pdparams")
    assert result["accuracy"] == 1
    assert math.isnan(result["kappa"])
    assert json.loads((job.folder / "evaluation.json").read_text())["kappa"] is None


def test_labels_that_are_all_ignored(job, tmp_path):
    for index in range(tiny_training.PICTURES):
        Image.fromarray(np.full((32, 64), 255, np.uint8)).save(tmp_path / f"{index}_label.png")
    with pytest.raises(UserError, match="every pixel of the labels is 255, which does not count"):
        score(job.builder.model, job)


WRONG = {
    "no key 'flip'": {"flip": True},
    "scales are 'two'": {"scales": "two", "aug_eval": True},
    "scales is an empty list": {"scales": [], "aug_eval": True},
    "scales=2.0 has no effect without aug_eval; set aug_eval": {"scales": 2.0},
    "has no effect without is_slide": {"crop_size": [32, 32]},
    "is_slide needs stride": {"is_slide": True, "crop_size": [32, 32]},
    "larger than crop_size": {"is_slide": True, "crop_size": [32, 32], "stride": [32, 33]},
}


@pytest.mark.parametrize("words", WRONG)
def test_settings_that_cannot_be_followed(job, words):
    with pytest.raises(UserError, match=words):
        inference_settings(job, WRONG[words])


def test_a_scale_may_be_a_whole_number(job):
    assert inference_settings(job, {"aug_eval": True, "scales": 1})["scales"] == [1.0]
    assert inference_settings(job)["is_slide"] is False


def test_a_folder_that_cannot_be_written_to_is_found_before_the_work(job, tmp_path, monkeypatch):
    paddle.save(job.builder.model.state_dict(), str(tmp_path / "mine.pdparams"))
    job.save_dir = str(tmp_path / "mine.pdparams")
    monkeypatch.setattr("densebone.tasks.segmentation.evaluation.score", lambda *_: pytest.fail("it evaluated"))
    with pytest.raises(UserError, match="cannot write into the folder"):
        evaluate(job, str(tmp_path / "mine.pdparams"))


@pytest.mark.parametrize("way", ["plain", "flipped", "window that does not"])
def test_a_report_counts_what_the_evaluation_counts(job, tmp_path, way):
    paddle.save(job.builder.model.state_dict(), str(tmp_path / "mine.pdparams"))
    result = evaluate(job, tmp_path / "mine.pdparams", test_config=WAYS[way], report=tmp_path / "report")
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    for key in ("IoU", "precision", "recall", "pixels"):
        assert [row[key] for row in metrics["classes"]] == pytest.approx([row[key] for row in result["classes"]])
    assert metrics["pictures"] == tiny_training.PICTURES and metrics["mIoU"] == pytest.approx(result["mIoU"])
    # every labelled pixel is in the calibration, and its accuracy is the evaluation's
    bins = metrics["calibration"]["bins"]
    counts, shares = np.array(bins["count"]), np.array([share or 0 for share in bins["accuracy"]])
    assert counts.sum() == sum(row["pixels"] for row in result["classes"])
    assert (counts * shares).sum() / counts.sum() == pytest.approx(result["accuracy"])
    assert {case["file"] for case in metrics["worst"]} == {
        str(tmp_path / f"{n}.png") for n in range(tiny_training.PICTURES)
    }
    assert result["report"] == str(tmp_path / "report" / "report.html")
