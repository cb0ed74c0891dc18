"""Complete a downloaded data set with what training wants and its archives lack.

    densebone prepare cityscapes dataset/cityscapes
    densebone prepare voc dataset/voc

cityscapes: writes a labelTrainIds picture, the 19 classes as 0 to 18 and the rest as 255, beside every labelIds
picture in gtFine. Pictures that are there are kept, so an interrupted run is completed by running it again.
voc: writes trainval.txt (of 2007 and 2012, as far as they are there), test.txt (of 2007) and label_list.txt beside
VOCdevkit.
"""

import argparse
from pathlib import Path

from ..datasets import cityscapes, voc


def main(argv=None):
    """Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="densebone prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("layout", choices=("cityscapes", "voc"), help="layout of the data set")
    parser.add_argument("folder", metavar="DIR", help="folder of the data set, which holds gtFine or VOCdevkit")
    arguments = parser.parse_args(argv)
    if arguments.layout == "voc":
        counts = voc.write_lists(arguments.folder)
        print("\n".join(f"{Path(arguments.folder) / name}: {count} pictures" for name, count in counts.items()))
        for name in voc.LISTS.keys() - counts.keys():
            print(f"note: {name} is not written, because its pictures are not there")
        return 0
    counts = cityscapes.write_train_ids(arguments.folder)
    for split, (written, present) in counts.items():
        print(f"{split:6} {written} labelTrainIds pictures written, {present} were there")
    pictures = Path(arguments.folder) / cityscapes.IMAGES
    if not pictures.is_dir():
        print(f"note: {pictures} is missing; training needs it too: unpack leftImg8bit_trainvaltest.zip there")
    return 0
