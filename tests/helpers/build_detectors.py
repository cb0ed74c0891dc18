"""Builds the detectors of configurations, each in a forked process.

    python tests/helpers/build_detectors.py CONFIG ...

Prints a line of JSON for each configuration: its name, and the number of trainable parameters or the error.
"""

import sys
from functools import partial
from pathlib import Path

from forks import print_answer

from densebone.errors import UserError
from densebone.tasks.detection import config


def build(path):
    """The number of trainable parameters of a configuration's detector."""
    from ppdet.core.workspace import create

    cfg = config.load(path, ("use_gpu=false",), pretrained=False).cfg
    return sum(p.size for p in create(cfg.architecture).parameters() if not p.stop_gradient)


def line(path):
    """What is printed for one configuration."""
    try:
        return {"config": Path(path).stem, "parameters": build(path)}
    except UserError as error:
        return {"config": Path(path).stem, "error": str(error)}


def main(paths):
    config.import_toolkit()
    for path in paths:
        print_answer(partial(line, path))


if __name__ == "__main__":
    main(sys.argv[1:])
