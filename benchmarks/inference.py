"""How fast each network runs on each engine, side by side with the same networks of other libraries.

    python -m benchmarks.inference                       all networks, about an hour; writes docs/benchmarks.md
    python -m benchmarks.inference --quick --models hardnet68 peleenet --output mine.md
    python -m benchmarks.inference --gpu                 on a GPU, with paddlepaddle-gpu

The other libraries, the peers, need an environment of their own. `make benchmark` makes it, or

    python -m venv .venv-peers
    .venv-peers/bin/pip install -r benchmarks/requirements.txt
    .venv-peers/bin/pip install --no-deps paddleclas==2.6.0

Each engine runs in a process of its own. The processes of a network take turns, forwards and backwards, and are paused
in between. All run the same network with the same weights on the same picture, and their outputs are compared. The work
folder keeps the results of each network, so an interrupted run continues where it stopped; --overwrite measures again.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import machine, report, turns, worker
from densebone.errors import UserError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MODELS = (
    "hardnet39ds", "hardnet68ds", "hardnet68", "hardnet85", "peleenet",
    "condensenetv2_a", "condensenetv2_b", "condensenetv2_c",
)  # fmt: skip
QUICK = ("hardnet68", "hardnet68ds", "peleenet", "condensenetv2_c")
#: segmentation network -> (height, width) of its pictures: Cityscapes' and half of it
SEGMENTERS = {"fchardnet70": ((512, 1024), (1024, 2048))}
THROUGHPUT_BATCH = 8
#: what is measured with THROUGHPUT_BATCH pictures at once
THROUGHPUT_CASES = (
    ("peer", "torch", "fp32"),
    ("peer", "onnxruntime", "fp32"),
    ("ours", "auto", "fp32"),
    ("peer", "openvino", "fp32"),
    ("ours", "auto", "bf16"),
    ("peer", "openvino", "bf16"),
)
#: (side, engine, precision) in the order of their turns. The cases of the page's top table stand next to each other.
CPU_CASES = (
    ("peer", "torch", "fp32"),
    ("peer", "onnxruntime", "fp32"),
    ("ours", "auto", "fp32"),
    ("peer", "openvino", "fp32"),
    ("ours", "auto", "bf16"),
    ("ours", "openvino", "int8"),
    ("ours", "onnxruntime", "int8"),
    ("ours", "openvino", "fp32"),
    ("ours", "onnxruntime", "fp32"),
    ("ours", "paddle", "fp32"),
    ("ours", "paddle", "bf16"),
    ("ours", "eager", "fp32"),
    ("peer", "torch channels-last", "fp32"),
    ("peer", "torch channels-last", "bf16"),
    ("peer", "paddleclas", "fp32"),
)
PADDLECLAS = ("hardnet39ds", "hardnet68ds", "hardnet68", "hardnet85", "peleenet")
GPU_CASES = tuple(
    (side, engine, precision)
    for side, engine in (("ours", "eager"), ("peer", "torch channels-last"), ("peer", "paddleclas"))
    for precision in ("fp32", "amp")
)


def main(argv=None):
    """Measures and writes the page; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return _benchmark(arguments)
    except UserError as error:
        print(f"benchmarks.inference: {error}", file=sys.stderr)
        return 2


def _check(arguments):
    """Raises UserError for arguments that cannot be measured."""
    known = (*MODELS, *SEGMENTERS)
    if unknown := [name for name in arguments.models or () if name not in known]:
        raise UserError(f"there is no network {unknown[0]!r} to measure; give some of {', '.join(known)}")
    if min(*(arguments.size or (32,)), 64 * arguments.threads, 64 * arguments.batch) < 32:
        raise UserError("--size must be 32 or more, --threads and --batch 1 or more")
    known = list(dict.fromkeys(engine for _, engine, _ in CPU_CASES))
    if unknown := [name for name in arguments.engines or () if name not in known]:
        raise UserError(f"there is no engine {unknown[0]!r}; give some of {', '.join(known)}")
    if arguments.gpu:
        check_gpu()


