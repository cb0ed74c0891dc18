"""Feature maps or vectors of pictures, into files.

    densebone features pictures/ -m hardnet68 -O features --pooled
    densebone features 'a/*.jpg' list.txt -O maps --strides 8 16 32 --size-mode letterbox --size 512 512 --png
    python -m paddle.distributed.launch --nproc_per_node 4 $(which densebone) features pictures/ -O features --pooled
    densebone features s3://bucket/pictures -O features --pooled --ray 10.0.0.1:6379

PATH is a file, a folder, a pattern, a list (.txt with a path in each line, .parquet with a column of them) or an
address that fsspec knows. A killed run goes on when it is started
again with the same options. Broken pictures are named and left out, and the exit status is then 1. Read the files with
densebone.features.load_features(DIR).
"""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from ..errors import UserError, printable
from ..system.packages import PRECISIONS
from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status, 1 when pictures were left out."""
    arguments = _parser().parse_args(argv)
    from ..cluster.connecting import connected
    from ..features.job import extract
    from ..features.listing import part_of, threads_of
    from ..features.shards import check_paths

    part = part_of(arguments.part)
    if arguments.png is not None and (arguments.png < 1 or arguments.pooled):
        raise UserError("--png draws the maps of 1 picture or more, and --pooled writes none; leave one of them out")
    where = options.read_cluster(arguments)
    if where and (arguments.png or arguments.part or part[1] > 1):
        raise UserError("--ray shares the work itself, and its workers draw nothing; leave --part and --png out")
    check_paths(arguments.output, arguments.paths)
    connection = nullcontext() if where is None else connected(where.address)
    with connection as ray, _extractor(arguments, arguments.threads or threads_of()) as extractor:
        print(f"{arguments.model}: {extractor.description}", file=sys.stderr)
        options.begin_timings(arguments)
        draw = _drawing(extractor, arguments) if arguments.png else None
        result = extract(
            extractor, arguments.paths, arguments.output, arguments.format, arguments.shard_size, part, draw,
            arguments.png, _hands(ray, where, arguments, extractor) if where else None,
        )  # fmt: skip
    options.print_timings(arguments, result["computed"])
    return _report(result, arguments, part)


def _extractor(arguments, threads, **changes):
    """The extractor that the options describe."""
    from ..features import FeatureExtractor

    given = {
        "model": arguments.model, "strides": arguments.strides, "pooled": arguments.pooled,
        "pretrained": arguments.weights or True, "engine": arguments.engine, "precision": arguments.precision,
        "batch_size": arguments.batch_size, "size_mode": arguments.size_mode,
        "size": tuple(arguments.size) if arguments.size else None, "pad": arguments.pad,
        "preprocessing": arguments.preprocessing, "throughput": True, "reduced": arguments.reduced,
        "calibration": arguments.calibration,
    }  # fmt: skip
    return FeatureExtractor(**{**given, "threads": threads, **changes})


def _hands(ray, where, arguments, extractor):
    """The workers of a cluster, which get the file of weights."""
    from ..cluster.featuring import hands
    from ..weights.catalog import default_for
    from ..weights.loader import locate

    file = locate(arguments.weights or default_for(arguments.model).name)
    return hands(ray, where, partial(_on_worker, arguments, extractor.preprocessing), file)


def _on_worker(arguments, preprocessing, threads, file):
    """The extractor of a worker; `file` is the path of its copy of the weights."""
    return _extractor(arguments, threads, pretrained=file, preprocessing=preprocessing)


def _parser():
    parser = options.plain_parser("features", __doc__)
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="pictures, folders, patterns, or lists in .txt files")
    add("-m", "--model", default="hardnet68", help="a name of densebone list (hardnet68)")
    add("-w", "--weights", help="a file, a URL, or a name of densebone weights list; default: the published ones")
    add("-O", "--output", type=Path, default=Path("output/features"), metavar="DIR", help="(output/features)")
    add("--format", default="npz", choices=("npz", "safetensors", "parquet"), help="(npz); Parquet is for vectors")
    add(
        "--pooled", nargs="?", const="avg", choices=("avg", "penultimate"),
        help="vectors: means of the maps (avg), or the input of the classifier's last layer (penultimate)",
    )  # fmt: skip
    add("--strides", type=int, nargs="+", metavar="S", help="maps at these strides, of 2 4 8 16 32 (4 8 16 32)")
    add(
        "--size-mode",
        choices=("crop", "resize", "letterbox", "native"),
        help="(crop, as the weights were evaluated)",
    )
    add("--size", type=int, nargs=2, metavar=("H", "W"), help="of resize and letterbox, in pixels")
    add("--pad", action="store_true", help="native: add zeros, to multiples of the largest stride")
    add("--preprocessing", metavar="NAME", help="prepare pictures as for these published weights; for your own weights")
    add("--engine", default="auto", help="auto, openvino, onnxruntime, paddle or eager (auto)")
    add("--precision", default="fp32", choices=PRECISIONS, help="(fp32)")
    add("--calibration", metavar="DIR", help="int8: pictures of the kind that will come")
    add("--threads", type=int, metavar="N", help="processor threads (all)")
    add("--batch-size", type=int, metavar="N", help="pictures that are computed at a time (2 in each thread, or 8)")
    add(
        "--reduced",
        action="store_true",
        help="decode large JPEGs at a half or less of their size; see docs/features.md",
    )
    options.add_timings(parser)
    add("--shard-size", type=int, metavar="N", help="pictures in a file (1000 for vectors, 64 for maps)")
    options.add_cluster(parser)
    add("--part", metavar="I/N", help="this is process I, from 1 on, of N that share the work")
    add("--png", type=int, nargs="?", const=8, metavar="N", help="draw sheets of the first N pictures (8)")
    return parser


def _drawing(extractor, arguments):
    """Draws sheets of the first pictures of the list into DIR/sheets."""
    from ..features.sheets import colours, draw_sheet, picture_of

    colours()  # raises now when sheets cannot be drawn

    def draw(number, name, inputs, maps):
        path = arguments.output / "sheets" / f"{number:06d}-{Path(name).stem[:80]}.png"
        picture = picture_of(inputs, extractor.preprocessing)
        draw_sheet(path, f"{name}   {extractor.model}", picture, maps, extractor.strides)

    return draw


def _report(result, arguments, part):
    speed = f", {result['computed'] / result['seconds']:.1f} images/s" if result["computed"] else ""
    share = f" of part {part[0] + 1} of {part[1]}" if part[1] > 1 else ""
    print(f"{result['pictures']} pictures{share} in {arguments.output} ({result['computed']} computed now{speed})")
    if result["skipped"]:
        print("\n".join(printable(f"  left out: {name}: {reason}") for name, reason in result["examples"]))
        where = "skipped.jsonl there" if result["complete"] else "the records there"
        print(f"{result['skipped']} pictures{share} cannot be read; all are named in {where}")
    return 1 if result["skipped"] else 0
