"""Export a network as a Paddle inference model, ONNX, OpenVINO or 8-bit integers, and check that it computes the same.

    densebone export hardnet68 -w hardnet68.official --format onnx openvino --input-size 224 224
    densebone export hardnet68 -w trained.pdparams --format onnx --int8 pictures/
    densebone export -c ssd_hardnet68_300_150e_coco -O output_inference --check picture.jpg
    densebone export -c fchardnet70_cityscapes_1024x1024_90k --input-size 1024 2048 --format paddle onnx
    densebone export -c hardnet68_150e_imagenet -w hardnet68.official

A classifier comes with model_card.json, with which `densebone predict --model FOLDER` uses it. docs/export.md tells
which formats hold which models.
"""

from ..errors import UserError
from . import options


def main(argv=None):
    """Returns the exit status."""
    parser = options.parser("export", __doc__, config_needed=False)
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a name of densebone list, in place of -c")
    options.add_weights(parser)
    parser.add_argument("-O", "--output", default="output_inference", help="folder for the model (output_inference)")
    parser.add_argument(
        "--format", nargs="+", choices=("paddle", "onnx", "openvino"), default=["paddle"], help="one or more (paddle)"
    )
    parser.add_argument(
        "--check", metavar="PICTURE", help="picture to compare on; default: the first evaluation picture"
    )
    parser.add_argument(
        "--input-size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"),
        help="MODEL and segmentation: the one size in pixels that the model is to take; default: any",
    )  # fmt: skip
    parser.add_argument(
        "--int8",
        metavar="FOLDER",
        help="MODEL and classifiers: 8-bit integers too, ranges from its pictures",
    )
    group = parser.add_argument_group("with MODEL")
    group.add_argument("--batch", type=int, metavar="N", help="pictures at a time; default: any number")
    group.add_argument("--random", action="store_true", help="random weights, to measure speed")
    arguments = parser.parse_args(argv)
    if (arguments.model is None) == (arguments.config is None):
        raise UserError("give a MODEL of densebone list, or a configuration with -c; one of them")
    if arguments.model is not None:
        _network(arguments)
        return 0
    for name in ("batch", "random"):
        if getattr(arguments, name):
            raise UserError(f"--{name} is for a MODEL, not for a configuration; leave it out")
    task, config = options.load(arguments)
    if arguments.int8 and task != "classification":
        raise UserError(f"--int8 is for a MODEL or a classifier, and {arguments.config} is for {task}; leave it out")
    {"detection": _detection, "segmentation": _segmentation, "classification": _classification}[task](config, arguments)
    return 0


def _network(arguments):
    from ..datasets.imagenet import NAMES
    from ..deploy.export import export_model

    if arguments.check or arguments.data or arguments.override:
        raise UserError("--check, --data and -o are for a configuration; with a MODEL leave them out")
    report = export_model(
        arguments.model, arguments.output, arguments.weights, arguments.random, arguments.format,
        arguments.input_size, arguments.batch, arguments.int8, NAMES,
    )  # fmt: skip
    print(f"exported to {report['folder']}")
    _print_formats(report)


def _print_formats(report):
    """What `export_network` and a classifier's export report of files beside Paddle's, a line each."""
    for name, row in report["formats"].items():
        sizes = " and ".join(f"{shape[2]} x {shape[3]}" for shape in row["shapes"])
        print(
            f"  {name:9} {row['file']}, {row['megabytes']:.1f} MB; differs from Paddle by {row['difference']:.1e} of "
            f"the output's standard deviation at most, at {sizes} pixels"
        )
    for name, row in ((report["int8"] or {}).get("files") or {}).items():
        share = "" if row["agreement"] is None else f"the best class stays for {row['agreement']:.1%}; "
        error = "" if row["error"] is None else f"error {row['error']:.3f} of the output's standard deviation, "
        print(f"  int8      {name}, {row['megabytes']:.1f} MB; {share}{error}{report['int8']['compared']} pictures")


def _detection(cfg, arguments):
    from ..tasks.detection.exporting import export

    result = export(cfg, arguments.output, arguments.weights, arguments.check, arguments.format)
    for name, row in result["formats"].items():
        print(
            f"  {name:9} {row['file']}, {row['megabytes']:.1f} MB: {', '.join(result['parts'])}; differs from Paddle "
            f"by {row['difference']:.1e} of the output's standard deviation at most"
        )
    if result["boxes"] is None:
        print(f"exported to {result['folder']}, unchecked")
    else:
        print(
            f"exported to {result['folder']}; on the check picture it finds the trained detector's {result['boxes']} "
            f"boxes, largest relative difference {result['difference']:.1e}"
        )


def _segmentation(job, arguments):
    from ..tasks.segmentation.exporting import export

    size = tuple(arguments.input_size) if arguments.input_size else None
    result = export(job, arguments.output, arguments.weights, arguments.check, size, arguments.format)
    for name, row in result["formats"].items():
        print(
            f"  {name:9} {row['file']}: {row['difference']:.1e} of the pixels of noise have another class than Paddle's"
        )
    if result["pixels"] is None:
        print(f"exported to {result['folder']}, unchecked")
    else:
        print(
            f"exported to {result['folder']}; on the check picture it gives {100 * result['agreement']:.3f} % of the "
            f"{result['pixels']} pixels the trained model's class"
        )


def _classification(job, arguments):
    from ..tasks.classification.exporting import export

    result = export(job, arguments.output, arguments.weights, arguments.check, arguments.format, arguments.int8)
    _print_formats(result)
    print(
        f"exported to {result['folder']}; on {result['checked']} its logits are the trained network's, largest "
        f"difference {result['difference']:.1e} standard deviations"
    )
