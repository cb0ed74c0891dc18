"""What a network costs, layer by layer: parameters, multiply-adds, CIO, MoC, bytes, and FLOP per byte.

densebone profile hardnet68                                  # a table, memory-bound layers in colour
densebone profile hardnet68 --input-size 512 512 --png costs.png --csv costs.csv
densebone profile -c ssd_hardnet68_300_150e_coco             # the whole network of a configuration
densebone profile --all --png models.png                     # all classifiers, with their published accuracy

docs/profiling.md says how each figure is defined.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..system.files import check_writable
from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    if sum(map(bool, (arguments.model, arguments.config, arguments.all))) != 1:
        raise UserError("give one of: the name of a model (densebone list), -c CONFIG, or --all")
    if arguments.form and not arguments.model:
        raise UserError("--form is for the name of a model; a configuration has its own")
    for path in (arguments.json_file, arguments.csv_file, arguments.png_file):
        if path is not None:
            check_writable(path.parent)
    from ..pictures.plots import png_path
    from ..profiling import costs, plots, tables

    if arguments.png_file is not None:
        png_path(arguments.png_file)
    settings = {"batch": arguments.batch, "precision": arguments.precision, "balance": arguments.balance}
    settings["balance"] = costs.BALANCE if arguments.balance is None else arguments.balance
    content: Any
    writers: tuple[Callable[..., None], ...]
    if arguments.all:
        content = costs.profile_all(input_size=arguments.input_size or (224, 224), **settings)
        tables.print_models(content)
        writers = tables.save_models_json, tables.save_models_csv, plots.plot_models
    else:
        network, size, inputs = _subject(arguments)
        content = costs.profile(network, size, inputs=inputs, **settings)
        name = arguments.model or options.find_config(arguments.config).stem
        content = content.renamed(name)
        tables.print_layers(content)
        writers = costs.Profile.save_json, costs.Profile.save_csv, plots.plot_layers
    paths = arguments.json_file, arguments.csv_file, arguments.png_file
    for number, path in enumerate(paths):
        if path is not None:
            writers[number](content, path)
            print(f"written: {path}")
    return 0


def _parser():
    parser = options.plain_parser("profile", __doc__)
    parser.add_argument("model", nargs="?", help="a name of densebone list")
    options.add_plugin(parser)
    parser.add_argument("-c", "--config", help="a .yml file, or the name of one that ships: its whole network")
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--all", action="store_true", help="all classifiers, a line each")
    parser.add_argument("--form", choices=("condensed", "learned"), help="of a CondenseNetV2 (condensed)")
    parser.add_argument(
        "--input-size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"),
        help="pixels; default: 224 224, or what the configuration has",
    )  # fmt: skip
    parser.add_argument("--batch", type=int, default=1, help="images in a batch (1)")
    parser.add_argument("--precision", default="fp32", help="fp32 (default), bf16, fp16 or int8: bytes of an element")
    parser.add_argument(
        "--balance", type=float, metavar="FLOP/BYTE",
        help="of the machine: peak FLOP/s over memory bytes/s; layers below it are memory-bound (11)",
    )  # fmt: skip
    for ending, what in (("json", "everything"), ("csv", "a line for each layer"), ("png", "a plot")):
        parser.add_argument(f"--{ending}", dest=f"{ending}_file", type=Path, metavar="FILE", help=f"write {what}")
    return parser


def _subject(arguments):
    """(network, (height, width), its inputs or None) of a model's name or of a configuration."""
    if arguments.model:
        from ..registry import create_model

        form = {"form": arguments.form} if arguments.form else {}
        return create_model(arguments.model, **form), tuple(arguments.input_size or (224, 224)), None
    arguments.data = None
    arguments.weights = None  # the figures do not depend on weights, so none are loaded
    task, job = options.open_job(arguments)
    return task.part("sizing").network_and_input(job, arguments.input_size)
