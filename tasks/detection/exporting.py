"""Exporting a detector as a Paddle inference model, checked to find the same boxes; its maps as ONNX too."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from ppdet.core.workspace import create
from ppdet.engine import Trainer

from ...backbones.base import deploy_networks
from ...deploy.cards import eight_bits, model_card, write_card
from ...deploy.export import write_formats
from ...engines.conversion import to_openvino
from ...engines.formats import FORMATS, megabytes
from ...engines.preparation import PICTURE, prepend
from ...engines.program import run
from ...errors import UserError
from ...pictures.reading import read_image
from ...runtime import Model
from ...runtime.sessions import OnnxRuntime, OpenVINO, open_session
from ..exporting import new_export, note_no_picture, other_formats
from .acceleration import Trunk, parts_of, size_or_none
from .classes import all_categories, class_names
from .data import first_picture, using
from .inference import prepare_batch, split_batch
from .job import Job
from .quantizing import write_int8
from .sizing import size_of_all
from .steps import steps_of
from .tracing import INPUTS
from .weights import find_trained, load_trained
from .whole import ONE_SIZE, head_of, write_onnx

# Scores and coordinates (pixels) of the exported model may differ by this share. Measured differences are below 2e-4.
TOLERANCE = 1e-3
#: what a file of a whole detector holds
WHOLE = "the whole detector"


class Different(UserError, RuntimeError):
    """An exported detector does not find the trained one's boxes."""


def export(
    job: Job,
    output: str | Path = "output_inference",
    weights: str | Path | None = None,
    check: str | Path | None = None,
    formats: Sequence[str] = ("paddle",),
    int8: str | Path | None = None,
    with_preprocessing: bool = False,
) -> dict[str, Any]:
    """Writes OUTPUT/NAME/model.json (model.pdmodel before Paddle 3), model.pdiparams, infer_cfg.yml, model_card.json.

    "onnx" adds model.onnx, "openvino" model.xml and model.bin: whole detectors, from prepared pictures to boxes, see
    `detection.whole`. Detectors that cannot be one file are written as far as `detection.acceleration` can move them,
    from pictures (N, 3, H, W) to the head's outputs, without decoding and non-maximum suppression.

    Args:
        job: from `detection.config.load`.
        output: folder to write to. A model of the same name there is replaced when the new one is whole.
        weights: as in `detection.weights.load_trained`.
        check: picture on which the exported model must find what the trained one finds. None takes the first of
            EvalDataset when it is there.
        formats: of `engines.formats.FORMATS`. "paddle" is always written.
        int8: folder of pictures on which 8-bit files of a whole detector are calibrated; needs "onnx".
        with_preprocessing: also write files that take a picture as it is, see `engines.preparation`; needs "onnx".

    Returns:
        folder, boxes (found on the picture, or None without one), difference (the largest, relative), formats (what
        each beside "paddle" is: file, megabytes, difference), parts (of the detector that they hold), int8 (what
        `quantizing.write_int8` returns, or None).

    Raises:
        UserError: weights or picture that cannot be used; output cannot be written to, or holds something else; a
            format that cannot hold the detector.
        RuntimeError: an exported model does not find the same boxes.
    """
    others = other_formats(formats, int8)
    if with_preprocessing and "onnx" not in others:
        raise UserError("files that take pictures are made from the ONNX file; add onnx to --format")
    picture = _check_picture(job, check)
    find_trained(job, weights)
    ids = [number for number, _ in all_categories(job)]
    with using(job):
        return _export(job, output, weights, picture, others, (int8, with_preprocessing), ids)


def _export(job, output, weights, picture, others, more, ids):
    trainer = Trainer(job.cfg, mode="test")
    load_trained(job, weights, trainer.model)
    batch = expected = None
    if picture is not None:
        batch, faults = prepare_batch(create("TestReader"), [picture], [0])
        if batch is None:
            raise UserError(f"{picture}: {faults[0][1]}")
        trainer.model.eval()
        with paddle.no_grad():
            ((_, expected),) = split_batch(trainer.model(dict(batch)), batch)
    with new_export(job, output) as folder:
        report, parts = _write_others(trainer.model, job, folder, others, batch, expected)
        card = {**_card(job, trainer.model, weights), "category_ids": ids}
        deploy_networks(trainer.model, "paddle")
        # it adds the name itself, without what follows the last dot
        trainer.cfg.filename = f"{job.name}.yml"
        trainer.export(str(folder.parent))
        small = None
        found = None if batch is None else run_exported(folder, batch)
        difference = None if found is None or expected is None else compare(expected, found)
        write_card({**card, "formats": ["paddle", *report]}, folder)
        if any(more):
            if parts != [WHOLE]:
                raise UserError(
                    f"{job.path}: this detector cannot be one file; leave out --int8 and --with-preprocessing"
                )
            small = write_int8(folder, more[0], "openvino" in others) if more[0] is not None else None
            if more[1]:
                report |= _write_for_pictures(folder, card["preprocessing"]["steps"], others, picture)
            write_card({**card, "formats": ["paddle", *others], **eight_bits(small)}, folder)
    return {
        "folder": str(Path(output) / job.name),
        "boxes": None if found is None else len(found),
        "difference": difference,
        "formats": report,
        "parts": parts,
        "int8": small,
    }


