"""Export a trained detector as a Paddle inference model, and check that it finds the same boxes.

densebone export -c ssd_hardnet68_300_150e_coco -O output_inference --check picture.jpg
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
    arguments = parser.parse_args(argv)
    cfg = options.load_detection(arguments)
    from ..detection.exporting import export

    result = export(cfg, arguments.output, arguments.weights, arguments.check)
    if result["boxes"] is None:
        print(f"exported to {result['folder']}, unchecked")
    else:
        print(
            f"exported to {result['folder']}; on the check picture it finds the trained detector's {result['boxes']} "
            f"boxes, largest relative difference {result['difference']:.1e}"
        )
    return 0
