"""Look at training pictures as the network sees them: a sheet of augmented ones, with their boxes or classes.

    densebone browse -c ssd_hardnet68_300_150e_coco --data ~/coco
    densebone browse -c fchardnet70_cityscapes_1024x1024_90k -n 8 -O sheet.png --seed 1
    densebone browse -c condensenetv2a_350e_imagenet --data dataset/imagenet

All of the reader's transforms are applied, also those of a batch; then its normalisation is undone. Above each picture
stand the name of its file and the size in which the network gets it.
"""

import importlib
import random
from pathlib import Path

from ..errors import UserError
from . import options

CELL = 384


def main(argv=None):
    """Returns the exit status."""
    parser = options.parser("browse", __doc__)
    parser.add_argument("-O", "--output", help="the PNG to write; default save_dir/NAME/samples.png")
    parser.add_argument("-n", "--count", type=int, default=16, help="pictures on the sheet (16)")
    parser.add_argument("--seed", type=int, help="of the choice and the augmentation; default: any")
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.count <= 1000:
        raise UserError(f"-n is {arguments.count}; give a number of pictures from 1 to 1000")
    seed = random.SystemRandom().randrange(2**31) if arguments.seed is None else arguments.seed
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed is {seed}; it must be from 0 to {2**32 - 1}")
    task, config = options.load(arguments)
    from ..pictures.plots import png_path
    from ..pictures.sheets import plot_sheet

    samples = importlib.import_module(f"..tasks.{task}.browsing", __package__).samples
    folder = Path(config.save_dir) / config.filename if task == "detection" else config.folder
    path = png_path(arguments.output or folder / "samples.png")
    pictures, titles = zip(*samples(config, arguments.count, seed, CELL))
    plot_sheet(pictures, titles, path, cell=CELL)
    print(f"{len(pictures)} pictures in {path} (--seed {seed} draws them again)")
    return 0
