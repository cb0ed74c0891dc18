"""Train what a configuration describes.

    densebone train -c ssd_hardnet68_300_150e_coco --data dataset/coco --eval
    densebone train -c fchardnet70_cityscapes_1024x1024_90k --data dataset/cityscapes --eval
    densebone train -c hardnet68_150e_imagenet --data dataset/imagenet --eval
    densebone train -c my.yml --data dataset/mine --epochs 50 --imgsz 320 --batch 4 --eval --patience 10
    densebone train -c my.yml -r -o TrainReader.batch_size=4        # continue where a killed run stopped
    python -m paddle.distributed.launch --nproc_per_node 2 $(which densebone) train -c my.yml

Checkpoints, history.jsonl and curves.png go to save_dir/NAME of the configuration.
"""

from collections.abc import Sequence

from ..tasks.settings import whole
from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = options.parser("train", __doc__)
    parser.add_argument(
        "-r", "--resume", nargs="?", const="auto", metavar="CHECKPOINT",
        help="continue from a checkpoint; without a name from the last whole one, or start when there is none",
    )  # fmt: skip
    parser.add_argument("--eval", action="store_true", help="evaluate after every snapshot and keep the best")
    parser.add_argument("--amp", action="store_true", help="mixed precision (GPU)")
    parser.add_argument(
        "--patience", metavar="N", help="with --eval: stop when N evaluations in a row were no better than the best"
    )
    options.add_settings(parser)
    parser.add_argument(
        "--logger", action="append", default=[], metavar="NAME",
        help="log to vdl (VisualDL), tensorboard, wandb or mlflow; repeatable",
    )  # fmt: skip
    parser.add_argument("--vdl", action="append_const", const="vdl", dest="logger", help="--logger vdl")
    parser.add_argument("--seed", type=int, help="seed of all random generators")
    parser.add_argument("--overwrite", action="store_true", help="delete an earlier run's checkpoints")
    options.add_strict(parser)
    arguments = parser.parse_args(argv)
    patience = None if arguments.patience is None else whole("--patience", arguments.patience)
    task, job = options.open_job(arguments)
    folder = task.part("training").train(
        job, arguments.resume, arguments.eval, arguments.amp, arguments.logger, arguments.seed, arguments.overwrite,
        patience,
    )  # fmt: skip
    print(f"trained: checkpoints, history.jsonl and curves.png are in {folder}")
    return 0
