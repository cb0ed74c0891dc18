"""Evaluating a trained detector with PaddleDetection's trainer and pycocotools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import paddle
from ppdet.data import reader
from ppdet.engine import Trainer
from ppdet.engine.callbacks import Callback

from ...system.files import check_writable
from ...training.loading import safe_loading
from ..data import check_parts
from ..evaluation import write_evaluation
from .acceleration import on_engine
from .data import using
from .job import Job
from .scoring import fast_scores
from .weights import find_trained, load_trained


def evaluate(job: Job, weights: str | Path | None = None, engine: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Evaluates on EvalDataset and writes evaluation.json into the job's folder.

    Args:
        job: from `detection.config.load`.
        weights: as in `detection.weights.load_trained`.
        engine: options of `engines.open_network`; as much of the detector as possible then runs on that engine.

    Returns:
        AP and AP50 (0..1), images (their number), weights (path), file (evaluation.json, which holds the same).

    Raises:
        UserError: data that cannot be evaluated on; weights that are missing or of another detector.
    """
    find_trained(job, weights)
    check_parts(job, "val")
    check_writable(job.folder)
    job.cfg.setdefault("output_eval", str(job.folder))  # else PaddleDetection writes bbox.json into the current folder
    with using(job, "val"), fast_scores():
        trainer = evaluator(job.cfg)
        path = load_trained(job, weights, trainer.model).path
        if engine is not None:
            on_engine(trainer.model, job.cfg, engine)
        values, images = run_evaluation(trainer)
    return write_evaluation(job, {**values, "images": images, "weights": str(path)})


def evaluator(cfg: Any, model: Any = None) -> Trainer:
    """PaddleDetection's trainer in mode "eval", for a model or a new one of the configuration."""
    if model is not None:
        cfg = cfg.copy()
        cfg["model"] = model
    with safe_loading(reader):
        return Trainer(cfg, mode="eval")


def run_evaluation(trainer: Trainer) -> tuple[dict[str, float], int]:
    """Evaluates the model of PaddleDetection's trainer in mode "eval".

    Returns:
        (AP and AP50 as in `metric_values`, number of pictures).
    """
    scores = Scores(trainer)
    trainer._callbacks = [callback for callback in trainer._callbacks if not isinstance(callback, Scores)]
    trainer.register_callbacks([scores])
    with paddle.no_grad():
        trainer._eval_with_loader(trainer.loader)  # `evaluate` would wait for other processes
    return scores.values, trainer.status["sample_num"]


def describe(result: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of a result of `evaluate`."""
    half = f", mAP@0.5 {result['AP50']:.4f}" if "AP50" in result else ""
    return [f"{result['weights']}: bbox mAP {result['AP']:.4f}{half} on {result['images']} pictures ({result['file']})"]


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
    """Keeps the scores of an evaluation, which the trainer forgets when it ends."""

    def on_epoch_end(self, status: Mapping[str, Any]) -> None:
        """Takes the scores from the metrics."""
        self.values = metric_values(self.model._metrics)
