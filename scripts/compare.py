"""Networks side by side: parameters, MACs, CIO, published accuracy, and the time of a run on one engine.

densebone compare hardnet68 peleenet torchvision:resnet18 timm:mobilenetv3_large_100 paddleclas:PPLCNet_x1_0
densebone compare hardnet39ds onnx:mine.onnx --engine openvino onnxruntime --threads 2
densebone compare fchardnet70 paddleseg:PPLiteSeg,backbone=STDC1 --size 512 1024
densebone compare hardnet68 timm:resnet50 --markdown table.md --csv table.csv --json table.json --plot front.png

A network is a model of ours (densebone list), LIBRARY:NAME or onnx:FILE; the libraries are torchvision, timm,
paddle.vision, paddleclas, ppdet and paddleseg. docs/comparing.md says what is counted and how it is timed.
"""

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..system.files import check_writable
from . import options

_WRITERS = (
    ("markdown", "the table as Markdown"),
    ("csv", "a line for each network"),
    ("json", "everything"),
    ("plot", "accuracy against time, NAME.png or NAME.svg"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    from ..comparison import comparing, plots, tables
    from ..pictures.plots import check_curves, picture_path

    files = [(key, getattr(arguments, f"{key}_file")) for key, _ in _WRITERS]
    files = [(key, path) for key, path in files if path is not None]
    for key, path in files:
        check_writable(path.parent)
        if key == "plot":
            picture_path(path)
            check_curves()
            if not arguments.rounds:
                raise UserError("--plot draws accuracy against time, and --rounds 0 measures none; leave one out")
    if arguments.onnx_folder is not None:
        check_writable(arguments.onnx_folder)
    found = comparing.compare(
        arguments.networks, arguments.size, arguments.batch, arguments.engine, arguments.threads, arguments.rounds,
        arguments.onnx_folder, arguments.verbose,
    )  # fmt: skip
    tables.print_comparison(found)
    writers = {
        "markdown": tables.save_markdown, "csv": tables.save_csv, "json": tables.save_json, "plot": plots.plot_front,
    }  # fmt: skip
    for key, path in files:
        writers[key](found, path)
        print(f"written: {path}")
    return 0 if len(found.compared) == len(found.rows) else 1


def _parser():
    parser = options.plain_parser("compare", __doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="a model of ours, LIBRARY:NAME or onnx:FILE")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(224, 224), metavar=("HEIGHT", "WIDTH"), help="pixels (224 224)"
    )
    parser.add_argument("--batch", type=int, default=1, help="pictures at once (1)")
    parser.add_argument(
        "--engine", nargs="+", default=(), metavar="NAME",
        help="openvino, onnxruntime or both; default: the first that is installed",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, help="CPU threads of every engine; default: all CPUs")
    parser.add_argument(
        "--rounds", type=int, default=7, metavar="N", help="turns of each network (7); 0 counts and measures no time"
    )
    parser.add_argument("--onnx", dest="onnx_folder", type=Path, metavar="DIR", help="keep the .onnx files that ran")
    for name, what in _WRITERS:
        parser.add_argument(f"--{name}", dest=f"{name}_file", type=Path, metavar="FILE", help=f"write {what}")
    return parser
