"""What gradient checkpointing saves and costs: memory and time of a training step for each HarDNet backbone.

    python benchmarks/recompute.py --output recompute.md

A step is forward, backward and an SGD update. Memory is how far two steps raise the peak of the process above the peak
after building the network; each case runs in a process of its own. Time is measured in one process per row, which
alternates steps without and with checkpointing, so a busy machine slows both alike.
"""

import statistics
import time

import children

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


def measure_memory(model, batch, size, recompute):
    """MiB that two training steps add to the peak."""
    from worker import memory_mib

    if recompute:
        # Paddle imports this at the first step; imported here, it does not count as memory of the step.
        from paddle.distributed.fleet.utils import recompute as _  # noqa: F401
    step = make_step(model, batch, size, recompute)
    before = memory_mib("VmHWM")
    step()
    step()
    return memory_mib("VmHWM") - before


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


def measure_row(model, batch, size, rounds):
    """One row of the table."""
    memory = [children.call(__file__, measure_memory, model, batch, size, recompute) for recompute in (False, True)]
    times = children.call(__file__, measure_times, model, batch, size, rounds)
    medians, least = [statistics.median(t) for t in times], [min(t) for t in times]
    return (
        f"| {model} | {batch} | {memory[0]:.0f} | {memory[1]:.0f} | {memory[1] / memory[0]:.2f} "
        f"| {medians[0]:.2f} ({least[0]:.2f}) | {medians[1]:.2f} ({least[1]:.2f}) "
        f"| {medians[1] / medians[0]:.2f} ({least[1] / least[0]:.2f}) |\n"
    )


def main(argv=None):
    """Measures and prints the table."""
    parser = children.new_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--batches", nargs="+", type=int, default=[4, 8])
    parser.add_argument("--size", type=int, default=224, help="side of the images, pixels")
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each kind")
    args = parser.parse_args(argv)
    if args.child:
        children.answer(args.child, measure_memory, measure_times)
        return
    rows = (measure_row(model, batch, args.size, args.rounds) for model in args.models for batch in args.batches)
    children.print_table(HEADER, rows, args.output)


if __name__ == "__main__":
    main()
