"""Predict on pictures and draw the result: boxes, or the classes of the pixels.

    densebone predict -c ssd_hardnet68_300_150e_coco pictures/ 'more/*.jpg' -O output/pictures
    densebone predict -c fchardnet70_cityscapes_1024x1024_90k pictures/ --opacity 0.7

A detector leaves NAME.png for each picture and predictions.json in COCO's results format. A segmentation model leaves
NAME.png, labels/NAME.png with the classes' numbers, and predictions.json with the share of every class.

Pictures that cannot be read are named, counted and skipped; the exit status is then 1.
"""

from . import options


def main(argv=None):
    """Returns the exit status: 1 when pictures were skipped."""
    parser = options.parser("predict", __doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="picture, folder or glob pattern")
    options.add_weights(parser)
    parser.add_argument("-O", "--output", help="folder for the result; default save_dir/NAME/predictions")
    parser.add_argument("-t", "--threshold", type=float, help="detection: draw boxes from this score on (0.5)")
    group = options.add_test_config(parser)
    group.add_argument("--opacity", type=float, help="of the colours, 0 to 1 (0.5)")
    group.add_argument("--city-ids", action="store_true", help="write label pictures for Cityscapes' server too")
    arguments = parser.parse_args(argv)
    task, config = options.load(arguments)
    skipped = (_detection if task == "detection" else _segmentation)(config, arguments)
    for path, reason in skipped:
        print(f"skipped {path}: {reason}")
    if skipped:
        print(f"{len(skipped)} pictures skipped")
        return 1
    return 0


def _detection(cfg, arguments):
    from ..detection.prediction import predict

    output = arguments.output or f"{cfg.save_dir}/{cfg.filename}/predictions"
    threshold = 0.5 if arguments.threshold is None else arguments.threshold
    result = predict(cfg, arguments.paths, output, arguments.weights, threshold)
    print(f"{result['images']} pictures, {result['boxes']} boxes drawn, in {output}; all boxes in {result['file']}")
    return result["skipped"]


def _segmentation(job, arguments):
    changes = options.test_config(arguments, job)
    from ..segmentation.prediction import predict

    output = arguments.output or str(job.folder / "predictions")
    opacity = 0.5 if arguments.opacity is None else arguments.opacity
    result = predict(job, arguments.paths, output, arguments.weights, opacity, arguments.city_ids, changes)
    server = f"; for the server: {result['submission']}" if arguments.city_ids else ""
    print(f"{result['images']} pictures in {output}, the classes' numbers in {result['labels']}{server}")
    return result["skipped"]
