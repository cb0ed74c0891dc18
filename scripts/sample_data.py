"""Write a small seeded data set in a real layout, to try things on.

densebone sample-data coco dataset/sample --train 120 --val 30 --seed 0
"""

import argparse

from ..sample_data import write_coco


def main(argv=None):
    """Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="densebone sample-data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("layout", choices=("coco",), help="layout of the data set")
    parser.add_argument("folder", help="new or empty folder")
    parser.add_argument("--train", type=int, default=120, help="training pictures (120)")
    parser.add_argument("--val", type=int, default=30, help="evaluation pictures (30)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other pictures (0)")
    arguments = parser.parse_args(argv)
    made = write_coco(arguments.folder, arguments.train, arguments.val, seed=arguments.seed)
    counts = ", ".join(f"{made.pictures[part]} {part} pictures with {made.boxes[part]} boxes" for part in made.pictures)
    print(f"{made.folder} {'holds' if made.present else 'now holds'} {counts}; classes {', '.join(made.classes)}")
    return 0
