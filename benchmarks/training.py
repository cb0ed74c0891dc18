"""Training steps per second and peak memory: densebone with and without recompute, and paddleclas.

    python -m benchmarks.training                                  hardnet39ds, hardnet68 and peleenet, batch 8 at 224
    python -m benchmarks.training --models hardnet68 --batch 4 --output training.md

A step is forward, cross-entropy, backward and an SGD update of the classifier with 1000 classes, in float32, in Paddle
eager. Each case runs in a process of its own, and the processes of a network take turns, as in `benchmarks.inference`,
whose docstring says how to make the peers' environment. Memory is how far the steps raise the peak of the process above
the peak after building the network.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODELS = ("hardnet39ds", "hardnet68", "peleenet")
CASES = (("ours", False), ("ours", True), ("peer", False))
TITLES = {("ours", False): "densebone", ("ours", True): "densebone, recompute", ("peer", False): "paddleclas"}
HEADER = "| network | | s for a step: median (least) | images/s | ratio to paddleclas | memory, MiB |\n"
HEADER += "|---|---|---|---|---|---|\n"


def make_step(case):
    """A function that runs one training step of a new network."""
    import paddle

    paddle.seed(0)
    if case["gpu"]:
        paddle.set_device("gpu")
    else:
        paddle.set_device("cpu")
        paddle.base.core.set_num_threads(case["threads"])
    if case["side"] == "ours":
        import densebone as db

        net = db.create_model(case["network"], recompute=case["recompute"])
    else:
        net = importlib.import_module("peers").paddleclas_network(case["network"])
    net.train()
    optimizer = paddle.optimizer.Momentum(1e-3, 0.9, parameters=net.parameters())
    images = paddle.randn([case["batch"], 3, case["size"], case["size"]])
    labels = paddle.randint(0, 1000, [case["batch"]])

    def step():
        with paddle.amp.auto_cast(enable=case["gpu"], dtype="bfloat16"):
            loss = paddle.nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
        if case["gpu"]:
            paddle.device.cuda.synchronize()

    return step


def serve(case):
    """Answers the orders of `turns.Worker`, as `worker.serve` does."""
    import worker

    answers = worker.open_answers()
    step = make_step(case)
    if case["recompute"]:
        # Paddle imports this at the first step; imported here, it does not count as memory of the step.
        from paddle.distributed.fleet.utils import recompute as _  # noqa: F401
    before = worker.memory_mib("VmHWM")
    step()
    step()
    worker.reply(answers, memory=worker.memory_mib("VmHWM") - before)
    worker.take_orders(answers, step, warm_up=False)


def measure_network(name, arguments, peers, work):
    """(the rows of one network, notes on the cases that were left out)."""
    from benchmarks import turns

    cases = [
        {
            "network": name, "side": side, "recompute": recompute, "batch": arguments.batch, "size": arguments.size,
            "threads": arguments.threads, "gpu": arguments.gpu,
        }
        for side, recompute in CASES
        if side == "ours" or (peers and not name.startswith("condensenet"))
    ]  # fmt: skip
    jobs = []
    for number, case in enumerate(cases):
        python = sys.executable if case["side"] == "ours" else peers
        command = [python, str(HERE / "training.py"), "--serve", json.dumps(case)]
        jobs.append((command, work / f"{name}-{number}.log"))
    started = turns.start(jobs, arguments.threads, at_once=1)
    try:
        running = [(case, *begun) for case, begun in zip(cases, started) if begun[0]]
        times = turns.take_turns([worker for _, worker, _ in running], arguments.rounds, 0)
    finally:
        turns.kill_all(started)
    taken = {(case["side"], case["recompute"]): rounds for (case, *_), rounds in zip(running, times) if rounds}
    rows = [_row(case, taken, said) for case, _, said in running if (case["side"], case["recompute"]) in taken]
    left = [f"{name}, {_title(case)}: {said}" for case, (worker, said) in zip(cases, started) if not worker]
    return "".join(rows), left


def _title(case):
    return TITLES[case["side"], case["recompute"]]


def _row(case, taken, said):
    from benchmarks import turns

    own, other = taken[case["side"], case["recompute"]], taken.get(("peer", False))
    median, least = turns.median(own) / 1e3, turns.least(own) / 1e3
    ratio = f"{turns.ratio(own, other):.2f}" if other else ""
    return (
        f"| {case['network']} | {_title(case)} | {median:.2f} ({least:.2f}) | {case['batch'] / median:.1f} | {ratio} "
        f"| {said['memory']:.0f} |\n"
    )


def main(argv=None):
    """Measures and prints the table; returns the exit status."""
    from benchmarks import inference, machine
    from densebone.errors import UserError

    arguments = _parser().parse_args(argv)
    try:
        if unknown := [name for name in arguments.models if name not in inference.MODELS]:
            raise UserError(f"there is no classifier {unknown[0]!r}; give some of {', '.join(inference.MODELS)}")
        if min(arguments.batch, arguments.threads, arguments.rounds) < 1 or arguments.size < 32:
            raise UserError("--size must be 32 or more, --batch, --threads and --rounds 1 or more")
        if arguments.gpu:
            inference.check_gpu()
        peers = inference.find_peers(arguments.peers)
    except UserError as error:
        print(f"benchmarks.training: {error}", file=sys.stderr)
        return 2
    found = inference.versions_of(peers)
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    lines = [f"- {line}\n" for line in machine.describe(found)]
    conditions = f"Batch {arguments.batch} at {arguments.size} x {arguments.size}, {arguments.threads} threads, "
    conditions += f"{'mixed precision on the GPU' if arguments.gpu else 'float32'}, {arguments.rounds} turns each.\n"
    table, notes = HEADER, []
    print(HEADER, end="", flush=True)
    for name in arguments.models:
        rows, left = measure_network(name, arguments, peers, work)
        print(rows, end="", flush=True)
        table, notes = table + rows, notes + left
    notes = [f"\nLeft out: {note}\n" for note in notes]
    print("".join(notes), end="")
    if arguments.output:
        arguments.output.write_text("".join([*lines, "\n", conditions, "\n", table, *notes]))
    return 0


def _parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME")
    parser.add_argument("--batch", type=int, default=8, help="images in a step (8)")
    parser.add_argument("--size", type=int, default=224, help="side of the images, pixels (224)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each process (2)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each case, three steps each (3)")
    parser.add_argument("--gpu", action="store_true", help="on a GPU, with mixed precision")
    parser.add_argument(
        "--peers", type=Path, metavar="PYTHON", help="Python of the peers' environment (.venv-peers/bin/python)"
    )
    parser.add_argument("--work", type=Path, default=HERE.parent / "output" / "benchmark", help="folder for logs")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    return parser


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(json.loads(sys.argv[2]))
    else:
        sys.exit(main())
