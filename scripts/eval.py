"""Evaluate trained weights on the data set's evaluation part.

densebone eval -c ssd_hardnet68_300_150e_coco --data dataset/coco -w best_model.pdparams
"""

from . import options


def main(argv=None):
    """Returns the exit status."""
    parser = options.parser("eval", __doc__)
    options.add_weights(parser)
    arguments = parser.parse_args(argv)
    cfg = options.load_detection(arguments)
    from ..detection.evaluation import evaluate

    result = evaluate(cfg, arguments.weights)
    half = f", mAP@0.5 {result['AP50']:.4f}" if "AP50" in result else ""
    print(f"{result['weights']}: bbox mAP {result['AP']:.4f}{half} on {result['images']} pictures ({result['file']})")
    return 0
