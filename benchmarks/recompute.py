"""What gradient checkpointing saves and costs: memory and time of a training step of each HarDNet backbone.

    python benchmarks/recompute.py --output recompute.md

A step is forward, backward and an SGD update. Memory is the process's peak after two steps minus its peak
once the network is built, each case in a process of its own. Time is taken in one process per row, off and on
in turn, so that a busy machine slows both alike. This process imports nothing large: a child's peak starts at
its parent's size.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

MODELS = ("hardnet39ds", "hardnet68ds", "hardnet68", "hardnet85")
HEADER = (
    "| backbone | batch | memory off, MiB | memory on, MiB | ratio | time off, s: median (least) "
    "| time on, s: median (least) | ratio of medians (of least) |\n|---|---|---|---|---|---|---|---|\n"
)


def make_step(model, batch, size, recompute):
    """A function that runs one training step of a new backbone."""
    import paddle

    import densebone as db

    paddle.seed(0)
    net = db.create_backbone(model, recompute=recompute)
    net.train()
    optimizer = paddle.optimizer.SGD(1e-3, parameters=net.parameters())
    images = paddle.randn([batch, 3, size, size])

    def step():
        sum((m * m).mean() for m in net(images)).backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)

    return step


def peak_mib():
    """Largest resident size of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_memory(model, batch, size, recompute):
    """MiB that two training steps add to the peak."""
    if recompute:
        from paddle.distributed.fleet.utils import recompute as _  # noqa: F401  imported late: not part of a step
    step = make_step(model, batch, size, recompute)
    before = peak_mib()
    step()
    step()
    return peak_mib() - before


def measure_times(model, batch, size, rounds):
    """Seconds per step, [without, with] gradient checkpointing, `rounds` of each after a warm-up."""
    steps = [make_step(model, batch, size, recompute) for recompute in (False, True)]
    times = [[], []]
    for _ in range(rounds + 1):
        for step, taken in zip(steps, times):
            start = time.perf_counter()
            step()
            taken.append(time.perf_counter() - start)
    return [taken[1:] for taken in times]


def in_new_process(name, *args):
    """The result of one of the two functions above, run by a child."""
    command = [sys.executable, __file__, "--child", json.dumps([name, *args])]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def measure_row(model, batch, size, rounds):
    """One row of the table."""
    memory = [in_new_process("measure_memory", model, batch, size, recompute) for recompute in (False, True)]
    times = in_new_process("measure_times", model, batch, size, rounds)
    medians, least = [statistics.median(t) for t in times], [min(t) for t in times]
    return (
        f"| {model} | {batch} | {memory[0]:.0f} | {memory[1]:.0f} | {memory[1] / memory[0]:.2f} "
        f"| {medians[0]:.2f} ({least[0]:.2f}) | {medians[1]:.2f} ({least[1]:.2f}) "
        f"| {medians[1] / medians[0]:.2f} ({least[1] / least[0]:.2f}) |\n"
    )


def main(argv=None):
    """Measures, prints the table and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--batches", nargs="+", type=int, default=[4, 8])
    parser.add_argument("--size", type=int, default=224, help="side of the images, pixels")
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each kind")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        name, *rest = args.child
        print(json.dumps({"measure_memory": measure_memory, "measure_times": measure_times}[name](*rest)))
        return
    table = HEADER
    print(HEADER, end="", flush=True)
    for model in args.models:
        for batch in args.batches:
            row = measure_row(model, batch, args.size, args.rounds)
            print(row, end="", flush=True)
            table += row
    if args.output:
        args.output.write_text(table)


if __name__ == "__main__":
    main()
