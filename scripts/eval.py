"""Evaluate trained weights on the data set's evaluation part.

densebone eval -c ssd_hardnet68_300_150e_coco --data dataset/coco -w best_model.pdparams
densebone eval -c fchardnet70_cityscapes_1024x1024_90k --data dataset/cityscapes --flip
densebone eval -c hardnet68_150e_imagenet --data dataset/imagenet -w hardnet68.official --engine auto

A classifier's pictures that cannot be read are named, counted and left out; the exit status is then 1.
"""

from . import options


def main(argv=None):
    """Returns the exit status: 1 when pictures were left out."""
    parser = options.parser("eval", __doc__)
    options.add_weights(parser)
    options.add_test_config(parser)
    options.add_engine(parser)
    arguments = parser.parse_args(argv)
    task, config = options.load(arguments)
    run = {"detection": _detection, "segmentation": _segmentation, "classification": _classification}[task]
    return run(config, arguments) or 0


def _detection(cfg, arguments):
    from ..tasks.detection.evaluation import evaluate

    result = evaluate(cfg, arguments.weights, options.engine_options(arguments))
    half = f", mAP@0.5 {result['AP50']:.4f}" if "AP50" in result else ""
    print(f"{result['weights']}: bbox mAP {result['AP']:.4f}{half} on {result['images']} pictures ({result['file']})")


def _segmentation(job, arguments):
    changes = options.test_config(arguments, job)
    from ..tasks.segmentation.evaluation import evaluate

    result = evaluate(job, arguments.weights, changes, options.engine_options(arguments))
    rows = [
        [row["name"], f"{row['IoU']:.4f}", f"{row['precision']:.4f}", f"{row['pixels']:,}"] for row in result["classes"]
    ]
    print(options.table([["class", "IoU", "precision", "pixels"], *rows]))
    if result["absent"]:
        print(f"in no label and no prediction, and 0 in the mIoU: {', '.join(result['absent'])}")
    print(
        f"{result['weights']}: mIoU {result['mIoU']:.4f}, accuracy {result['accuracy']:.4f}, kappa "
        f"{result['kappa']:.4f} on {result['images']} pictures ({result['file']})"
    )


def _classification(job, arguments):
    import paddle

    from ..tasks.classification.evaluation import evaluate

    result = evaluate(job, arguments.weights, options.engine_options(arguments))
    if paddle.distributed.get_rank() == 0:
        if result["skipped"]:
            print(f"{len(result['skipped'])} pictures skipped")
        claim = f"; claimed: {result['claimed']} ({result['claimed_by']})" if result["claimed"] else ""
        print(
            f"{result['weights']}: top-1 {100 * result['top1']:.2f} %, top-5 {100 * result['top5']:.2f} % on "
            f"{result['images']} pictures{claim} ({result['file']})"
        )
    return 1 if result["skipped"] else 0
