"""Export a network as a Paddle inference model, ONNX, OpenVINO or 8-bit integers, and check that it computes the same.

    densebone export hardnet68 -w hardnet68.official --format onnx openvino --input-size 224 224
    densebone export hardnet68 -w trained.pdparams --format onnx --int8 pictures/
    densebone export -c ssd_hardnet68_300_150e_coco -O output_inference --check picture.jpg
    densebone export -c fchardnet70_cityscapes_1024x1024_90k --input-size 1024 2048 --format paddle onnx
    densebone export -c hardnet68_150e_imagenet -w hardnet68.official
    densebone export -c birds/config.yml --format onnx --triton models

A classifier comes with model_card.json, so that `densebone predict --model FOLDER` can use it. docs/export.md says
which formats hold which models.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from ..errors import UserError
from ..tasks.task import task_of
from . import options

#: options for formats of programs for telephones -> what runs them
MOBILE = {"mnn": "MNN", "ncnn": "ncnn", "tflite": "TensorFlow Lite (LiteRT)"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    if (arguments.model is None) == (arguments.config is None):
        raise UserError("give a MODEL of densebone list, or a configuration with -c; one of them")
    mobile = [name for name in MOBILE if getattr(arguments, name)]
    if arguments.triton is not None:
        from ..deploy.triton import check_repository

        check_repository(arguments.triton, arguments.format)
    if mobile:
        from ..deploy.mobile import check_mobile

        check_mobile(mobile, arguments.format)
    folder = _export_model(arguments) if arguments.model is not None else _export_job(arguments, mobile)
    if mobile:
        from ..deploy.mobile import describe_mobile, write_mobile

        options.print_lines(describe_mobile(write_mobile(folder, mobile, arguments.input_size)))
    if arguments.triton is not None:
        from ..deploy.triton import write_repository

        written = write_repository(folder, arguments.triton)
        options.print_lines(f"  triton    {place}, for tritonserver --model-repository" for place in written)
    return 0


def _export_job(arguments: Namespace, mobile: Sequence[str]) -> str:
    """Exports what a configuration describes; returns the folder."""
    for name in ("batch", "random"):
        if getattr(arguments, name):
            raise UserError(f"--{name} is for a MODEL, not for a configuration; leave it out")
    if mobile and (kind := task_of(options.find_config(arguments.config)).name) != "classification":
        raise UserError(f"--{mobile[0]} is for a MODEL and for classification, and this is {kind}; leave it out")
    task, job = options.open_job(arguments)
    settings = options.task_options(arguments, "export", task, job)
    exporting = task.part("exporting")
    result = exporting.export(job, arguments.output, arguments.weights, arguments.check, arguments.format, **settings)
    options.print_lines(exporting.describe(result))
    return result["folder"]


def _parser() -> ArgumentParser:
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
        help="MODEL and segmentation: the only size in pixels that the model takes; default: any",
    )  # fmt: skip
    parser.add_argument(
        "--int8",
        metavar="FOLDER",
        help="write 8-bit integers too, calibrated on these pictures",
    )
    parser.add_argument(
        "--int8-layers",
        action="store_true",
        help="measure what each layer costs in 8 bits, and keep the costliest in float32; a second for each",
    )
    parser.add_argument(
        "--with-preprocessing", action="store_true",
        help="detection: write files that take a picture as it is too, any size, uint8 (H, W, 3) in RGB",
    )  # fmt: skip
    parser.add_argument(
        "--triton", metavar="DIR", help="write the ONNX file to a model repository of Triton Inference Server too"
    )
    for name, engine in MOBILE.items():
        parser.add_argument(f"--{name}", action="store_true", help=f"MODEL, classification: write it for {engine} too")
    options.add_task_options(parser, "export")
    group = parser.add_argument_group("with MODEL")
    group.add_argument("--batch", type=int, metavar="N", help="pictures at a time; default: any number")
    group.add_argument("--random", action="store_true", help="random weights, to measure speed")
    return parser


def _export_model(arguments: Namespace) -> str:
    """Exports a model of the registry; returns the folder."""
    from ..datasets.imagenet import NAMES
    from ..deploy.export import describe_formats, export_model

    given = (arguments.check, arguments.data, arguments.override, arguments.device, arguments.with_preprocessing)
    if any(given):
        raise UserError(
            "--check, --data, --device, --with-preprocessing and -o are for a configuration; leave them out"
        )
    report = export_model(
        arguments.model, arguments.output, arguments.weights, arguments.random, arguments.format,
        arguments.input_size, arguments.batch, arguments.int8, NAMES, arguments.int8_layers,
    )  # fmt: skip
    options.print_lines([f"exported to {report['folder']}", *describe_formats(report)])
    return report["folder"]
