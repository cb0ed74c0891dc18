"""Evaluating a trained detector with PaddleDetection's trainer and pycocotools."""

import json
import sys
from pathlib import Path

from ppdet.engine import Trainer
from ppdet.engine.callbacks import Callback

from ...system.files import atomic_path, check_writable
from .acceleration import on_engine
from .data import check_dataset
from .results import metric_values
from .weights import load_detector


def evaluate(cfg, weights=None, engine=None):
    """Evaluates on EvalDataset.

    Args:
        cfg: from `detection.config.load`.
        weights (str | None): as in `detection.weights.find_weights`.
        engine (dict | None): options of `engines.open_network`, which is then to run what it can of the detector.

    Returns:
        dict: AP, AP50 (0..1), images, weights, file (the JSON that holds the same).

    Raises:
        UserError: data that cannot be evaluated on; weights that are missing or of another detector.
    """
    for note in check_dataset(cfg.EvalDataset, "EvalDataset", cfg.num_classes):
        print(f"note: {note}", file=sys.stderr)
    folder = Path(cfg.save_dir) / cfg.filename
    check_writable(folder)
    cfg.setdefault("output_eval", str(folder))  # else PaddleDetection leaves its bbox.json where you stand
    trainer = Trainer(cfg, mode="eval")
    path = load_detector(trainer.model, cfg, weights)
    if engine is not None:
        on_engine(trainer.model, cfg, engine)
    scores = Scores(trainer)
    trainer.register_callbacks([scores])
    trainer.evaluate()
    result = {**scores.values, "images": trainer.status["sample_num"], "weights": str(path)}
    file = folder / "evaluation.json"
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(result, indent=1))
    return {**result, "file": str(file)}


class Scores(Callback):
    """Keeps the evaluation's values, which the trainer forgets when it ends."""

    def on_epoch_end(self, status):
        """Takes the values of the metrics."""
        self.values = metric_values(self.model._metrics)
