"""How gradients are averaged over processes: what `densebone train` does against Paddle's own ways, in the same run.

    python -m benchmarks.data_parallel                        2 and 4 processes, hardnet39ds and hardnet68
    python -m benchmarks.data_parallel --models hardnet68 --processes 2 --iterations 30 --output data_parallel.md
    python -m benchmarks.data_parallel --kill                 what a process says when another one is gone

An iteration is forward, cross-entropy, backward, the averaging and a Momentum update of the classifier, in float32.
`paddle.distributed.launch` starts the processes. Each has one network for every way, of the same seed; they get the
same pictures, one way after the other, and every other iteration in the opposite order, so that a busy machine slows
all alike. All processes begin an iteration together, and it counts as long as the slowest one takes.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = {
    "none": "no averaging at all: the networks drift apart",
    "ours": "`densebone train`: Paddle's `fused_allreduce_gradients`, after backward",
    "flat": "one flat array, written by hand, after backward",
    "parallel": "Paddle's `DataParallel`, within backward",
}
HEADER = (
    "| network | processes | gradients | ms for an iteration: median (quartiles) | ratio to `DataParallel` "
    "| first losses differ from `DataParallel`'s by at most |\n|---|---|---|---|---|---|\n"
)
WARM = 2  # iterations that do not count
CLASSES = 10
EQUAL = 3  # losses that are compared: four processes add in another order, and training enlarges what rounding leaves
KILLED_AT = 3


def make_step(way, case):
    """A function of a number that runs one training step of a new network and returns the loss."""
    import paddle
    from paddle.distributed import get_rank

    import densebone as db
    from densebone.training.processes import average_gradients, share

    paddle.seed(0)
    net = db.create_model(case["network"], num_classes=CLASSES)
    share(net.state_dict().values())
    called = paddle.DataParallel(net) if way == "parallel" else net
    net.train()
    optimizer = paddle.optimizer.Momentum(0.01, 0.9, parameters=net.parameters())

    def step(number):
        paddle.seed(1000 * number + get_rank())
        images = paddle.randn([case["batch"], 3, case["size"], case["size"]])
        labels = paddle.randint(0, CLASSES, [case["batch"]])
        loss = paddle.nn.functional.cross_entropy(called(images), labels)
        loss.backward()
        if way == "ours":
            average_gradients(net.parameters())
        elif way == "flat":
            flat_average(net.parameters())
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
        return float(loss)

    return step


def flat_average(parameters):
    """The mean of the gradients over the processes as one would write it down: concatenated, summed, copied back."""
    import paddle

    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    with paddle.no_grad():
        flat = paddle.concat([gradient.flatten() for gradient in gradients])
        paddle.distributed.all_reduce(flat)
        flat /= paddle.distributed.get_world_size()
        parts = paddle.split(flat, [gradient.size for gradient in gradients])
        for gradient, part in zip(gradients, parts):
            gradient.set_value(part.reshape(gradient.shape))


def take_part(case):
    """What each process does: writes FOLDER/RANK.json, {way: {"times": seconds, "losses": numbers}}."""
    import paddle

    from densebone.training import processes

    paddle.set_device("gpu" if case["gpu"] else "cpu")
    processes.start()
    ways = list(case["ways"])
    steps = {way: make_step(way, case) for way in ways}
    found = {way: {"times": [], "losses": []} for way in ways}
    for number in range(WARM + case["iterations"]):
        for way in ways if number % 2 else reversed(ways):
            paddle.distributed.barrier()
            begun = time.perf_counter()
            loss = steps[way](number)  # a number, so the forward pass is over; the update is waited for below
            if case["gpu"]:
                paddle.device.synchronize()
            found[way]["times"].append(time.perf_counter() - begun)
            found[way]["losses"].append(loss)
    Path(case["folder"], f"{paddle.distributed.get_rank()}.json").write_text(json.dumps(found))


def be_killed(case):
    """The last process ends itself in the backward pass of an iteration; the others go on, and say what they meet."""
    import paddle

    from densebone.training import processes

    processes.start()
    rank, ranks = paddle.distributed.get_rank(), paddle.distributed.get_world_size()
    (way,) = case["ways"]
    step = make_step(way, case)
    for number in range(KILLED_AT):
        step(number)
    if rank == ranks - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    with processes.together():
        step(KILLED_AT)


def launch(case, processes, threads):
    """Starts the processes with Paddle's launcher; returns what each of them wrote."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", str(processes)]
        command += ["--log_dir", folder, __file__, "--part", json.dumps({**case, "folder": folder})]
        done = subprocess.run(command, env=_environment(threads), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            sys.exit(f"benchmarks.data_parallel: {case['network']} failed:\n{done.stdout.decode(errors='replace')}")
        return [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(processes)]


def rows_of(network, processes, arguments):
    """The table's rows of a network and a number of processes."""
    case = {"network": network, "batch": arguments.batch, "size": arguments.size, "gpu": arguments.gpu}
    case |= {"iterations": arguments.iterations, "ways": list(WAYS)}
    times, differences = {way: [] for way in WAYS}, dict.fromkeys(WAYS, 0.0)
    for _ in range(arguments.rounds):
        said = launch(case, processes, arguments.threads)
        for way in WAYS:
            times[way] += slowest([one[way]["times"] for one in said])[WARM:]
            for one in said:
                apart = (abs(a - b) for a, b in zip(one[way]["losses"][:EQUAL], one["parallel"]["losses"]))
                differences[way] = max(differences[way], *apart)
    rows = []
    for way, title in WAYS.items():
        low, median, high = (1e3 * value for value in statistics.quantiles(times[way], n=4))
        ratio = statistics.median(own / peer for own, peer in zip(times[way], times["parallel"]))
        rows.append(
            f"| {network} | {processes} | {title} | {median:.0f} ({low:.0f} to {high:.0f}) | {ratio:.2f} "
            f"| {differences[way]:.2g} |\n"
        )
    return "".join(rows)


def slowest(lists):
    """The largest of the processes' times for each iteration."""
    return [max(times) for times in zip(*lists)]


def killed(way, network, batch, size):
    """How the first of two processes ends when the other one was killed: a line of text.

    The launcher would end it at once, so the two are started without it.
    """
    case = {"network": network, "batch": batch, "size": size, "gpu": False, "ways": [way]}
    ends = [f"127.0.0.1:{port}" for port in _free_ports(3)]
    together = {"PADDLE_TRAINERS_NUM": "2", "PADDLE_TRAINER_ENDPOINTS": ",".join(ends[:2]), "PADDLE_MASTER": ends[2]}
    together |= {"PADDLE_DISTRI_BACKEND": "gloo"}
    command = [sys.executable, __file__, "--killed", json.dumps(case)]
    running = []
    for rank in (0, 1):
        own = {"PADDLE_TRAINER_ID": str(rank), "PADDLE_CURRENT_ENDPOINT": ends[rank]}
        environment = {**_environment(1), **together, **own}
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
    try:
        running[1].communicate()
        begun = time.perf_counter()
        text = running[0].communicate(timeout=120)[1].decode(errors="replace")
    except subprocess.TimeoutExpired:
        return "still waits after 120 s"
    finally:
        for process in running:
            process.kill()
            process.wait()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "nothing")
    return f"status {running[0].returncode} after {time.perf_counter() - begun:.1f} s: {said[:300]}"


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _environment(threads):
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(variables, str(threads))}


