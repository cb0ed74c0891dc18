"""Try every head of the toolkits on every backbone, or print the configuration of a pair.

densebone compat                                   # every pair: build, train a step, export, run the exported model
densebone compat --backbones HarDNet68 --heads FCOS GFL
densebone compat --show HarDNet68 FCOS > my.yml    # a configuration that works, for densebone train -c my.yml

Each pair runs in its own process, on the CPU. Results go to DIR/results.jsonl, so a killed run can go on: pairs that
worked with the same versions and the same configuration are not tried again.
"""

import os
import shutil
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError
from ..tasks import trials
from ..tasks.tables import table
from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status, 1 when a pair does not work though the toolkit has the head."""
    arguments = _parser().parse_args(argv)
    if arguments.show:
        print(_configuration(*arguments.show), end="")
        return 0
    if arguments.jobs < 1:
        raise UserError(f"--jobs is {arguments.jobs}; give 1 or more")
    with _without_gpus():  # before the toolkits are imported
        pairs = _pairs(arguments)
        if arguments.overwrite:
            _forget(arguments.folder)
        rows = trials.run(pairs, arguments.folder, arguments.jobs, lambda line: print(line, flush=True))
    for title, lines, reasons in trials.tables(rows):
        print(f"\n{title}\n{table(lines)}")
        print("".join(f"({i}) {reason}\n" for i, reason in enumerate(reasons, 1)), end="")
    output = arguments.output or arguments.folder / "compatibility.md"
    trials.write(rows, output)
    print(f"\n{sum(row['works'] for row in rows)} of {len(rows)} pairs work; the table is in {output}")
    return 0 if all(row["works"] or row.get("absent") for row in rows) else 1


def _forget(folder):
    """Deletes what earlier runs left in the folder."""
    for name in ("results.jsonl", "data", "logs"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def _without_gpus():
    """Hides the GPUs, because a forked process cannot use one that its parent has opened."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        yield
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def _parser():
    parser = options.plain_parser("compat", __doc__)
    parser.add_argument("--show", nargs=2, metavar=("BACKBONE", "HEAD"), help="print the configuration of a pair")
    parser.add_argument("--toolkit", choices=trials.TOOLKITS, help="only the heads of this one; default both")
    parser.add_argument("--backbones", nargs="+", metavar="NAME", help="default all: HarDNet68, PeleeNet, ...")
    parser.add_argument("--heads", nargs="+", metavar="NAME", help="default all: FCOS, SSD, DeepLabV3P, ...")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trials at a time (1)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the table as Markdown (DIR/compatibility.md)")
    parser.add_argument(
        "--folder", type=Path, default=Path("output/compat"), metavar="DIR", help="results and logs (output/compat)"
    )
    parser.add_argument("--overwrite", action="store_true", help="forget what was found earlier")
    return parser


def _heads():
    """{head: toolkit} of all heads."""
    return {head: toolkit for toolkit in trials.TOOLKITS for head in trials.heads_of(toolkit).HEADS}


def _configuration(backbone, head):
    heads = _heads()
    (head,) = trials.choose([head], heads, "head")
    _, backbones = trials.heads_of(heads[head]).prepare()
    (backbone,) = trials.choose([backbone], backbones, "backbone")
    return f"# {head} on {backbone}, tried with densebone compat.\n" + trials.heads_of(heads[head]).yaml_of(
        backbone, head
    )


def _pairs(arguments):
    """The (toolkit, backbone, head) that the arguments ask for, head by head."""
    heads = {h: t for h, t in _heads().items() if arguments.toolkit in (None, t)}
    chosen = trials.choose(arguments.heads, heads, "head")
    pairs = []
    for head in chosen:
        _, known = trials.heads_of(heads[head]).prepare()
        backbones = trials.choose(arguments.backbones, known, "backbone")
        pairs += [(heads[head], backbone, head) for backbone in backbones]
    return pairs
