"""Runs detectors with random weights in Paddle and on an engine, each detector in a forked process.

    python tests/helpers/accelerate_detectors.py ENGINE BACKBONE HEAD ...

Prints a line of JSON for each head: the head, which part runs on which engine, the number of boxes and the largest
difference; or the head and the error.
"""

import logging
import re
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from forks import print_answer

from densebone.tasks.detection import config, heads

# The layers that make the scores. For GFL without the towers before them, whose rounding would be multiplied too.
_SCORES = re.compile("head_cls|pred_cls|retinanet_cls")
_WITHOUT_TOWERS = re.compile("gfl_head_cls")


def run(engine, backbone, head):
    """The line of one head: compares the detector in Paddle with the accelerated one."""
    import paddle
    from ppdet.core.workspace import create

    from densebone.tasks.detection.acceleration import accelerate
    from densebone.tasks.detection.exporting import compare
    from densebone.tasks.detection.prediction import split_batch

    settings = heads.HEADS[head]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pair.yml"
        path.write_text(heads.yaml_of(backbone, head))
        cfg = config.load(path, ("use_gpu=false", "num_classes=4", *settings.trial), pretrained=False).cfg
    heads._find_more(cfg)
    paddle.seed(0)
    model = create(cfg.architecture)
    # spread the scores: with a thousand equal ones, rounding decides which is best
    scores = _WITHOUT_TOWERS if head == "GFL" else _SCORES
    for name, weight in model.state_dict().items():
        if name == settings.spread or (name.endswith("weight") and scores.search(name)):
            weight.set_value(weight * {"PicoDet": 1000, "GFL": 10}.get(head, 100))
    model.eval()
    size = (settings.side, settings.side + (64 if head not in ("SSD", "RT-DETR") else 0))
    image = np.random.default_rng(0).standard_normal((1, 3, *size)).astype(np.float32)
    batch = {
        "image": paddle.to_tensor(image),
        "im_shape": paddle.to_tensor([size], "float32"),
        "scale_factor": paddle.ones([1, 2]),
        "im_id": paddle.zeros([1], "int64"),
    }
    with paddle.no_grad():
        ((_, expected),) = split_batch(model(dict(batch)), batch)
        told = accelerate(model, {"engine": engine}, size)
        ((_, found),) = split_batch(model(dict(batch)), batch)
    return {"told": told, "boxes": len(found), "difference": compare(expected, found)}


def line(engine, backbone, head):
    """What is printed for one head."""
    try:
        return {"head": head, **run(engine, backbone, head)}
    except Exception as error:
        return {"head": head, "error": f"{type(error).__name__}: {error}"}


def main(engine, backbone, *names):
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    heads.prepare()
    for head in names:
        print_answer(partial(line, engine, backbone, head))


if __name__ == "__main__":
    main(*sys.argv[1:])
