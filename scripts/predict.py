"""Predict on pictures: boxes or pixel classes, which are drawn, or the classes of whole pictures.

    densebone predict -c ssd_hardnet68_300_150e_coco pictures/ 'more/*.jpg' -O output/pictures
    densebone predict -c fchardnet70_cityscapes_1024x1024_90k pictures/ --opacity 0.7
    densebone predict -c hardnet68_150e_imagenet -w hardnet68.official pictures/ --top 3
    densebone predict --model output_inference/hardnet68_150e_imagenet pictures/ --engine openvino

Every task writes predictions.json. A detector's holds COCO's results format, and each picture gets a NAME.jpg with its
boxes. A segmentation model's holds the share of every class; each picture gets NAME.jpg and labels/NAME.png with the
class numbers. A classifier's holds the best classes of each picture; --model uses an exported model.

Unreadable pictures are named, counted and skipped. The exit status is then 1.
"""

import inspect
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError, printable
from ..runtime.model import read_card
from ..system.locks import only_one
from ..tasks import exported
from ..tasks.prediction import DRAWINGS
from ..tasks.task import TASKS
from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status, 1 when pictures were skipped."""
    parser = options.parser("predict", __doc__, config_needed=False)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="picture, folder or glob pattern")
    options.add_weights(parser)
    options.add_size(parser)
    parser.add_argument("-O", "--output", help="folder for the result; default save_dir/NAME/predictions")
    parser.add_argument("--model", metavar="FOLDER", help="an exported model, in place of -c")
    parser.add_argument("--json", action="store_true", help="print the rows of predictions.json, a line each")
    options.add_task_options(parser, "predict")
    drawings = parser.add_mutually_exclusive_group()
    drawings.add_argument("--draw", choices=DRAWINGS, help="kind of the drawn pictures (jpg)")
    drawings.add_argument(
        "--no-draw", action="store_true", help="draw none; write predictions.json alone, which is faster"
    )
    options.add_timings(parser)
    options.add_engine(parser)
    arguments = parser.parse_args(argv)
    if not arguments.model and not arguments.config:
        raise UserError("predict needs a configuration, -c NAME, or the folder of an exported model, --model")
    if arguments.model:
        predict, describe, settings = _exported(arguments)
        output = arguments.output or f"output/{os.path.basename(os.path.abspath(arguments.model))}/predictions"
        subject = (arguments.model, arguments.paths, output)
    else:
        task, job = options.open_job(arguments)
        output = arguments.output or str(job.folder / "predictions")
        settings = {"weights": arguments.weights, **options.task_options(arguments, "predict", task, job)}
        predict, subject = task.part("prediction").predict, (job, arguments.paths, output)
        describe = task.part("prediction").describe
    if "drawing" in inspect.signature(predict).parameters:
        settings["drawing"] = None if arguments.no_draw else arguments.draw or "jpg"
    elif arguments.draw or arguments.no_draw:
        raise UserError("a classifier's prediction draws nothing; leave out --draw and --no-draw")
    options.begin_timings(arguments)
    with only_one(output, "predicts into"):
        result = predict(*subject, engine=options.engine_options(arguments), **settings)
    options.print_timings(arguments, result["images"])
    if arguments.json:
        _print_rows(result["file"])
    stream = sys.stderr if arguments.json else sys.stdout
    options.print_lines(describe(result), file=stream)
    for path, reason in result["skipped"]:
        print(printable(f"skipped {path}: {reason}"), file=stream)
    if result["skipped"]:
        print(f"{len(result['skipped'])} pictures skipped", file=stream)
    return 1 if result["skipped"] else 0


def _exported(arguments: Namespace) -> tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]:
    """(predict, describe, its settings) for the exported model of --model, by the task that its card names.

    Raises:
        UserError: no card; an option that --model does not go with, or that is of another task.
    """
    _refuse(arguments, ("config", "override", "data", "weights", "device", "imgsz"))
    kind = read_card(Path(arguments.model)).get("task")
    task = TASKS["classification" if kind not in exported.TASKS else kind]
    options.check_task(arguments, task, arguments.model)
    _refuse(arguments, ("flip", "scales", "slide", "city_ids"))
    if kind not in exported.TASKS:
        part = task.part("prediction")
        return part.predict_exported, part.describe, options.task_options(arguments, "predict", task, None)
    settings = {key: getattr(arguments, key) for key in ("threshold", "opacity") if getattr(arguments, key) is not None}
    return exported.predict, exported.describe, settings


def _refuse(arguments: Namespace, names: Sequence[str]) -> None:
    """Raises UserError for an option that --model does not go with."""
    for name in names:
        if getattr(arguments, name):
            option = name.replace("_", "-")
            raise UserError(f"--{option} is for a configuration, and --model needs none; leave one of the two out")


def _print_rows(file: str) -> None:
    """Prints the rows of predictions.json, which stand in a line each."""
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        if line not in ("[", "]", "[]"):
            print(line.removesuffix(","))
