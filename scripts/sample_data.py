"""Write a small seeded data set in a real layout, to try things on.

densebone sample-data coco dataset/sample --train 120 --val 30 --seed 0
densebone sample-data cityscapes dataset/city --train 60 --val 20 --size 256x512
densebone sample-data imagenet dataset/things --train 600 --val 200 --size 80
"""

import re
from collections.abc import Sequence

from ..datasets.generated import write_cityscapes, write_coco, write_imagenet
from ..errors import UserError
from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = options.plain_parser("sample-data", __doc__)
    layouts = parser.add_subparsers(required=True, dest="layout", metavar="LAYOUT")
    _layout(layouts, "coco", "shapes to detect, as COCO 2017", _coco, train=120, val=30)
    city = _layout(layouts, "cityscapes", "street scenes to segment, as Cityscapes", _cityscapes, train=60, val=20)
    city.add_argument("--test", type=int, default=2, help="pictures whose labels are kept back (2)")
    city.add_argument("--size", default="256x512", metavar="HxW", help="height and width in pixels (256x512)")
    net = _layout(layouts, "imagenet", "things to classify, as ImageNet", _imagenet, train=600, val=200)
    net.add_argument("--size", type=int, default=80, metavar="S", help="shorter side in pixels (80)")
    arguments = parser.parse_args(argv)
    made, counts = arguments.run(arguments)
    print(f"{made.folder} {'holds' if made.present else 'now holds'} {counts}; classes {', '.join(made.classes)}")
    return 0


def _layout(layouts, name, what, run, train, val):
    """The parser of one layout, with the options of all layouts."""
    result = options.add_action(layouts, "sample-data", name, what, __doc__)
    result.set_defaults(run=run)
    result.add_argument("folder", help="new or empty folder")
    result.add_argument("--train", type=int, default=train, help=f"training pictures ({train})")
    result.add_argument("--val", type=int, default=val, help=f"evaluation pictures ({val})")
    result.add_argument("--seed", type=int, default=0, help="another seed gives other pictures (0)")
    return result


def _coco(arguments):
    made = write_coco(arguments.folder, arguments.train, arguments.val, seed=arguments.seed)
    return made, ", ".join(f"{made.pictures[p]} {p} pictures with {made.boxes[p]} boxes" for p in made.pictures)


def _cityscapes(arguments):
    size = re.fullmatch(r"(\d+)x(\d+)", arguments.size)
    if not size:
        raise UserError(f"--size {arguments.size} is no size; give HEIGHTxWIDTH in pixels, such as 256x512")
    made = write_cityscapes(
        arguments.folder, arguments.train, arguments.val, arguments.test,
        size=tuple(map(int, size.groups())), seed=arguments.seed,
    )  # fmt: skip
    return made, ", ".join(f"{count} {part} pictures" for part, count in made.pictures.items())


def _imagenet(arguments):
    made = write_imagenet(arguments.folder, arguments.train, arguments.val, arguments.size, arguments.seed)
    return made, ", ".join(f"{count} {part} pictures" for part, count in made.pictures.items())
