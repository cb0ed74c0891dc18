"""Complete a downloaded data set with what training wants and its archives lack.

densebone prepare cityscapes dataset/cityscapes

cityscapes: writes a labelTrainIds picture, the 19 classes as 0 to 18 and the rest as 255, beside every labelIds
picture in gtFine. Pictures that are there are kept, so an interrupted run is completed by running it again.
"""

import argparse
from pathlib import Path

from .. import cityscapes


def main(argv=None):
    """Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="densebone prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("layout", choices=("cityscapes",), help="layout of the data set")
    parser.add_argument("folder", metavar="DIR", help="folder of the data set, which holds gtFine")
    arguments = parser.parse_args(argv)
    counts = cityscapes.write_train_ids(arguments.folder)
    for split, (written, present) in counts.items():
        print(f"{split:6} {written} labelTrainIds pictures written, {present} were there")
    pictures = Path(arguments.folder) / cityscapes.IMAGES
    if not pictures.is_dir():
        print(f"note: {pictures} is missing; training needs it too: unpack leftImg8bit_trainvaltest.zip there")
    return 0
