"""The settings of a run in words: the table at its start, and what loggers keep of it."""

from typing import Any

import paddle


def overview(run: Any) -> dict[str, str]:
    """The settings of a run, in the order of the table.

    Args:
        run: a `loop.Run`. Its `settings` may give "classes", "input", "validation", "schedule" and "weights".
    """
    known = run.settings()
    pictures = f"{len(run.dataset)} pictures for training"
    pictures += f", {known['validation']} for validation" if "validation" in known else ""
    images = run.batch_size * run.accumulate * run.ranks
    batch = [f"{run.batch_size}"]
    batch += [f"x {run.accumulate} accumulated"] if run.accumulate > 1 else []
    batch += [f"x {run.ranks} processes"] if run.ranks > 1 else []
    epochs = run.iters / run.per_epoch
    kind = type(run.optimizer).__name__
    rows = {
        "configuration": str(run.job.path),
        "data": pictures,
        "classes": known.get("classes", ""),
        "input": known.get("input", ""),
        "batch": " ".join(batch) + (f" = {images} pictures an iteration" if len(batch) > 1 else ""),
        "length": f"{_number(epochs)} epochs of {run.per_epoch} iterations = {run.iters} iterations",
        "snapshots": f"every {run.save_interval} iterations" + (", evaluated" if run.evaluates else ""),
        "patience": _patience(run.patience),
        "learning rate": f"{known.get('schedule') or _number(run.optimizer.get_lr())}, {kind}",
        "weights": known.get("weights") or "random",
        "device": paddle.get_device() + (", mixed precision" if run.scaler else ""),
        "seed": str(run.seed),
        "folder": str(run.folder),
    }
    return {name: words for name, words in rows.items() if words}


def _patience(evaluations):
    if evaluations is None:
        return ""
    return f"stops after {evaluations} evaluation{'s' * (evaluations > 1)} without a better one"


def _number(value):
    return f"{value:.4g}"
