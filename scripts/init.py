"""Look at a folder of your own pictures and annotations, and write a small project that trains on it.

    densebone init my_pictures -O birds
    densebone init my_pictures --task detection --model peleenet --head picodet -O birds
    densebone train -c birds/config.yml --eval

The format of the annotations is recognised by their content: COCO, Pascal VOC, YOLO, labelme, CVAT, CSV, pictures with
label pictures (masks), folders of classes. Nothing of yours is changed or copied. The project holds data.yml (what was
found), a list of pictures for each part, the boxes as train.json, val.json (for detection), and config.yml, in which
each decision has its reason as a comment. docs/own_data.md takes you through it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..datasets import own
from ..tasks import project
from ..tasks.task import TASKS
from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = options.plain_parser("init", __doc__)
    parser.add_argument("path", help="folder of pictures and annotations, or the main annotation file")
    parser.add_argument("-O", "--output", default="project", metavar="DIR", help="folder of the project (project)")
    options.add_data_set(parser)
    group = parser.add_argument_group("decisions", "left out, they are made from the data and this machine")
    group.add_argument("--model", help="a network of densebone list, such as hardnet39ds")
    group.add_argument("--head", help="of a detector or a segmentation model: ppyoloe, picodet, ssd, yolov3, ...")
    group.add_argument("--epochs", type=int)
    group.add_argument("--batch", type=int, help="pictures a step")
    group.add_argument("--lr", type=float, help="learning rate")
    group.add_argument("--imgsz", type=int, metavar="PIXELS", help="of the network's input, a multiple of 32")
    group.add_argument("--device", choices=("cpu", "gpu"), help="where it will be trained; default: what is here")
    group.add_argument(
        "--pretrained", choices=("yes", "no"), help="ImageNet weights; default: yes where they can be fetched"
    )
    parser.add_argument("--strict", action="store_true", help="stop when something of the data would be left out")
    parser.add_argument("--overwrite", action="store_true", help="write a project anew that is there")
    arguments = parser.parse_args(argv)
    folder = Path(arguments.output)
    project.check_folder(folder, arguments.overwrite)
    division = own.Division(arguments.val, arguments.test, arguments.seed, arguments.groups)
    data = own.open_data(arguments.path, arguments.format, arguments.task, division)
    options.print_lines(own.in_words(data))
    if arguments.strict:
        data.report.refuse_drops()
    options.print_lines([f"note: {line}" for line in data.report.lines()], file=sys.stderr)
    pretrained = None if arguments.pretrained is None else arguments.pretrained == "yes"
    wishes = project.Wishes(
        arguments.model, arguments.head, arguments.epochs, arguments.batch, arguments.lr, arguments.imgsz, pretrained,
        arguments.device,
    )  # fmt: skip
    decisions = TASKS[data.task].part("project").decide(data, wishes, folder, project.machine(wishes))
    how = {"seed": arguments.seed, "groups": arguments.groups, "val": arguments.val, "test": arguments.test}
    files = project.write(data, decisions, folder, how)
    options.print_lines(f"  {line}" for line in decisions.said)
    print(f"wrote {', '.join(str(file) for file in files)}")
    print(f"now: densebone train -c {folder / project.CONFIG_FILE} --eval")
    return 0
