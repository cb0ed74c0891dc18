"""Look at a data set of your own: its faults, its numbers, its pictures; divide it; write it in another format.

    densebone data check my_pictures                 # every fault, by name, and what training does about it
    densebone data stats my_pictures -O stats.png    # counts, and plots of sizes, shapes and classes
    densebone data show my_pictures -O sheet.png     # pictures with their boxes or classes drawn
    densebone data split my_pictures -O lists        # train.txt, val.txt, test.txt, and the boxes of each
    densebone data convert my_pictures --to yolo -O as_yolo

my_pictures is a folder, the main annotation file, or a project of `densebone init`. Nothing in it is changed.
check ends with status 1 when it found something that stops training, or with --strict anything at all.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..datasets import conversion, counting, inspection, own, showing
from ..datasets.formats import FORMATS
from ..datasets.formats.writing import PICTURES
from ..errors import UserError
from ..pictures.plots import png_path
from ..pictures.sheets import plot_sheet
from ..system.files import atomic_path
from ..system.progress import Progress
from . import options

CELL = 320


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = options.plain_parser("data", __doc__)
    actions = parser.add_subparsers(required=True, dest="action", metavar="check|stats|show|split|convert")
    check = _action(actions, "check", "find broken, repeated, leaked and wrongly annotated pictures", _check)
    check.add_argument("--json", metavar="FILE", help="write every finding with all names")
    check.add_argument("--strict", action="store_true", help="status 1 for any finding")
    stats = _action(actions, "stats", "count pictures, objects, sizes and classes, and plot them", _stats)
    stats.add_argument("-O", "--output", metavar="PNG", help="draw the plots")
    stats.add_argument("--json", metavar="FILE", help="write the numbers")
    show = _action(actions, "show", "draw pictures with their annotations on a sheet", _show)
    show.add_argument("-O", "--output", metavar="PNG", default="sheet.png", help="the sheet (sheet.png)")
    show.add_argument("-n", "--count", type=int, default=16, help="pictures on the sheet (16)")
    show.add_argument("--part", default="train", help="of which part (train)")
    split = _action(actions, "split", "divide into train, val and test, as lists", _split)
    split.add_argument("-O", "--output", metavar="DIR", required=True, help="receives the lists")
    convert = _action(actions, "convert", "write in another format", _convert)
    convert.add_argument("--to", required=True, choices=conversion.TARGETS)
    convert.add_argument("-O", "--output", metavar="DIR", required=True, help="new folder")
    convert.add_argument(
        "--pictures",
        choices=PICTURES,
        default="link",
        help="link to them, copy them, or leave them where they are (link)",
    )
    convert.add_argument("--boxes", action="store_true", help="boxes where polygons could be written")
    convert.add_argument("--strict", action="store_true", help="stop when something would be lost")
    arguments = parser.parse_args(argv)
    return arguments.run(arguments) or 0


def _action(actions, name, what, run):
    result = options.add_action(actions, "data", name, what, __doc__)
    result.set_defaults(run=run)
    result.add_argument("path", help="folder, main annotation file, or project of densebone init")
    result.add_argument("-v", "--verbose", action="store_true", help="show the messages of libraries too")
    options.add_data_set(result)
    return result


def _open(arguments):
    division = own.Division(arguments.val, arguments.test, arguments.seed, arguments.groups)
    data = own.open_data(arguments.path, arguments.format, arguments.task, division)
    options.print_lines(own.in_words(data))
    options.print_lines([f"note: {line}" for line in data.report.lines()], file=sys.stderr)
    return data


def _check(arguments):
    path, name, task = own.place_of(arguments.path, arguments.format, arguments.task)
    with Progress(desc="reading", unit="picture") as bar:
        source, found = inspection.inspect(path, name, task, lambda: bar.update() and None)
    print(f"{source.root}: {FORMATS[source.format].title} ({source.evidence}), {source.task}")
    for level in inspection.LEVELS:
        options.print_lines(f"{level:9} {finding.line()}" for finding in found if finding.level == level)
    stops = sum(finding.level == "stops" for finding in found)
    print(f"{len(found)} kinds of faults, {stops} of which stop training" if found else "no faults")
    if arguments.json:
        _write_json(arguments.json, [finding.as_dict() for finding in found])
    return 1 if stops or (found and arguments.strict) else 0


def _write_json(file, content):
    with atomic_path(file) as temporary:
        temporary.write_bytes(msgspec.json.format(json.dumps(content).encode(), indent=1))
    print(f"wrote {file}")


def _stats(arguments):
    if arguments.output:
        png_path(arguments.output)
    data = _open(arguments)
    counted = counting.count(data)
    options.print_lines(counting.describe(counted))
    if arguments.json:
        _write_json(arguments.json, counted)
    if arguments.output:
        counting.plot(data, arguments.output)
        print(f"wrote {arguments.output}")


def _show(arguments):
    path = png_path(arguments.output)
    if not 1 <= arguments.count <= 1000:
        raise UserError(f"-n is {arguments.count}; give a number of pictures from 1 to 1000")
    data = _open(arguments)
    if arguments.part not in data.parts:
        raise UserError(f"--part is {arguments.part!r}; the data has {', '.join(data.parts)}")
    pictures, titles = zip(*showing.samples(data, arguments.part, arguments.count, arguments.seed, CELL))
    plot_sheet(pictures, titles, path, cell=CELL)
    print(f"{len(pictures)} pictures in {path}")


def _split(arguments):
    data = _open(arguments)
    files = own.write_parts(data, Path(arguments.output))
    print(f"wrote {', '.join(map(str, files))}")


def _convert(arguments):
    data = _open(arguments)
    report = conversion.losses(data, arguments.to, not arguments.boxes)
    if arguments.strict:
        report.refuse_drops()
    conversion.convert(data, arguments.to, Path(arguments.output), arguments.pictures, not arguments.boxes)
    options.print_lines([f"note: {line}" for line in report.lines()], file=sys.stderr)
    print(f"wrote {arguments.output} in the format {arguments.to}")
