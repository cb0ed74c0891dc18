"""Evaluating a segmentation model with PaddleSeg's own evaluation: mIoU, accuracy, kappa, and every class."""

import importlib
import json
import math
import sys
from contextlib import contextmanager

import numpy as np

from ...engines.opening import EngineLayer, open_network
from ...errors import UserError
from ...system.files import atomic_path, check_writable
from .checks import check_test_config
from .data import check_dataset, class_names
from .weights import load_segmenter

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


def evaluate(job, weights=None, test_config=None, engine=None):
    """Evaluates on val_dataset and writes evaluation.json into the job's folder.

    Args:
        job: from `segmentation.config.load`.
        weights (str | None): as in `segmentation.weights.load_segmenter`.
        test_config (dict | None): as in `inference_settings`.
        engine (dict | None): options of `engines.open_network`, which is then to run the model.

    Returns:
        dict: what `score` returns, and weights, file (the JSON that holds the same; null where a value is nan).

    Raises:
        UserError: data that cannot be evaluated on; weights that are missing or of another model; test_config; a
            folder that cannot be written to.
    """
    inference_settings(job, test_config)
    for note in check_dataset(job, "val"):
        print(f"note: {note}", file=sys.stderr)
    model = job.builder.model
    path = load_segmenter(model, job, weights)
    if engine is not None:
        model = on_engine(model, engine)
    check_writable(job.folder)  # before the hours that a large set takes, not after
    result = {**score(model, job, test_config), "weights": str(path)}
    file = job.folder / "evaluation.json"
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(_without_nan(result), indent=1))
    return {**result, "file": str(file)}


def on_engine(model, options):
    """A trained model as a layer that an engine runs; `options` are those of `engines.open_network`."""
    model.eval()
    engine = open_network(model, **options)
    print(f"engine: {engine.description}", file=sys.stderr)
    return EngineLayer(engine)


def score(model, job, test_config=None):
    """What PaddleSeg's `evaluate` finds for a model on val_dataset; the model stays in the mode it was in.

    Args:
        model (paddle.nn.Layer): (N, channels, H, W) -> list of logits, of which the first (N, classes, H, W) counts.
        job: from `segmentation.config.load`.
        test_config (dict | None): as in `inference_settings`.

    Returns:
        dict: mIoU, accuracy, kappa (at most 1; kappa is nan when one class is all there is), images, and

        - classes: list of {name, IoU, precision, pixels (those labelled so)};
        - absent: names of the classes that no label and no prediction holds: their IoU is 0 / 0, and PaddleSeg
          counts it as 0 in the mean.

    Raises:
        UserError: test_config; no pixel is labelled.
    """
    settings = inference_settings(job, test_config)
    evaluation = importlib.import_module("paddleseg.core.val")
    dataset, training = job.builder.val_dataset, model.training
    with _pixel_counts(evaluation.metrics) as counts, np.errstate(invalid="ignore"):
        # its progress bar overwrites itself, which in a file makes one long line
        detail = sys.stdout.isatty()
        found = evaluation.evaluate(model, dataset, num_workers=job.num_workers, print_detail=detail, **settings)
    if training:
        model.train()
    miou, accuracy, ious, precisions, kappa = found
    common, predicted, labelled = (area.numpy() for area in counts)
    names = class_names(job)
    rows = zip(names, ious, precisions, labelled)
    return {
        "mIoU": float(miou),
        "accuracy": float(accuracy),
        "kappa": float(kappa),
        "classes": [{"name": n, "IoU": float(i), "precision": float(p), "pixels": int(k)} for n, i, p, k in rows],
        "absent": [name for name, pixels in zip(names, predicted + labelled - common) if not pixels],
        "images": len(dataset),
    }


@contextmanager
def _pixel_counts(metrics):
    """Yields a list that PaddleSeg's evaluation fills: pixels per class in common, predicted and labelled.

    It keeps them to itself and returns ratios, which do not tell an absent class from one that is never found.
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


def inference_settings(job, test_config=None):
    """How pictures are put through the model: the configuration's test_config with other values.

    Args:
        job: from `segmentation.config.load`.
        test_config (dict | None): values that replace the configuration's; keys of `TEST_DEFAULTS`.

    Returns:
        dict with all keys of `TEST_DEFAULTS`; scales is a list of floats.

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


def _without_nan(result):
    """JSON has no nan."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in result.items()}
