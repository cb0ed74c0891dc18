"""Loading trained weights into a whole detector, strictly."""

import sys
from pathlib import Path

from .. import checkpoints
from ..weights.loader import load_weights


def find_weights(cfg, weights=None):
    """The weights file to use.

    Args:
        cfg: the configuration.
        weights (str | None): a path, of which .pdparams may be left out. None takes what training left in
            save_dir/NAME: best_model, else model_final, else the last whole snapshot; else the configuration's
            `weights`.

    Raises:
        UserError: there is no such file, or it is half written.
    """
    return checkpoints.find_weights(Path(cfg.save_dir) / cfg.filename, weights, cfg.get("weights"))


def load_detector(model, cfg, weights=None):
    """Fills a detector with the weights that `find_weights` finds, strictly, and returns their path."""
    path = find_weights(cfg, weights)
    report = load_weights(model, path, adapt_input="rgb")  # PaddleDetection's pictures are RGB
    print(report, file=sys.stderr)
    return path
