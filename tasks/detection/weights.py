"""Loading weights into a whole detector, strictly."""

import sys
from pathlib import Path

from ...training import checkpoints
from ...weights.catalog import is_published, is_url
from ...weights.loader import load_weights, locate


def find_weights(cfg, weights=None):
    """The weights file to use.

    Args:
        cfg: the configuration.
        weights (str | None): a path, of which .pdparams may be left out; the name of published weights of a whole
            detector or their URL, which are downloaded once. None takes what training left in save_dir/NAME:
            best_model, else model_final, else the last whole snapshot; else the configuration's `weights`.

    Raises:
        UserError: there is no such file, or it is half written.
    """
    if weights is not None and (is_url(weights) or is_published(weights)):
        return Path(locate(weights))
    return checkpoints.find_weights(Path(cfg.save_dir) / cfg.filename, weights, cfg.get("weights"))


def load_detector(model, cfg, weights=None):
    """Fills a detector with the weights that `find_weights` finds, strictly, and returns their path.

    Those of BGR images are turned round, since PaddleDetection's images are RGB.
    """
    path = find_weights(cfg, weights)
    report = load_weights(model, path, adapt_input="rgb")
    print(report, file=sys.stderr)
    return path