def describe(result: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of a result of `export`."""
    lines = []
    for name, row in result["formats"].items():
        off = "unchecked" if row["difference"] is None else f"differs from Paddle by {row['difference']:.1e}"
        unit = " of the output's standard deviation at most" if result["parts"] != [WHOLE] else " at most (relative)"
        unit = "" if row["difference"] is None else unit
        lines.append(f"  {name:9} {row['file']}, {row['megabytes']:.1f} MB: {', '.join(result['parts'])}; {off}{unit}")
    for name, row in (result["int8"] or {"files": {}})["files"].items():
        stays = "no box to compare" if row["stays"] is None else f"{row['stays']:.1%} of the boxes stay"
        lines.append(f"  int8      {name}, {row['megabytes']:.1f} MB: {stays}, {result['int8']['compared']} pictures")
    if result["boxes"] is None:
        return [*lines, f"exported to {result['folder']}, unchecked"]
    return [
        *lines,
        f"exported to {result['folder']}; on the check picture it finds the trained detector's {result['boxes']} "
        f"boxes, largest relative difference {result['difference']:.1e}",
    ]


def _card(job, model, weights):
    """The card of a detector: `runtime` and `densebone predict --model` need nothing else."""
    path = find_trained(job, weights)
    size, steps = input_of(job.cfg, model)
    return model_card(
        job.name, job.cfg.architecture, model, path, {"steps": steps},
        [-1, 3, *(size or (-1, -1))], class_names(job), task="detection",
    )  # fmt: skip


def input_of(
    cfg: Mapping[str, Any], model: paddle.nn.Layer
) -> tuple[tuple[int, int] | None, list[dict[str, Any]] | None]:
    """((height, width) of a whole detector's input, None for any; the steps to it, None where they are not known).

    A detector whose pictures keep their proportions takes any size. One that takes one size alone then gets them padded
    to a square.

    Args:
        cfg: PaddleDetection's configuration.
        model: the detector.
    """
    size, steps, fixed = size_or_none(cfg), steps_of(cfg), size_of_all(cfg)
    if fixed is not None or type(head_of(model)).__name__ not in ONE_SIZE or size is None or steps is None:
        return fixed, steps
    side = max(size)
    return (side, side), [*(step for step in steps if "pad" not in step), {"pad": {"size": [side, side]}}]


def _write_others(model, job, folder, names, batch, expected):
    """Writes the formats beside Paddle's; returns (their report by name, the parts of the detector that they hold)."""
    if not names:
        return {}, []
    try:
        return _write_whole(model, job, folder, names, batch, expected), [WHOLE]
    except Exception as error:  # a graph that cannot be traced or converted may raise anything
        if isinstance(error, Different):
            raise
        reason = " ".join(str(error).split())[:200]
        print(f"note: the detector cannot be one file ({reason}); its maps are exported", file=sys.stderr)
    return _write_trunk(model, job.cfg, folder, names)


def _write_whole(model, job, folder, names, batch, expected):
    file = folder / FORMATS["onnx"].main
    write_onnx(copy.deepcopy(model), file, input_of(job.cfg, model)[0])
    if "openvino" in names:
        to_openvino(file, folder / FORMATS["openvino"].main)
    report = {}
    for name in names:
        difference = None
        if batch is not None:
            engine = "onnxruntime" if name == "onnx" else "openvino"
            difference = _check_whole(folder, engine, _at_one_size(batch, input_of(job.cfg, model)[0]), expected)
        report[name] = {
            "file": FORMATS[name].main,
            "megabytes": megabytes(folder, name),
            "difference": difference,
        }
    if "onnx" not in names:
        file.unlink()
    return report


def _write_for_pictures(folder, steps, names, picture):
    """Writes the files that take a picture as it is; their difference is from the file that takes prepared ones."""
    if steps is None:
        raise UserError("--with-preprocessing: the TestReader's transforms are not among those that a file can hold")
    prepend(folder / FORMATS["onnx"].main, folder / "picture.onnx", steps)
    files, report = {"onnx": folder / "picture.onnx"}, {}
    if "openvino" in names:
        files["openvino"] = folder / "picture.xml"
        to_openvino(files["onnx"], files["openvino"])
    for name, file in files.items():
        session = (OnnxRuntime if name == "onnx" else OpenVINO)(file, None)
        difference = None
        if picture is not None:
            boxes, scores, labels, count = session({PICTURE: read_image(picture)})
            found = np.column_stack([labels[0], scores[0], boxes[0]])[: int(count[0])]
            best = Model(folder, "onnxruntime" if name == "onnx" else name, threshold=0.3, check=False)(picture)
            difference = nearest(np.column_stack([best.labels, best.scores, best.boxes]), found, limit=0.1)
        size = sum(file.with_suffix(end).stat().st_size for end in ([".onnx"] if name == "onnx" else [".xml", ".bin"]))
        report[f"{name}, pictures"] = {"file": file.name, "megabytes": size / 1e6, "difference": difference}
    return report


def _check_whole(folder, engine, batch, expected):
    """The largest relative difference of a whole detector's boxes from Paddle's on one picture."""
    session = open_session(folder, engine, None)
    feed = {name: np.asarray(batch[name], np.float32) for name in INPUTS if name in session.inputs}
    boxes, scores, labels, count = session(feed)
    number = int(count[0])
    found = np.column_stack([labels[0, :number], scores[0, :number], boxes[0, :number]])
    return nearest(expected, found, number >= boxes.shape[1])


def _at_one_size(batch, size):
    """A prepared batch with the image padded to the size that the file takes; None keeps it."""
    image = np.asarray(batch["image"])
    if size is None or image.shape[2:] == tuple(size):
        return batch
    missing = [max(0, wanted - side) for wanted, side in zip(size, image.shape[2:])]
    return {**batch, "image": np.pad(image, [(0, 0), (0, 0), (0, missing[0]), (0, missing[1])])}


def nearest(expected: np.ndarray, found: np.ndarray, full: bool = False, limit: float = TOLERANCE) -> float:
    """The largest difference of boxes (M, 6) from those that are nearest: of scores, and of sides over the longer one.

    Args:
        expected, found: class, score, left, top, right, bottom.
        full: as many as the detector returns; those with the lowest scores may then be others.
        limit: the largest difference that is allowed.

    Raises:
        Different: a box has no like.
    """
    wanted = expected[expected[:, 1] > (expected[:, 1].min() + 1e-3 if full and len(expected) else 0)]
    if not len(wanted):
        return 0.0
    if not len(found):
        raise Different(f"the exported detector finds no box where the trained one finds {len(wanted)}")
    sides = np.maximum(1.0, np.abs(wanted[:, 4:] - wanted[:, 2:4]).max(1))  # random weights turn boxes round
    apart = np.abs(wanted[:, None] - found[None])
    apart[..., 2:] /= sides[:, None, None]
    worst = float(apart.max(2).min(1).max())
    if worst > limit:
        raise Different(
            f"the exported detector's boxes differ from the trained one's by {worst:.2g} (relative); {limit:g} is "
            "allowed. Nearly equal scores of a detector that learned little can do this: give another --check PICTURE"
        )
    return worst


def _write_trunk(model, cfg, folder, names):
    """Writes the formats beside Paddle's; returns (the report of `write_formats`, the parts that the files hold)."""
    if not names:
        return {}, []
    size = size_or_none(cfg)

    def write(parts):
        return write_formats(Trunk(model, parts, size), folder, names, [-1, 3, -1, -1])["formats"], parts

    *larger, smallest = parts_of(model)
    for parts in larger:
        with suppress(Exception):  # a head whose graph cannot be traced may raise anything
            return write(parts)
    return write(smallest)


def run_exported(folder: str | Path, batch: Mapping[str, Any]) -> np.ndarray:
    """The boxes (M, 6) that an exported detector finds on one picture, prepared by the TestReader."""
    outputs = run(folder, batch)
    boxes = next(out for out in outputs if out.ndim == 2 and out.shape[-1] == 6)
    return boxes[boxes[:, 0] >= 0]


def compare(expected: np.ndarray, found: np.ndarray) -> float:
    """The largest difference between two sets of boxes (M, 6), in any order, as `nearest` measures it.

    Boxes of score 0 do not count: CenterNet adds them when it finds fewer peaks than it may return.

    Raises:
        Different: the boxes are not the same.
    """
    expected, found = (boxes[boxes[:, 1] > 0] for boxes in (expected, found))
    if expected.shape != found.shape:
        raise Different(f"the exported model finds {len(found)} boxes where the trained one finds {len(expected)}")
    return max(nearest(expected, found), nearest(found, expected))


def _check_picture(job, check):
    if check is not None:
        read_image(check)
        return Path(check)
    if first := first_picture(job.cfg.get("EvalDataset") or {}):
        return first
    note_no_picture()
    return None
