"""The measured side of a benchmark: a process that holds one network on one engine and runs it on request.

`turns.py` is the side that sends the requests. This file imports nothing of densebone and nothing large, because it
also runs in the environment of the peers.
"""

import json
import os
import resource
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np


def serve(case, make):
    """Builds the network of a case, runs it once and then answers the orders of `turns.Worker`.

    Args:
        case (dict): its "folder" holds picture.npy, the input, and perhaps expected.npy, the output that it should
            give.
        make (callable): (case, image (N, 3, H, W) float32) -> (a function without arguments that runs the network and
            waits for its output, a function that returns that output as an array, the engine's name and version).
    """
    answers = open_answers()
    image = np.load(Path(case["folder"]) / "picture.npy")
    run, output, title = make(case, image)
    run()
    reply(answers, title=title, difference=difference(case, output()))
    take_orders(answers, run)


def open_answers():
    """The stream for `reply`: the process's stdout. From here on, what libraries print to stdout goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def take_orders(answers, run, warm_up=True):
    """Runs and times a function as the lines on stdin say, until one says stop or stdin ends.

    Args:
        answers (file): from `open_answers`.
        run (callable): without arguments.
        warm_up (bool): False leaves out the warm-up runs of a turn.
    """
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "stop":
            reply(answers, memory=memory_mib("VmRSS"))
            return
        for _ in range(order["warm"] if warm_up else 0):
            run()
        times = []
        for _ in range(order["count"]):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        reply(answers, times=times)


def reply(answers, **content):
    """Writes one line of JSON."""
    answers.write(json.dumps(content) + "\n")
    answers.flush()


def difference(case, output):
    """Largest difference from the expected output, divided by that output's standard deviation.

    None where there is no expected output, or where the case has other weights ("unlike").
    """
    path = Path(case["folder"]) / "expected.npy"
    if case.get("unlike") or not path.is_file():
        return None
    expected = np.load(path)
    return float(np.abs(np.asarray(output, np.float64) - expected).max() / expected.std())


def memory_mib(which):
    """Resident memory of this process in MiB: now ("VmRSS") or its peak so far ("VmHWM").

    Where the system has no /proc, both give the peak that `getrusage` reports.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(which)).split()[1]) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def size_of(text):
    """(height, width) of "512x1024", or of "224" for a square; ValueError for anything else."""
    sides = [int(side) for side in text.split("x")]
    height, width = sides if len(sides) == 2 else sides * 2
    return height, width


def random_image(size, batch=1):
    """A batch of noise, always the same, float32 (batch, 3, *size)."""
    return np.random.default_rng(1).standard_normal((batch, 3, *size)).astype(np.float32)


def random_tensors(shapes, mean="running_mean"):
    """Random weights that keep the outputs of a network moderate; always the same.

    Args:
        shapes (dict): name to shape of convolutions, linear layers and batch norms, in PyTorch's layout.
        mean (str): the last part of the name of a batch norm's mean.

    Returns:
        dict of float32 arrays: He initialisation for convolutions and linear layers, and batch norms that are not the
        identity.
    """
    random, result = np.random.default_rng(0), {}
    for name, shape in shapes.items():
        leaf = name.rpartition(".")[2]
        if len(shape) > 1:
            value = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        elif leaf in ("bias", mean):
            value = 0.1 * random.standard_normal(shape)
        else:
            value = random.uniform(0.5, 1.5, shape)
        result[name] = value.astype(np.float32)
    return result


def versions(names):
    """{package: version} of those that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
