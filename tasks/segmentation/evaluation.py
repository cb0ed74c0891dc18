"""Evaluating a segmentation model with PaddleSeg's own evaluation: mIoU, accuracy, kappa, and every class."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ...errors import UserError
from ...pictures.reading import read_picture
from ...reports import segmentation
from ...training.loading import safe_loading
from ..data import check_parts
from ..evaluation import check_output, class_lines, facts_of, on_engine, report_lines, write_evaluation
from .checks import check_test_config
from .data import class_names, open_dataset, palette
from .job import Job
from .weights import find_trained, load_trained

#: the keys of a configuration's test_config, and what PaddleSeg does without them
TEST_DEFAULTS = {
    "aug_eval": False,  # scales and flips count only with it
    "scales": 1.0,
    "flip_horizontal": False,
    "flip_vertical": False,
    "is_slide": False,  # crop_size and stride, (width, height) in pixels, count only with it
    "crop_size": None,
    "stride": None,
    "auc_roc": False,  # print the area under the ROC curve, for labels without ignored pixels
}
_SWITCH = {
    "scales": "aug_eval",
    "flip_horizontal": "aug_eval",
    "flip_vertical": "aug_eval",
    "crop_size": "is_slide",
    "stride": "is_slide",
}


def evaluate(
    job: Job,
    weights: str | Path | None = None,
    engine: Mapping[str, Any] | None = None,
    test_config: Mapping[str, Any] | None = None,
    report: str | Path | None = None,
) -> dict[str, Any]:
    """Evaluates on val_dataset and writes evaluation.json and classes.csv into the job's folder.

    Args:
        job: from `segmentation.config.load`.
        weights: as in `segmentation.weights.load_trained`.
        engine: options of `engines.open_network`; the model then runs on that engine.
        test_config: as in `inference_settings`.
        report: the folder of a report, see `reports.writing`; None for none.

    Returns:
        What `score` returns, and weights (path), file (evaluation.json, which holds the same; null where a value is
        nan) and report (report.html, if there is one).

    Raises:
        UserError: data that cannot be evaluated on; weights that are missing or of another model; test_config; a
            folder that cannot be written to.
    """
    inference_settings(job, test_config)
    find_trained(job, weights)
    check_parts(job, "val")
    trained = load_trained(job, weights)
    model = trained.model if engine is None else on_engine(trained.model, engine)
    # now, not after the hours that a large data set takes
    check_output(job, report, paddle.distributed.get_world_size())
    answers = None if report is None else segmentation.Answers(job.num_classes, job.ignore_index)
    result = {**score(model, job, test_config, answers), "weights": str(trained.path)}

    def find() -> segmentation.Findings:
        assert answers is not None
        files = [files[0] for files in open_dataset(job, "val").file_list]
        block = job.dic["val_dataset"]
        return segmentation.findings(
            job.name,
            answers,
            class_names(job),
            palette(job),
            lambda number: files[number],
            lambda number: read_picture(files[number], min_side=1),
            _figures(result),
            facts_of(result, block.get("val_path") or block.get("dataset_root")),
        )

    return write_evaluation(job, result, report, find)


def _figures(result):
    """(name, value, meaning) of what stands first in a report."""
    return [
        ("mIoU", f"{result['mIoU']:.3f}", "mean of the classes that some label holds"),
        ("accuracy", f"{result['accuracy']:.3f}", "share of the pixels that are right"),
        ("kappa", f"{result['kappa']:.3f}", "accuracy beyond chance"),
    ]


def describe(result: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of a result of `evaluate`."""
    columns = {"IoU": ".4f", "precision": ".4f", "recall": ".4f", "pixels": ","}
    absent = f"in no label, and left out of the mIoU: {', '.join(result['absent'])}"
    return [
        *class_lines(result["classes"], columns, "IoU"),
        *([absent] if result["absent"] else []),
        f"{result['weights']}: mIoU {result['mIoU']:.4f}, accuracy {result['accuracy']:.4f}, kappa "
        f"{result['kappa']:.4f} on {result['images']} pictures ({result['file']})",
        *report_lines(result),
    ]


