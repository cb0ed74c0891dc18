"""Evaluating a classifier: top-1 and top-5 on val_dataset, in one process or several."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import distributed

from ...datasets.labelled import PictureSet
from ...errors import UserError, printable
from ...pictures.preparing import Preprocessing
from ...reports import classification
from ...reports.confusion import class_figures, count_pairs
from ...system.progress import Progress
from ...training import processes
from ..data import say
from ..evaluation import check_output, class_lines, facts_of, on_engine, report_lines, write_evaluation
from .data import EvalSamples, class_names, open_set, report_of
from .job import Job
from .weights import find_trained, load_trained

TOP = 5


def evaluate(
    job: Job,
    weights: str | Path | None = None,
    engine: Mapping[str, Any] | None = None,
    report: str | Path | None = None,
) -> dict[str, Any]:
    """Evaluates on val_dataset and writes evaluation.json and classes.csv into the job's folder.

    Args:
        job: from `classification.config.load`.
        weights: as in `classification.weights.load_trained`.
        engine: options of `engines.open_network`; the network then runs on that engine.
        report: the folder of a report, see `reports.writing`; None for none.

    Returns:
        What `score` returns, and

        - weights (path), claimed and claimed_by (what the catalog says of published weights, else None),
          preprocessing (a dict);
        - file: evaluation.json, which holds the same; report: report.html, if there is one.

    Raises:
        UserError: data that cannot be evaluated on; weights that are missing or of another model; a folder that cannot
            be written to.
    """
    processes.start()
    find_trained(job, weights)
    pictures = open_set(job, "val")
    first = distributed.get_rank() == 0
    if first:
        say(job, report_of(job, "val"))
    trained = load_trained(job, weights)
    if first or report is not None:
        check_output(job, report, distributed.get_world_size())
    model = trained.model
    if engine is not None:
        recipe = trained.preprocessing
        model = on_engine(model, engine, recipe.input_size, single=True, preprocessing=recipe)
    answers = None if report is None else classification.Answers(job.num_classes)
    result = score(model, job, pictures, trained.preprocessing, progress=first, answers=answers)
    result |= {
        "weights": str(trained.path),
        "claimed": trained.entry and trained.entry.accuracy,
        "claimed_by": trained.entry and trained.entry.claimed_by,
        "preprocessing": asdict(trained.preprocessing),
    }

    def find() -> classification.Findings:
        assert answers is not None
        return classification.findings(
            job.name,
            answers,
            class_names(job, pictures),
            pictures.name,
            pictures.read,
            [(f"top-{k}", f"{100 * result[f'top{k}']:.2f} %", f"of {result['images']:,} pictures") for k in (1, TOP)],
            facts_of(result, pictures.source),
        )

    return write_evaluation(job, result, report, find) if first else result


def describe(result: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of a result of `evaluate`; none in another process than the first."""
    if distributed.get_rank() != 0:
        return []
    claim = f"; claimed: {result['claimed']} ({result['claimed_by']})" if result["claimed"] else ""
    columns = {"accuracy": ".4f", "precision": ".4f", "F1": ".4f", "pictures": ","}
    return [
        *class_lines(result["classes"], columns, "accuracy"),
        *([f"{len(result['skipped'])} pictures skipped"] if result["skipped"] else []),
        f"{result['weights']}: top-1 {100 * result['top1']:.2f} %, top-5 {100 * result['top5']:.2f} % on "
        f"{result['images']} pictures{claim} ({result['file']})",
        *report_lines(result),
    ]


@paddle.no_grad()
def score(
    model: paddle.nn.Layer,
    job: Job,
    pictures: PictureSet | None = None,
    preprocessing: Preprocessing | None = None,
    progress: bool = False,
    answers: classification.Answers | None = None,
) -> dict[str, Any]:
    """Top-1 and top-5 accuracy of a model on val_dataset. The model keeps its mode, training or eval.

    With several processes each takes its share of the pictures, and all get the same result.

    Args:
        model: (N, 3, H, W) -> logits (N, num_classes).
        job: from `classification.config.load`.
        pictures: None opens val_dataset.
        preprocessing: None takes the job's.
        progress: show a progress bar.
        answers: receives the answers to the pictures of this process, for a report.

    Returns:
        top1 and top5 (shares of the readable pictures, 0..1; with fewer than five classes top5 is 1), images (how many
        could be read), classes (list of {name, pictures, accuracy, precision, F1}; None where there is no picture),
        skipped (list of {file, reason} of the pictures that could not be read, which are also named on stderr).

    Raises:
        UserError: no picture can be read; the model returns values that are not finite; another process is gone.
    """
    pictures = open_set(job, "val") if pictures is None else pictures
    samples = EvalSamples(pictures, preprocessing or job.preprocessing)
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    # for each picture: the rank of its class among the logits, from 1 on, 0 when not among the first, -1 unreadable;
    # and the class with the largest logit
    found = np.zeros((2, len(pictures)), np.int32)
    training = model.training
    model.eval()
    parts = samples.parts(job.batch_size, rank, ranks)
    batches = samples.batches(parts, job.num_workers)
    for numbers, images, labels in Progress(batches, "evaluating", len(parts), unit="batch", disable=not progress):
        if labels.max() >= 0:
            logits = model(images).astype("float32")
            found[:, numbers] = _places(logits, labels)
            if answers is not None:
                read = labels >= 0
                answers.add(numbers[read], labels[read], logits.numpy()[read])
        found[0, numbers[labels < 0]] = -1
    if training:
        model.train()
    if ranks > 1:
        shared = paddle.to_tensor(found)
        with processes.together():
            distributed.all_reduce(shared)
        found = shared.numpy()
    return {**_summary(found[0], samples), "classes": _class_rows(found, pictures, class_names(job, pictures))}


def _places(logits, labels):
    """int32 (2, N): 1 where the label has the largest logit, 2 the second largest, ..., 0 when not in the top 5; and
    the class with the largest logit."""
    if not bool(paddle.isfinite(logits).all()):
        raise UserError("the network returns values that are not finite; these weights cannot be used")
    best = paddle.topk(logits, min(TOP, logits.shape[1]))[1].numpy()
    hits = best == labels[:, None]
    return np.stack([np.where(hits.any(1), hits.argmax(1) + 1, 0), best[:, 0]]).astype(np.int32)


def _class_rows(found, pictures, names):
    """{name, pictures, accuracy, precision, F1} of each class."""
    read = found[0] >= 0
    matrix = count_pairs(pictures.labels[read], found[1][read], len(names))
    figures = {key: values.tolist() for key, values in class_figures(matrix).items()}
    columns = {"accuracy": figures["recall"], "precision": figures["precision"], "F1": figures["F1"]}
    return [
        {
            "name": name,
            "pictures": int(matrix[number].sum()),
            **{key: None if values[number] != values[number] else values[number] for key, values in columns.items()},
        }
        for number, name in enumerate(names)
    ]


def _summary(found, samples):
    skipped = []
    for number in np.flatnonzero(found < 0):
        skipped.append({"file": samples.pictures.name(number), "reason": samples.fault(number)})
        if distributed.get_rank() == 0:
            print(printable(f"skipped {skipped[-1]['file']}: {skipped[-1]['reason']}"), file=sys.stderr)
    images = len(found) - len(skipped)
    if not images:
        raise UserError(
            f"none of the {len(skipped)} pictures can be read ({skipped[0]['file']}: {skipped[0]['reason']})"
        )
    return {
        "top1": float((found == 1).sum() / images),
        "top5": float((found > 0).sum() / images),
        "images": images,
        "skipped": skipped,
    }
