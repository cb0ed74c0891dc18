"""Predict on pictures: boxes drawn into PNG files, and predictions.json in COCO's results format.

    densebone predict -c ssd_hardnet68_300_150e_coco pictures/ 'more/*.jpg' -O output/pictures

Pictures that cannot be read are named, counted and skipped; the exit status is then 1.
"""

from . import options


def main(argv=None):
    """Returns the exit status: 1 when pictures were skipped."""
    parser = options.parser("predict", __doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="picture, folder or glob pattern")
    options.add_weights(parser)
    parser.add_argument("-O", "--output", help="folder for the result; default save_dir/NAME/predictions")
    parser.add_argument("-t", "--threshold", type=float, default=0.5, help="draw boxes from this score on (0.5)")
    arguments = parser.parse_args(argv)
    cfg = options.load_detection(arguments)
    from ..detection.prediction import predict

    output = arguments.output or f"{cfg.save_dir}/{cfg.filename}/predictions"
    result = predict(cfg, arguments.paths, output, arguments.weights, arguments.threshold)
    for path, reason in result["skipped"]:
        print(f"skipped {path}: {reason}")
    print(f"{result['images']} pictures, {result['boxes']} boxes drawn, in {output}; all boxes in {result['file']}")
    if result["skipped"]:
        print(f"{len(result['skipped'])} pictures skipped")
        return 1
    return 0
