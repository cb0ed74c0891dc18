"""Evaluate trained weights on the data set's evaluation part.

densebone eval -c ssd_hardnet68_300_150e_coco --data dataset/coco -w best_model.pdparams
densebone eval -c fchardnet70_cityscapes_1024x1024_90k --data dataset/cityscapes --flip
densebone eval -c hardnet68_150e_imagenet --data dataset/imagenet -w hardnet68.official --engine auto
densebone eval -c birds/config.yml --report

It prints and writes the figures of every class. --report adds report.html: curves, best thresholds, confusions, kinds
of errors and the worst pictures.

A classifier's unreadable pictures are named, counted and left out. The exit status is then 1.
"""

from collections.abc import Sequence

from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status, 1 when pictures were left out."""
    parser = options.parser("eval", __doc__)
    options.add_weights(parser)
    options.add_size(parser)
    options.add_strict(parser)
    options.add_task_options(parser, "eval")
    options.add_engine(parser)
    parser.add_argument(
        "--report", nargs="?", const="", metavar="FOLDER",
        help="write report.html and the tables and pictures in it; default: the folder `report` beside evaluation.json",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    task, job = options.open_job(arguments)
    settings, engine = options.task_options(arguments, "eval", task, job), options.engine_options(arguments)
    evaluation = task.part("evaluation")
    report = None if arguments.report is None else arguments.report or job.folder / "report"
    result = evaluation.evaluate(job, arguments.weights, engine, report=report, **settings)
    options.print_lines(evaluation.describe(result))
    return 1 if result.get("skipped") else 0