def _benchmark(arguments):
    _check(arguments)
    peers = find_peers(arguments.peers)
    found = versions_of(peers)
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    models = arguments.models or (QUICK if arguments.quick else (*MODELS, *SEGMENTERS))
    lines, begin, rows, many = machine.describe(found), time.time(), [], []
    for name in models:
        for size in [arguments.size] if arguments.size else SEGMENTERS.get(name, [(224, 224)]):
            rows.append(measure_network(name, arguments, size, arguments.batch, work, peers, found))
            print(report.summary(rows[-1]), flush=True)
        if name in MODELS and arguments.batch == 1 and not (arguments.quick or arguments.gpu):
            many.append(measure_network(name, arguments, size, THROUGHPUT_BATCH, work, peers, found, THROUGHPUT_CASES))
    agreements = []
    if not arguments.gpu and arguments.agreement > 0:
        agreements = [measure_agreement(name, arguments, work) for name in models if name in MODELS]
    minutes = (time.time() - begin) / 60
    report.write(rows, many, arguments, lines, agreements, arguments.output)
    print(f"written: {arguments.output} and {report.picture(arguments.output)} ({minutes:.1f} minutes)")
    return 0


def _parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ", ".join((*MODELS, *SEGMENTERS))
    parser.add_argument("--models", nargs="+", metavar="NAME", help=f"some of {known}; default all")
    parser.add_argument("--engines", nargs="+", metavar="NAME", help="auto, openvino, torch, ...; default all")
    parser.add_argument(
        "--size",
        type=worker.size_of,
        help="height x width of the picture, such as 224 or 512x1024; default 224, and "
        "512x1024 and 1024x2048 for FC-HarDNet",
    )
    parser.add_argument("--batch", type=int, default=1, help="pictures in a batch (1)")
    parser.add_argument("--threads", type=int, default=2, help="threads of every engine (2)")
    parser.add_argument("--quick", action="store_true", help="four networks and fewer rounds, about 5 minutes")
    parser.add_argument(
        "--agreement", type=int, default=500, metavar="N", help="pictures on which top-1 classes are compared (500)"
    )
    parser.add_argument(
        "--peers", type=Path, metavar="PYTHON", help="Python of the peers' environment (.venv-peers/bin/python)"
    )
    parser.add_argument("--gpu", action="store_true", help="Paddle and PyTorch on a GPU, float32 and mixed precision")
    parser.add_argument("--work", type=Path, default=ROOT / "output" / "benchmark", help="folder for kept results")
    parser.add_argument("--overwrite", action="store_true", help="measure again what was measured before")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md", help="the page to write")
    return parser


def check_gpu():
    """Raises UserError unless Paddle can use a GPU."""
    import paddle

    if not paddle.is_compiled_with_cuda():
        raise UserError("--gpu needs a build of Paddle for GPUs; pip install paddlepaddle-gpu in place of paddlepaddle")
    if not paddle.device.cuda.device_count():
        raise UserError("--gpu needs a GPU, and Paddle sees none; look at nvidia-smi and CUDA_VISIBLE_DEVICES")


def find_peers(given):
    """The Python of the peers' environment as a str. None, after a printed note, when there is none."""
    path = given or ROOT / ".venv-peers" / "bin" / "python"
    if path.is_file():
        return str(path.absolute())  # not resolved: the environment's python is a link
    if given:
        raise UserError(f"--peers {given} does not exist; give the Python of an environment with the peers")
    print("note: no peers: there is no .venv-peers; `make benchmark` makes it, or see --help", file=sys.stderr)
    return None


def versions_of(peers):
    """{package: version} of the peers."""
    return json.loads(_run([peers, HERE / "peers.py", "--versions"])) if peers else {}


def measure_network(name, arguments, size, batch, work, peers, versions, kinds=None):
    """{"network", "size", "batch", "cases": [...]} of one network, measured now or read from the work folder.

    `kinds` are (side, engine, precision) of what is measured; None for all of the device.
    """
    cases = [
        {
            "network": name, "side": side, "engine": engine, "precision": precision, "size": size,
            "batch": batch, "threads": arguments.threads, "gpu": arguments.gpu,
        }
        for side, engine, precision in kinds or (GPU_CASES if arguments.gpu else CPU_CASES)
        if (side == "ours" or peers) and not (engine == "paddleclas" and name not in PADDLECLAS)
        if arguments.engines is None or engine in arguments.engines
    ]  # fmt: skip
    starts, rounds, seconds = (1, 3, 0.15) if arguments.quick else (2, 3 if name in SEGMENTERS else 8, 0.2)
    file = work / f"{name}-{_key(cases, starts, rounds, versions)}.json"
    if file.is_file() and not arguments.overwrite:
        return json.loads(file.read_text())
    folder = work / f"{name}-{size[0]}x{size[1]}x{batch}"
    make_inputs(name, size, batch, folder, peers, versions)
    for case in cases:
        case |= {"folder": str(folder), "cache": str(work / "engines")}
        # paddleclas's layers differ a little from the peer's, so it keeps its own weights.
        case["unlike"] = case["engine"] == "paddleclas"
    measure(cases, peers, folder, starts, rounds, seconds, arguments.threads)
    row = {"network": name, "size": size, "batch": batch, "cases": cases}
    _keep(row, file)
    return row


