"""Evaluating a trained detector with PaddleDetection's trainer and pycocotools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import distributed
from ppdet.data import reader
from ppdet.engine import Trainer
from ppdet.engine.callbacks import Callback
from ppdet.metrics import VOCMetric

from ...datasets.coco import whole_ids
from ...errors import UserError
from ...pictures.reading import read_picture
from ...reports import detection
from ...reports.writing import Findings
from ...training.loading import safe_loading
from ..data import check_parts
from ..evaluation import check_output, class_lines, facts_of, report_lines, write_evaluation
from .acceleration import on_engine
from .classes import class_names
from .classwise import BoxCollector, class_rows, coco_values, truth_of, voc_values
from .data import using
from .job import Job
from .scoring import fast_scores
from .weights import find_trained, load_trained


def evaluate(
    job: Job,
    weights: str | Path | None = None,
    engine: Mapping[str, Any] | None = None,
    report: str | Path | None = None,
) -> dict[str, Any]:
    """Evaluates on EvalDataset and writes evaluation.json and classes.csv into the job's folder.

    Args:
        job: from `detection.config.load`.
        weights: as in `detection.weights.load_trained`.
        engine: options of `engines.open_network`; as much of the detector as possible then runs on that engine.
        report: the folder of a report, see `reports.writing`; None for none.

    Returns:
        AP and AP50 (0..1), images (their number), classes (list of {name, objects, AP, AP50, ...}; empty for data that
        is neither COCO's nor VOC's), weights (path), file (evaluation.json, which holds the same), report (report.html,
        if there is one).

    Raises:
        UserError: data that cannot be evaluated on; weights that are missing or of another detector; a folder that
            cannot be written to.
    """
    find_trained(job, weights)
    check_parts(job, "val")
    check_output(job, report, distributed.get_world_size())
    annotations, names = job.checked["val"][0], class_names(job)
    if report is not None and annotations is None:
        raise UserError("--report needs a data set in COCO's or VOC's format; leave it out")
    job.cfg.setdefault("output_eval", str(job.folder))  # else PaddleDetection writes bbox.json into the current folder
    collector = BoxCollector()
    with using(job, "val"), fast_scores() as scored:
        trainer = evaluator(job.cfg)
        path = load_trained(job, weights, trainer.model).path
        if engine is not None:
            on_engine(trainer.model, job.cfg, engine)
        if report is not None:
            trainer._metrics.append(collector)
        scores = run_evaluation(trainer)
        taken = None if annotations is None else trainer.dataset.taken()
    result = {**scores.values, "images": scores.images, "classes": [], "weights": str(path)}
    if annotations is None:
        return write_evaluation(job, result)
    truth, places = truth_of(annotations, collector.ids if report is not None else taken)
    truths = truth.per_class(len(names))
    values = coco_values(scored, annotations, truths) if scores.voc is None else scores.voc
    result["classes"] = class_rows(names, truths, values)

    def find() -> Findings:
        found = collector.detections([whole[place] for place in places])
        return detection.findings(job.name, _evaluated(result, annotations, places, truth, found, values))

    whole = whole_ids([picture.id for picture in annotations.pictures])
    return write_evaluation(job, result, report, find)


def _evaluated(result, annotations, places, truth, found, values):
    """What a report is made of; `places` are those of the pictures in the annotations."""
    pictures = [annotations.pictures[place] for place in places]
    return detection.Evaluated(
        names=[row["name"] for row in result["classes"]],
        pictures=[str(picture.path) for picture in pictures],
        read=lambda number: read_picture(pictures[number].path, min_side=1),
        truth=truth,
        found=found,
        scores=values,
        figures=_figures(result, truth, values),
        facts=facts_of(result, annotations.source),
    )


_MEANINGS = {"AP": "mean over IoU 0.50:0.95", "AP50": "at IoU 0.5", "AP75": "at IoU 0.75", "AP_mask": "of the masks"}


def _figures(result, truth, values):
    """(name, value, meaning) of what stands first in a report."""
    means = {key: float(np.nanmean(values[key])) for key in _MEANINGS if np.isfinite(values.get(key, np.nan)).any()}
    objects = ("objects", f"{(~truth.ignored).sum():,}", f"in {result['images']:,} pictures")
    return [*((name, f"{value:.3f}", _MEANINGS[name]) for name, value in means.items()), objects]


def evaluator(cfg: Any, model: Any = None) -> Trainer:
    """PaddleDetection's trainer in mode "eval", for a model or a new one of the configuration."""
    if model is not None:
        cfg = cfg.copy()
        cfg["model"] = model
    with safe_loading(reader):
        return Trainer(cfg, mode="eval")


def run_evaluation(trainer: Trainer) -> Scores:
    """Evaluates the model of PaddleDetection's trainer in mode "eval"."""
    scores = Scores(trainer)
    trainer._callbacks = [callback for callback in trainer._callbacks if not isinstance(callback, Scores)]
    trainer.register_callbacks([scores])
    with paddle.no_grad():
        trainer._eval_with_loader(trainer.loader)  # `evaluate` would wait for other processes
    scores.images = trainer.status["sample_num"]
    return scores


def describe(result: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of a result of `evaluate`."""
    half = f", mAP@0.5 {result['AP50']:.4f}" if "AP50" in result else ""
    rows = result["classes"]
    keys = [key for key in (rows[0] if rows else ()) if key not in ("name", "objects")]
    columns = {"objects": ",", **dict.fromkeys(keys, ".3f")}
    return [
        *class_lines(rows, columns, "AP" if "AP" in keys else "AP50"),
        f"{result['weights']}: bbox mAP {result['AP']:.4f}{half} on {result['images']} pictures ({result['file']})",
        *report_lines(result),
    ]


def metric_values(metrics: Iterable[Any]) -> dict[str, float]:
    """AP and AP50, 0..1, of PaddleDetection's metrics.

    AP is the mean over IoU 0.50:0.95 for COCO, and the metric's own for other data sets. Both are 0 when the detector
    found nothing, which PaddleDetection reports as no result at all.
    """
    for metric in metrics:
        results = metric.get_results()
        for kind in ("bbox", "mask"):
            if kind in results and len(results[kind]):
                values = [float(value) for value in results[kind]]
                return {"AP": values[0], "AP50": values[1]} if len(values) > 1 else {"AP": values[0]}
    return {"AP": 0.0, "AP50": 0.0}


class Scores(Callback):
    """Keeps the scores of an evaluation, which the trainer forgets when it ends.

    Attributes:
        values: as `metric_values` returns them.
        voc: as `classwise.voc_values` returns them; None for another metric.
        images: how many pictures were evaluated.
    """

    values: Mapping[str, float]
    voc: Mapping[str, np.ndarray] | None = None
    images: int = 0

    def on_epoch_end(self, status: Mapping[str, Any]) -> None:
        """Takes the scores from the metrics."""
        self.values = metric_values(self.model._metrics)
        for metric in self.model._metrics:
            if isinstance(metric, VOCMetric):
                self.voc = voc_values(metric, metric.detection_map.class_num)
