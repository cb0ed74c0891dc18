"""Which weights a job uses, and loading them into a whole detector, strictly."""

import sys
from pathlib import Path

from .. import checkpoints
from ..errors import UserError
from ..weights.loader import load_weights
from ..weights.reader import SUFFIXES


def find_weights(cfg, weights=None):
    """The weights file to use.

    Args:
        cfg: the configuration.
        weights (str | None): a path, of which .pdparams may be left out. None takes what training left in
            save_dir/NAME: best_model, else model_final, else the last whole snapshot; else the configuration's
            `weights`.

    Raises:
        UserError: there is no such file.
    """
    if weights is not None:
        return _existing(weights, f"weights {weights}")
    folder = Path(cfg.save_dir) / cfg.filename
    for name in ("best_model", "model_final"):
        if checkpoints.info(folder / name):
            return (folder / name).with_suffix(".pdparams")
    last = checkpoints.last_whole(folder)
    if last is not None:
        return last[0].with_name(last[0].name + ".pdparams")
    if not cfg.get("weights"):
        raise UserError(f"there is no trained detector in {folder}; train one, or give -w FILE.pdparams")
    return _existing(
        cfg.weights, f"there is no trained detector in {folder}, and the configuration's weights {cfg.weights}"
    )


def _existing(path, what):
    path = Path(path)
    file = path if path.suffix in SUFFIXES else path.with_name(path.name + ".pdparams")
    if not file.is_file():
        raise UserError(f"{what} do not exist ({file}); train a detector, or give -w FILE.pdparams")
    return file


def load_detector(model, cfg, weights=None):
    """Fills a detector with the weights that `find_weights` finds, strictly, and returns their path."""
    path = find_weights(cfg, weights)
    if path.with_suffix(".json").is_file() and not checkpoints.info(path):
        raise UserError(f"{path} is half written; use another snapshot of its folder")
    report = load_weights(model, path)
    print(report, file=sys.stderr)
    return path
