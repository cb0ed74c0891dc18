"""Evaluating a classifier: top-1 and top-5 on val_dataset, in one process or several."""

import json
import sys
from dataclasses import asdict

import numpy as np
import paddle
from paddle import distributed
from tqdm import tqdm

from ...engines.opening import EngineLayer, open_network
from ...errors import UserError
from ...system.files import atomic_path, check_writable
from ...training import processes
from .data import EvalSamples, input_size, open_set
from .weights import load_classifier

TOP = 5


def evaluate(job, weights=None, engine=None):
    """Evaluates on val_dataset and writes evaluation.json into the job's folder.

    Args:
        job: from `classification.config.load`.
        weights (str | None): as in `classification.weights.load_classifier`.
        engine (dict | None): options of `engines.open_network`, which is then to run the network.

    Returns:
        dict: what `score` returns, and

        - weights (path), claimed and claimed_by (what the catalog says of published weights, else None),
          preprocessing (dict);
        - file: the JSON that holds the same.

    Raises:
        UserError: data that cannot be evaluated on; weights that are missing or of another model; a folder that cannot
            be written to.
    """
    processes.start()
    pictures = open_set(job, "val")
    trained = load_classifier(job, weights)
    first = distributed.get_rank() == 0
    if first:
        check_writable(job.folder)  # before the hours that a large set takes, not after
    model = trained.model if engine is None else on_engine(trained, engine)
    result = score(model, job, pictures, trained.preprocessing, progress=first)
    result |= {
        "weights": str(trained.path),
        "claimed": trained.entry and trained.entry.accuracy,
        "claimed_by": trained.entry and trained.entry.claimed_by,
        "preprocessing": asdict(trained.preprocessing),
    }
    file = job.folder / "evaluation.json"
    if first:
        with atomic_path(file) as temporary:
            temporary.write_text(json.dumps(result, indent=1))
    return {**result, "file": str(file)}


def on_engine(trained, options):
    """A `Classifier`'s network as a layer that an engine runs: (N, 3, H, W) -> logits. `options` are those of
    `engines.open_network`."""
    engine = open_network(trained.model, input_size=input_size(trained.preprocessing), **options)
    print(f"engine: {engine.description}", file=sys.stderr)
    return _Logits(engine)


class _Logits(EngineLayer):
    """An engine in the place of a classifier."""

    def forward(self, x):
        """(N, 3, H, W) -> logits (N, num_classes)."""
        return super().forward(x)[0]


@paddle.no_grad()
def score(model, job, pictures=None, preprocessing=None, progress=False):
    """How often a model is right on val_dataset; the model stays in the mode it was in.

    With several processes each takes its share of the pictures, and all get the same result.

    Args:
        model (paddle.nn.Layer): (N, 3, H, W) -> logits (N, num_classes).
        job: from `classification.config.load`.
        pictures (PictureSet | None): None opens val_dataset.
        preprocessing (Preprocessing | None): None takes the job's.
        progress (bool): show a progress bar.

    Returns:
        dict: top1 and top5 (shares of the pictures that could be read, 0..1; with fewer than five classes top5 is 1),
        images (pictures that could be read), skipped (list of {file, reason}: those that could not; named on stderr).

    Raises:
        UserError: no picture can be read; the model returns values that are not finite; another process is gone.
    """
    pictures = open_set(job, "val") if pictures is None else pictures
    samples = EvalSamples(pictures, preprocessing or job.preprocessing)
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    found = np.zeros(len(pictures), np.int32)  # what became of each picture: the rank of its class from 1 on, 0, or -1
    training = model.training
    model.eval()
    parts = samples.parts(job.batch_size, rank, ranks)
    batches = samples.batches(parts, job.num_workers)
    for numbers, images, labels in tqdm(batches, "evaluating", len(parts), unit="batch", disable=not progress):
        if labels.max() >= 0:
            found[numbers] = _places(model(images), labels)
        found[numbers[labels < 0]] = -1
    if training:
        model.train()
    if ranks > 1:
        shared = paddle.to_tensor(found)
        with processes.together():
            distributed.all_reduce(shared)
        found = shared.numpy()
    return _summary(found, samples)


def _places(logits, labels):
    """int32 (N,): 1 where the label has the largest logit, 2 the second largest, ...; 0 where not one of five."""
    logits = logits.astype("float32")
    if not bool(paddle.isfinite(logits).all()):
        raise UserError("the network returns values that are not finite; these weights cannot be used")
    best = paddle.topk(logits, min(TOP, logits.shape[1]))[1].numpy()
    hits = best == labels[:, None]
    return np.where(hits.any(1), hits.argmax(1) + 1, 0).astype(np.int32)


def _summary(found, samples):
    skipped = []
    for number in np.flatnonzero(found < 0):
        skipped.append({"file": samples.pictures.name(number), "reason": samples.fault(number)})
        if distributed.get_rank() == 0:
            print(f"skipped {skipped[-1]['file']}: {skipped[-1]['reason']}", file=sys.stderr)
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