def _revision():
    """The commit that is checked out, or "" outside a git repository."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def make_inputs(name, size, batch, folder, peers, versions):
    """Writes weights, picture, expected output and the peer's graph into a folder, unless they are there already."""
    done = folder / "made.json"
    if done.is_file() and json.loads(done.read_text()) == versions:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if name.startswith("condensenet"):
        _run([sys.executable, HERE / "ours.py", "--weights", name, folder])
    python, script = (peers, "peers.py") if peers else (sys.executable, "ours.py")
    _run([python, HERE / script, "--make", name, folder, f"{size[0]}x{size[1]}", batch])
    done.write_text(json.dumps(versions))


def _run(command):
    """Runs a command and returns the last line of its output; UserError with its last error line when it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it says nothing"]
        raise UserError(f"{Path(command[1]).name} {command[2]} failed: {lines[-1]}")
    return (done.stdout.splitlines() or [""])[-1]


def measure(cases, peers, folder, starts, rounds, seconds, threads):
    """Adds title, difference, memory and times (a list of rounds) to each case, or "failed", why it was left out.

    Args:
        cases (list of dict): of one network.
        peers (str | None): the Python of the peers' environment.
        folder (Path): receives the logs.
        starts (int): how often all processes are started. The addresses that a process gets for its memory can make it
            faster or slower.
        rounds (int), seconds (float): see `turns.take_turns`, for each start.
        threads (int): of each process.
    """
    ours = [json.dumps(case) for case in cases if case["side"] == "ours" and not case["gpu"]]
    if ours:  # in a process of its own, because an export takes more memory than a run
        _run([sys.executable, HERE / "ours.py", "--warm", *ours])
    jobs = []
    for number, case in enumerate(cases):
        python, script = (sys.executable, "ours.py") if case["side"] == "ours" else (peers, "peers.py")
        jobs.append(([python, str(HERE / script), "--serve", json.dumps(case)], folder / f"{number}.log"))
    for _ in range(starts):
        left = [(case, job) for case, job in zip(cases, jobs) if "failed" not in case]
        if left:
            _measure_once(*zip(*left), rounds, seconds, threads)


def _measure_once(cases, jobs, rounds, seconds, threads):
    """Starts all processes once and measures them. Adds their times to those of earlier starts."""
    started = turns.start(jobs, threads, at_once=1)
    try:
        running = [(case, process) for case, (process, _) in zip(cases, started) if process]
        times = turns.take_turns([process for _, process in running], rounds, seconds)
        for (case, process), taken in zip(running, times):
            case["times"] = [*case.get("times", ()), *taken] if taken else []
            case["memory"] = process.stop() if taken else 0
            if not taken:
                case["failed"] = "it ended"
        for case, (process, said) in zip(cases, started):
            case.update(said if process else {"failed": said, "times": []})
    finally:
        turns.kill_all(started)


def measure_agreement(name, arguments, work):
    """The result of `precision_agreement.agreement`, measured now or read from the work folder."""
    case = {"network": name, "threads": arguments.threads, "pictures": arguments.agreement}
    case |= {"size": (arguments.size or (224, 224))[0], "cache": str(work / "engines"), "engine": "auto"}
    file = work / f"agreement-{_key(case)}.json"
    if arguments.overwrite or not file.is_file():
        _keep(json.loads(_run([sys.executable, HERE / "ours.py", "--agreement", json.dumps(case)])), file)
    return json.loads(file.read_text())


def _key(*told):
    """A hash of what is measured, of the installed versions and of the commit: names the file of a kept result."""
    told = [*told, worker.versions(machine.OURS), _revision()]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def _keep(found, file):
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(found))
    temporary.replace(file)


if __name__ == "__main__":
    sys.exit(main())
