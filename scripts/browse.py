"""Look at training pictures as the network sees them: a sheet of augmented ones, with their boxes or classes.

    densebone browse -c ssd_hardnet68_300_150e_coco --data ~/coco
    densebone browse -c fchardnet70_cityscapes_1024x1024_90k -n 8 -O sheet.png --seed 1
    densebone browse -c condensenetv2a_350e_imagenet --data dataset/imagenet

All transforms of the reader are applied, also those of a whole batch. Then its normalisation is undone. The title of a
picture is its file name and the size in which the network gets it.
"""

import random
from collections.abc import Sequence

from ..errors import UserError
from . import options

CELL = 384


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
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
    task, job = options.open_job(arguments)
    from ..pictures.plots import png_path
    from ..pictures.sheets import plot_sheet

    path = png_path(arguments.output or job.folder / "samples.png")
    pictures, titles = zip(*task.part("browsing").samples(job, arguments.count, seed, CELL))
    plot_sheet(pictures, titles, path, cell=CELL)
    print(f"{len(pictures)} pictures in {path} (--seed {seed} draws them again)")
    return 0