def main(argv=None):
    """Measures and prints the table; returns the exit status."""
    from benchmarks import children, machine

    arguments = _parser().parse_args(argv)
    if min(arguments.batch, arguments.threads, arguments.rounds) < 1 or arguments.iterations < 2:
        print("benchmarks.data_parallel: give at least 2 iterations, and 1 of everything else", file=sys.stderr)
        return 2
    if min(arguments.processes) < 2:
        print("benchmarks.data_parallel: give at least 2 processes; one has nothing to average", file=sys.stderr)
        return 2
    if arguments.kill:
        for way in list(WAYS)[1:]:
            print(f"{WAYS[way]}: {killed(way, arguments.models[0], arguments.batch, arguments.size)}", flush=True)
        return 0
    print("".join(f"- {line}\n" for line in machine.describe({})[:-1]))
    print(
        f"{arguments.batch} pictures of {arguments.size} x {arguments.size} and {arguments.threads} threads a process; "
        f"{arguments.rounds} launches of {arguments.iterations} iterations.\n"
    )
    cases = ((network, processes) for network in arguments.models for processes in arguments.processes)
    children.print_table(HEADER, (rows_of(*case, arguments) for case in cases), arguments.output)
    return 0


def _parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["hardnet39ds", "hardnet68"], metavar="NAME", help="classifiers")
    parser.add_argument("--processes", nargs="+", type=int, default=[2, 4], metavar="N")
    parser.add_argument("--batch", type=int, default=8, help="pictures of a process in an iteration (8)")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures, pixels (64)")
    parser.add_argument("--threads", type=int, default=1, help="threads of a process (1)")
    parser.add_argument("--iterations", type=int, default=10, help="measured iterations of a launch (10)")
    parser.add_argument("--rounds", type=int, default=3, help="launches (3)")
    parser.add_argument("--gpu", action="store_true", help="one GPU for each process")
    parser.add_argument("--kill", action="store_true", help="kill one of two processes instead of measuring")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    return parser


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        take_part(json.loads(sys.argv[2]))
    elif sys.argv[1:2] == ["--killed"]:
        be_killed(json.loads(sys.argv[2]))
    else:
        sys.exit(main())
