"""Predict on pictures: boxes or the classes of the pixels, which are drawn, or the classes of the pictures.

    densebone predict -c ssd_hardnet68_300_150e_coco pictures/ 'more/*.jpg' -O output/pictures
    densebone predict -c fchardnet70_cityscapes_1024x1024_90k pictures/ --opacity 0.7
    densebone predict -c hardnet68_150e_imagenet -w hardnet68.official pictures/ --top 3
    densebone predict --model output_inference/hardnet68_150e_imagenet pictures/ --engine openvino

A detector leaves NAME.png for each picture and predictions.json in COCO's results format. A segmentation model leaves
NAME.png, labels/NAME.png with the classes' numbers, and predictions.json with the share of every class. A classifier
leaves predictions.json with the best classes of each picture; --model uses an exported one.

Pictures that cannot be read are named, counted and skipped; the exit status is then 1.
"""

import json
import os
import sys

from ..errors import UserError
from . import options


def main(argv=None):
    """Returns the exit status: 1 when pictures were skipped."""
    parser = options.parser("predict", __doc__, config_needed=False)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="picture, folder or glob pattern")
    options.add_weights(parser)
    parser.add_argument("-O", "--output", help="folder for the result; default save_dir/NAME/predictions")
    parser.add_argument("-t", "--threshold", type=float, help="detection: draw boxes from this score on (0.5)")
    group = options.add_test_config(parser)
    group.add_argument("--opacity", type=float, help="of the colours, 0 to 1 (0.5)")
    group.add_argument("--city-ids", action="store_true", help="write label pictures for Cityscapes' server too")
    group = parser.add_argument_group("classification")
    group.add_argument("--model", metavar="FOLDER", help="an exported classifier, in place of -c")
    group.add_argument("--top", type=int, metavar="K", help="classes that are named for each picture (5)")
    group.add_argument("--json", action="store_true", help="print JSON, a line for each picture")
    options.add_engine(parser)
    arguments = parser.parse_args(argv)
    if arguments.model:
        task, config = "classification", _exported(arguments)
    elif arguments.config:
        task, config = options.load(arguments)
    else:
        raise UserError("predict needs a configuration, -c NAME, or the folder of an exported classifier, --model")
    run = {"detection": _detection, "segmentation": _segmentation, "classification": _classification}[task]
    skipped = run(config, arguments)
    stream = sys.stderr if arguments.json else sys.stdout
    for path, reason in skipped:
        print(f"skipped {path}: {reason}", file=stream)
    if skipped:
        print(f"{len(skipped)} pictures skipped", file=stream)
        return 1
    return 0


def _detection(cfg, arguments):
    from ..tasks.detection.prediction import predict

    output = arguments.output or f"{cfg.save_dir}/{cfg.filename}/predictions"
    threshold = 0.5 if arguments.threshold is None else arguments.threshold
    engine = options.engine_options(arguments)
    result = predict(cfg, arguments.paths, output, arguments.weights, threshold, engine)
    print(f"{result['images']} pictures, {result['boxes']} boxes drawn, in {output}; all boxes in {result['file']}")
    return result["skipped"]


def _segmentation(job, arguments):
    changes = options.test_config(arguments, job)
    from ..tasks.segmentation.prediction import predict

    output = arguments.output or str(job.folder / "predictions")
    opacity = 0.5 if arguments.opacity is None else arguments.opacity
    engine = options.engine_options(arguments)
    result = predict(job, arguments.paths, output, arguments.weights, opacity, arguments.city_ids, changes, engine)
    server = f"; for the server: {result['submission']}" if arguments.city_ids else ""
    print(f"{result['images']} pictures in {output}, the classes' numbers in {result['labels']}{server}")
    return result["skipped"]


def _exported(arguments):
    """None, once it is sure that nothing beside --model says what to predict with, and nothing is of another task."""
    for name in ("config", "override", "data", "weights"):
        if getattr(arguments, name):
            raise UserError(f"--{name} is for a configuration, and --model needs none; leave one of the two out")
    options.check_task(arguments, "classification", arguments.model)


def _classification(job, arguments):
    from ..tasks.classification.prediction import predict, predict_exported

    top, engine = 5 if arguments.top is None else arguments.top, options.engine_options(arguments)
    if job is None:
        output = arguments.output or f"output/{os.path.basename(os.path.abspath(arguments.model))}/predictions"
        result = predict_exported(arguments.model, arguments.paths, output, top, engine)
    else:
        output = arguments.output or str(job.folder / "predictions")
        result = predict(job, arguments.paths, output, arguments.weights, top, engine)
    for picture in result["pictures"]:
        if arguments.json:
            print(json.dumps(picture, ensure_ascii=False))
        else:
            print(picture["file_name"])
            print("\n".join(f"  {100 * row['score']:6.2f} %  {row['name']}" for row in picture["top"]))
    print(f"{len(result['pictures'])} pictures, in {result['file']}", file=sys.stderr if arguments.json else sys.stdout)
    return result["skipped"]