def score(
    model: Any,
    job: Job,
    test_config: Mapping[str, Any] | None = None,
    answers: segmentation.Answers | None = None,
) -> dict[str, Any]:
    """Evaluates a model on val_dataset with PaddleSeg's `evaluate`. The model keeps its mode, training or eval.

    Args:
        model: a layer (N, channels, H, W) -> list of logits, of which the first, (N, classes, H, W), counts.
        job: from `segmentation.config.load`.
        test_config: as in `inference_settings`.
        answers: receives the answers to all pictures, for a report.

    Returns:
        mIoU, accuracy, kappa (at most 1; kappa is nan when there is one class only), images (their number), and

        - mIoU is the mean over the classes that some label holds. PaddleSeg itself counts the others as 0;
        - classes: list of {name, IoU and recall (None where no label holds the class), precision, pixels (labelled with
          it)};
        - absent: names of the classes that no label holds.

    Raises:
        UserError: test_config; no pixel is labelled.
    """
    settings = inference_settings(job, test_config)
    evaluation = importlib.import_module("paddleseg.core.val")
    dataset, training = open_dataset(job, "val"), model.training
    watching = nullcontext() if answers is None else _collecting(evaluation, answers)
    with _pixel_counts(evaluation.metrics) as counts, watching, np.errstate(invalid="ignore"), safe_loading(paddle.io):
        # its progress bar overwrites itself, which in a file makes one long line
        detail = sys.stdout.isatty()
        found = evaluation.evaluate(model, dataset, num_workers=job.num_workers, print_detail=detail, **settings)
    if training:
        model.train()
    _, accuracy, ious, precisions, kappa = found
    labelled = counts[2].numpy()
    if 0 <= job.ignore_index < len(labelled):
        labelled[job.ignore_index] = 0  # PaddleSeg counts these pixels as labelled, and nowhere else
    names, present = class_names(job), labelled > 0
    recalls = counts[0].numpy() / np.maximum(labelled, 1)
    rows = zip(names, ious, precisions, recalls, labelled)
    return {
        "mIoU": float(np.mean(ious[present])),
        "accuracy": float(accuracy),
        "kappa": float(kappa),
        "classes": [
            {
                "name": name,
                "IoU": float(iou) if pixels else None,
                "precision": float(precision),
                "recall": float(recall) if pixels else None,
                "pixels": int(pixels),
            }
            for name, iou, precision, recall, pixels in rows
        ],
        "absent": [name for name, pixels in zip(names, labelled) if not pixels],
        "images": len(dataset),
    }


@contextmanager
def _pixel_counts(metrics: Any) -> Iterator[list]:
    """Yields a list that PaddleSeg's evaluation fills: pixels per class in common, predicted and labelled.

    PaddleSeg returns only ratios, which do not tell an absent class from one that is never found.
    """
    counts, original = [], metrics.mean_iou

    def mean_iou(*areas):
        counts.extend(areas)
        if not int(areas[2].sum()):
            raise UserError("no pixel of val_dataset has a class, all are ignored; give label pictures with classes")
        return original(*areas)

    metrics.mean_iou = mean_iou
    try:
        yield counts
    finally:
        metrics.mean_iou = original


@contextmanager
def _collecting(evaluation: Any, answers: segmentation.Answers) -> Iterator[None]:
    """Within this context PaddleSeg's evaluation gives `answers` each picture's classes, label and probabilities."""
    infer, metrics = evaluation.infer, evaluation.metrics
    last: list[paddle.Tensor] = []
    before = infer.inference, infer.aug_inference, metrics.calculate_area

    def keeping(original):
        def inference(*arguments, **options):
            found = original(*arguments, **options)
            if isinstance(found, tuple):  # else it is one of several views of a picture
                last[:] = [found[1]]
            return found

        return inference

    def calculate_area(pred, label, *arguments, **options):
        def shares_of(step):
            return paddle.nn.functional.softmax(last[0][:, :, ::step, ::step], axis=1)[0].numpy()

        answers.add(pred.numpy()[0, 0], label.numpy()[0, 0], shares_of)
        return before[2](pred, label, *arguments, **options)

    infer.inference, infer.aug_inference = keeping(before[0]), keeping(before[1])
    metrics.calculate_area = calculate_area
    try:
        yield
    finally:
        infer.inference, infer.aug_inference, metrics.calculate_area = before


def inference_settings(job: Job, test_config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """How the model goes over a picture: the configuration's test_config, with some values replaced.

    Args:
        job: from `segmentation.config.load`.
        test_config: values that replace the configuration's; keys of `TEST_DEFAULTS`.

    Returns:
        A value for every key of `TEST_DEFAULTS`; scales is a list of floats.

    Raises:
        UserError: unknown key; a value out of range; a sliding window without its size; a value without effect.
    """
    given = dict(test_config or {})
    settings = {**job.test_config, **given}
    check_test_config(settings, "test_config")
    settings = {**TEST_DEFAULTS, **settings}
    for key, switch in _SWITCH.items():
        if key in given and given[key] != TEST_DEFAULTS[key] and not settings[switch]:
            raise UserError(f"{key}={given[key]!r} has no effect without {switch}; set {switch} too")
    scales = settings["scales"] if isinstance(settings["scales"], (list, tuple)) else [settings["scales"]]
    if not scales:
        raise UserError("test_config: scales is an empty list; give at least one scale, for example 1.0")
    settings["scales"] = [float(scale) for scale in scales]
    return settings
