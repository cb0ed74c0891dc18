"""Predict on pictures: boxes or pixel classes, which are drawn, or the classes of whole pictures.

    densebone predict -c ssd_hardnet68_300_150e_coco pictures/ 'more/*.jpg' -O output/pictures
    densebone predict -c fchardnet70_cityscapes_1024x1024_90k pictures/ --opacity 0.7
    densebone predict -c hardnet68_150e_imagenet -w hardnet68.official pictures/ --top 3
    densebone predict --model output_inference/hardnet68_150e_imagenet pictures/ --engine openvino
    densebone predict --model output_inference/birds clip.mp4 camera:0
    densebone predict -c birds/config.yml aerial/ --tile 640 --overlap 0.2 --save-as yolo
    densebone predict --model output_inference/birds s3://bucket/pictures --ray 10.0.0.1:6379

Every task writes predictions.json. A detector's holds COCO's results format, and each picture gets a NAME.jpg with its
boxes. A segmentation model's holds the share of every class; each picture gets NAME.jpg and labels/NAME.png with the
class numbers. A classifier's holds the best classes of each picture; --model uses an exported model. A video gets
NAME.mp4, drawn, and NAME.jsonl, a row for each frame. A command that was killed goes on where it was.

Unreadable pictures are named, counted and skipped. The exit status is then 1.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from ..cluster.connecting import connected
from ..errors import UserError, printable
from ..runtime.model import read_card
from ..system.locks import only_one
from ..tasks import exported
from ..tasks.extras import SAVED_AS, Extras
from ..tasks.prediction import DRAWINGS
from ..tasks.task import TASKS
from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status, 1 when pictures were skipped."""
    parser = options.parser("predict", __doc__, config_needed=False)
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="picture, video, folder, pattern, list, address or camera:0"
    )
    options.add_weights(parser)
    options.add_size(parser)
    parser.add_argument("-O", "--output", help="folder for the result; default save_dir/NAME/predictions")
    parser.add_argument("--model", metavar="FOLDER", help="an exported model, in place of -c")
    parser.add_argument("--json", action="store_true", help="print the rows of predictions.json, a line each")
    options.add_task_options(parser, "predict")
    _add_extras(parser)
    drawings = parser.add_mutually_exclusive_group()
    drawings.add_argument("--draw", choices=DRAWINGS, help="kind of the drawn pictures (jpg)")
    drawings.add_argument(
        "--no-draw", action="store_true", help="draw none; write predictions.json alone, which is faster"
    )
    options.add_timings(parser)
    options.add_engine(parser)
    options.add_cluster(parser)
    arguments = parser.parse_args(argv)
    if not arguments.model and not arguments.config:
        raise UserError("predict needs a configuration, -c NAME, or the folder of an exported model, --model")
    where = options.read_cluster(arguments)
    predict, _, describe, subject, output, settings = _task(arguments)
    options.begin_timings(arguments)
    with only_one(output, "predicts into"), nullcontext() if where is None else connected(where.address) as ray:
        if where:
            from ..cluster.predicting import hands

            settings["hands"] = hands(ray, where, partial(_on_worker, arguments), output, arguments.model)
        result = predict(subject, arguments.paths, output, engine=options.engine_options(arguments), **settings)
    frames = sum(one["frames"] for one in result["videos"])
    options.print_timings(arguments, result["images"] + frames)
    if arguments.json:
        for file in [result["file"], *(one["file"] for one in result["videos"])]:
            if file:
                _print_rows(file)
    stream = sys.stderr if arguments.json else sys.stdout
    options.print_lines(describe(result), file=stream)
    for path, reason in result["skipped"]:
        print(printable(f"skipped {path}: {reason}"), file=stream)
    if result["skipped"]:
        print(
            f"{len(result['skipped'])} {'pictures or videos' if result['videos'] else 'pictures'} skipped", file=stream
        )
    return 1 if result["skipped"] else 0


def _task(arguments):
    """(predict, what opens its work on a worker, describe, the model or the job, the output folder, settings)."""
    if arguments.model:
        functions, settings = _exported(arguments)
        subject = arguments.model
        output = arguments.output or f"output/{os.path.basename(os.path.abspath(arguments.model))}/predictions"
    else:
        task, subject = options.open_job(arguments)
        output = arguments.output or str(subject.folder / "predictions")
        settings = {"weights": arguments.weights, **options.task_options(arguments, "predict", task, subject)}
        part = task.part("prediction")
        functions = (part.predict, part.open_work, part.describe)
    settings["drawing"] = None if arguments.no_draw else arguments.draw or "jpg"
    settings["extras"] = _extras(arguments)
    return *functions, subject, output, settings


def _on_worker(
    arguments: Namespace, threads: int, output: Path, sample: Path | None, model: str | None
) -> Callable[..., Any]:
    """What a worker of a cluster does with pictures: the model of the command's arguments, opened there."""
    if arguments.engine:
        arguments.threads = threads
    arguments.model = model
    _, open_work, _, subject, _, settings = _task(arguments)
    engine = options.engine_options(arguments)
    return open_work(subject, output, engine=engine, sample=sample, **settings)


def _add_extras(parser):
    group = parser.add_argument_group("large pictures, videos, annotations", "see docs/predicting.md")
    group.add_argument(
        "--tile", type=int, nargs="+", metavar="N", help="go over pictures in tiles of N x N or WIDTH HEIGHT pixels"
    )
    group.add_argument("--overlap", type=float, metavar="SHARE", help="of neighbouring tiles (0.2)")
    group.add_argument("--save-as", choices=SAVED_AS, help="write the boxes as annotations too, in OUTPUT/FORMAT")
    group.add_argument("--save-crops", action="store_true", help="write what is in the boxes, in OUTPUT/crops/CLASS")
    group.add_argument("--every", type=int, metavar="N", help="take every Nth frame of a video (1)")


def _extras(arguments):
    if arguments.overlap is not None and not arguments.tile:
        raise UserError("--overlap is of tiles; add --tile N")
    if arguments.tile and len(arguments.tile) > 2:
        raise UserError(f"--tile has {len(arguments.tile)} numbers; give one side, or WIDTH HEIGHT")
    given = {
        "tile": arguments.tile and (arguments.tile[0], arguments.tile[-1]),
        "overlap": arguments.overlap,
        "save_as": arguments.save_as,
        "save_crops": arguments.save_crops,
        "every": arguments.every,
    }
    return Extras(**{name: value for name, value in given.items() if value is not None})


def _exported(arguments: Namespace) -> tuple[tuple[Callable[..., Any], ...], dict[str, Any]]:
    """((predict, open_work, describe), their settings) for the model of --model, by the task that its card names.

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
        functions = (part.predict_exported, part.open_exported_work, part.describe)
        return functions, options.task_options(arguments, "predict", task, None)
    settings = {key: getattr(arguments, key) for key in ("threshold", "opacity") if getattr(arguments, key) is not None}
    return (exported.predict, exported.open_work, exported.describe), settings


def _refuse(arguments: Namespace, names: Sequence[str]) -> None:
    """Raises UserError for an option that --model does not go with."""
    for name in names:
        if getattr(arguments, name):
            option = name.replace("_", "-")
            raise UserError(f"--{option} is for a configuration, and --model needs none; leave one of the two out")


def _print_rows(file: str) -> None:
    """Prints the rows of predictions.json or NAME.jsonl, which stand in a line each."""
    with open(file, encoding="utf-8", newline="\n") as stream:
        for line in stream:
            if (line := line.rstrip("\n")) not in ("[", "]", "[]"):
                print(line.removesuffix(","))
