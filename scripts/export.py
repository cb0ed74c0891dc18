"""Export a trained model as a Paddle inference model, and check that it gives the same boxes, classes or logits.

densebone export -c ssd_hardnet68_300_150e_coco -O output_inference --check picture.jpg
densebone export -c fchardnet70_cityscapes_1024x1024_90k --input-size 1024 2048
densebone export -c hardnet68_150e_imagenet -w hardnet68.official

A classifier comes with model_card.json, with which `densebone predict --model FOLDER` uses it.
"""

from . import options


def main(argv=None):
    """Returns the exit status."""
    parser = options.parser("export", __doc__)
    options.add_weights(parser)
    parser.add_argument("-O", "--output", default="output_inference", help="folder for the model (output_inference)")
    parser.add_argument(
        "--check", metavar="PICTURE", help="picture to compare on; default: the first evaluation picture"
    )
    parser.add_argument(
        "--input-size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"),
        help="segmentation: the one size in pixels that the model is to take; default: any",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    task, config = options.load(arguments)
    {"detection": _detection, "segmentation": _segmentation, "classification": _classification}[task](config, arguments)
    return 0


def _detection(cfg, arguments):
    from ..detection.exporting import export

    result = export(cfg, arguments.output, arguments.weights, arguments.check)
    if result["boxes"] is None:
        print(f"exported to {result['folder']}, unchecked")
    else:
        print(
            f"exported to {result['folder']}; on the check picture it finds the trained detector's {result['boxes']} "
            f"boxes, largest relative difference {result['difference']:.1e}"
        )


def _segmentation(job, arguments):
    from ..segmentation.exporting import export

    size = tuple(arguments.input_size) if arguments.input_size else None
    result = export(job, arguments.output, arguments.weights, arguments.check, size)
    if result["pixels"] is None:
        print(f"exported to {result['folder']}, unchecked")
    else:
        print(
            f"exported to {result['folder']}; on the check picture it gives {100 * result['agreement']:.3f} % of the "
            f"{result['pixels']} pixels the trained model's class"
        )


def _classification(job, arguments):
    from ..classification.exporting import export

    result = export(job, arguments.output, arguments.weights, arguments.check)
    print(
        f"exported to {result['folder']}; on {result['checked']} its logits are the trained network's, largest "
        f"difference {result['difference']:.1e} standard deviations"
    )
