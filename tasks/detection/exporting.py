"""Exporting a detector as a Paddle inference model, and proving that it finds the same boxes; its maps as ONNX too."""

import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import paddle
from ppdet.core.workspace import create
from ppdet.engine import Trainer

from ...backbones.base import deploy_networks
from ...deploy.export import check_formats, write_formats
from ...deploy.folders import exported_folder
from ...engines.program import run
from ...pictures.reading import read_image
from .acceleration import Trunk, parts_of, size_or_none
from .data import first_picture
from .prediction import record, split_batch
from .weights import load_detector

# Scores and coordinates (pixels) of the exported model may differ by this share; measured differences are below 2e-4.
TOLERANCE = 1e-3


def export(cfg, output="output_inference", weights=None, check=None, formats=("paddle",)):
    """Writes OUTPUT/NAME/model.json (model.pdmodel before Paddle 3), model.pdiparams and infer_cfg.yml.

    With "onnx" and "openvino" also model.onnx, and model.xml and .bin: backbone, neck and head, as far as
    `detection.acceleration` can move them, from pictures (N, 3, H, W) to the head's outputs, without the decoding of
    boxes and non-maximum suppression that come after.

    Args:
        cfg: from `detection.config.load`.
        output (str | Path): folder to write to; a model of the same name there is replaced when the new one is whole.
        weights (str | None): as in `detection.weights.find_weights`.
        check (str | None): picture on which the exported model must find what the trained one finds. None takes the
            first of EvalDataset when it is at hand.
        formats (sequence of str): of `export.FORMATS`; those beside "paddle", which is always written, come on top.

    Returns:
        dict: folder, boxes (on the picture, or None when there was none), difference (the largest, relative),
        formats (what `export.write_formats` returns of those on top), parts (of the detector that they hold).

    Raises:
        UserError: weights or picture that cannot be used; output cannot be written to, or holds something else; a
            format that cannot hold the detector.
        RuntimeError: an exported model does not find the same boxes.
    """
    others = [name for name in formats if name != "paddle"]
    check_formats(["paddle", *others])
    picture = _check_picture(cfg, check)
    trainer = Trainer(cfg, mode="test")
    load_detector(trainer.model, cfg, weights)
    batch = expected = None
    if picture is not None:
        trainer.dataset.roidbs = [record(0, picture)]
        batch = next(iter(create("TestReader")(trainer.dataset, 0)))
        trainer.model.eval()
        with paddle.no_grad():
            ((_, expected),) = split_batch(trainer.model(dict(batch)), batch)
    target = Path(output) / cfg.filename
    with exported_folder(target) as folder:
        folder.mkdir()
        report, parts = _write_trunk(trainer.model, cfg, folder, others)
        deploy_networks(trainer.model, "paddle")
        trainer.export(str(folder.parent))  # adds the name itself
        found = None if batch is None else run_exported(folder, batch)
        difference = None if found is None else compare(expected, found)
    boxes = None if found is None else len(found)
    result = {"folder": str(target), "boxes": boxes, "difference": difference}
    return {**result, "formats": report, "parts": parts}


def _write_trunk(model, cfg, folder, names):
    """Writes the formats beside Paddle's; returns (what `export.write_formats` says of each, the parts they hold)."""
    if not names:
        return {}, []
    size = size_or_none(cfg)

    def write(parts):
        return write_formats(Trunk(model, parts, size), folder, names, [-1, 3, -1, -1])["formats"], parts

    *larger, smallest = parts_of(model)
    for parts in larger:
        with suppress(Exception):  # a graph of a head that cannot be traced may raise anything
            return write(parts)
    return write(smallest)


def run_exported(folder, batch):
    """The boxes (M, 6) that an exported detector finds on one picture, prepared by the TestReader."""
    outputs = run(folder, batch)
    boxes = next(out for out in outputs if out.ndim == 2 and out.shape[-1] == 6)
    return boxes[boxes[:, 0] >= 0]


def compare(expected, found):
    """Largest relative difference between two sets of boxes; RuntimeError when they are not the same boxes.

    Boxes are paired by class and score: NMS may return equal scores in another order. Those of score 0 do not count:
    CenterNet fills up with them when it finds fewer peaks than it may return.
    """
    expected, found = (boxes[boxes[:, 1] > 0] for boxes in (expected, found))
    if expected.shape != found.shape:
        raise RuntimeError(f"the exported model finds {len(found)} boxes where the trained one finds {len(expected)}")
    if not len(expected):
        return 0.0
    order = [np.lexsort((np.round(b[:, 2], 1), -np.round(b[:, 1], 4), b[:, 0])) for b in (expected, found)]
    a, b = expected[order[0]], found[order[1]]
    difference = float((np.abs(a - b) / np.maximum(1.0, np.abs(a))).max())
    if difference > TOLERANCE:
        raise RuntimeError(
            f"the exported model's boxes differ from the trained one's by {difference:.2g} (relative); "
            f"{TOLERANCE:g} is allowed"
        )
    return difference


def _check_picture(cfg, check):
    if check is not None:
        read_image(check)
        return Path(check)
    if first := first_picture(cfg.get("EvalDataset") or {}):
        return first
    print("note: no picture at hand to check the exported model on; give one with --check PICTURE", file=sys.stderr)
    return None
