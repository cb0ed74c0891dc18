"""Try on a GPU what differs there: kernels, mixed precision, batches, several GPUs, and each task from data to export.

    densebone gpu-check                          # a line for each step
    densebone gpu-check --only kernels precision
    densebone gpu-check --dry-run                # the same steps on the CPU, smaller: it says nothing about a GPU

It writes gpu_check.json, which you can send us; docs/gpu.md says what is known so far. The exit status is 1 when a step
fails.
"""

from collections.abc import Sequence
from pathlib import Path

from ..system import gpus
from ..system.files import check_writable
from ..system.packages import paddle_version
from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status, 1 when a step fails."""
    parser = options.plain_parser("gpu-check", __doc__)
    parser.add_argument("--only", nargs="+", metavar="STEP", help="these steps; docs/gpu.md lists them")
    parser.add_argument("--dry-run", action="store_true", help="try the steps on the CPU")
    parser.add_argument(
        "-O", "--output", type=Path, default=Path("output/gpu_check"), metavar="DIR", help="(output/gpu_check)"
    )
    arguments = parser.parse_args(argv)
    from .. import __version__
    from ..tasks import gpu_trials

    names = gpu_trials.choose(arguments.only)
    found = gpus.survey()
    place = gpu_trials.place_for(arguments.dry_run, found, arguments.output.absolute())
    check_writable(arguments.output)
    options.print_lines(found.describe())
    file, rows = arguments.output / "gpu_check.json", []
    for name in names:
        rows.append(row := gpu_trials.try_step(name, place))
        options.print_lines([f"{row['result']:8} {name:14} {row['said']} ({row['seconds']:.0f} s)"], flush=True)
        gpu_trials.write(file, place, found, {"densebone": __version__, "paddle": paddle_version()}, rows)
    failed = [row["step"] for row in rows if row["result"] == "fails"]
    print(f"{len(failed)} of {len(rows)} steps fail; all is in {file}" + " (a dry run on the CPU)" * place.is_dry)
    if failed:
        print(f"what a step printed: {arguments.output}/STEP/log.txt")
    return 1 if failed else 0
