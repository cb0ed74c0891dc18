"""Builds detectors of configurations, each in a forked process, since PaddleDetection has one configuration a process.

    python tests/helpers/build_detectors.py CONFIG ...

prints a line of JSON for each: the configuration's name, and the parameters that learn or the error.
"""

import json
import os
import sys
from pathlib import Path

from densebone.errors import UserError
from densebone.tasks.detection import config


def build(path):
    """The number of the detector's parameters that learn."""
    from ppdet.core.workspace import create

    cfg = config.load(path, ("use_gpu=false",), pretrained=False)
    return sum(p.size for p in create(cfg.architecture).parameters() if not p.stop_gradient)


def main(paths):
    config.import_toolkit()
    for path in paths:
        child = os.fork()
        if child == 0:
            try:
                answer = {"parameters": build(path)}
            except UserError as error:
                answer = {"error": str(error)}
            print(json.dumps({"config": Path(path).stem, **answer}), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
