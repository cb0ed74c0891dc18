"""Complete a downloaded data set with the files that training needs and its archives lack.

    densebone prepare cityscapes dataset/cityscapes
    densebone prepare voc dataset/voc

cityscapes: writes a labelTrainIds picture beside every labelIds picture in gtFine, with the 19 classes as 0 to 18 and
the rest as 255. Existing pictures are kept, so an interrupted run is completed by running it again.
voc: writes trainval.txt (of 2007 and 2012, whichever are there), test.txt (of 2007) and label_list.txt beside
VOCdevkit.
"""

from collections.abc import Sequence
from pathlib import Path

from ..datasets import cityscapes, voc
from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = options.plain_parser("prepare", __doc__)
    parser.add_argument("layout", choices=("cityscapes", "voc"), help="layout of the data set")
    parser.add_argument("folder", metavar="DIR", help="folder of the data set, which holds gtFine or VOCdevkit")
    arguments = parser.parse_args(argv)
    (_prepare_voc if arguments.layout == "voc" else _prepare_cityscapes)(arguments.folder)
    return 0


def _prepare_voc(folder: str) -> None:
    counts = voc.write_lists(folder)
    print("\n".join(f"{Path(folder) / name}: {count} pictures" for name, count in counts.items()))
    for name in voc.LISTS.keys() - counts.keys():
        print(f"note: {name} is not written, because its pictures are not there")


def _prepare_cityscapes(folder: str) -> None:
    counts = cityscapes.write_train_ids(folder)
    for split, (written, present) in counts.items():
        print(f"{split:6} {written} labelTrainIds pictures written, {present} were there")
    pictures = Path(folder) / cityscapes.IMAGES
    if not pictures.is_dir():
        print(f"note: {pictures} is missing; training needs it too: unpack leftImg8bit_trainvaltest.zip there")
