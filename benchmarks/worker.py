"""The side of a benchmark that is measured: a process with one network on one engine, told when to run.

Imports nothing of densebone and nothing large, since it also runs in the environment of the peers.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np


def serve(case, make):
    """Answers the lines of `turns.Worker` until it says stop.

    Args:
        case (dict): with folder, whose picture.npy is run, and expected.npy, if it is there, what should come out.
        make (callable): (case, image (N, 3, H, W) float32) -> (a function without arguments that runs the network and
            waits for its output, a function that gives that output as an array, a name with the version).
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the log
    image = np.load(Path(case["folder"]) / "picture.npy")
    run, output, title = make(case, image)
    run()
    reply(answers, title=title, difference=difference(case, output()))
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "stop":
            reply(answers, memory=memory_mib("VmRSS"))
            return
        for _ in range(order["warm"]):
            run()
        times = []
        for _ in range(order["count"]):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        reply(answers, times=times)


def reply(answers, **content):
    """One line of JSON."""
    answers.write(json.dumps(content) + "\n")
    answers.flush()


def difference(case, output):
    """Largest difference from what is expected, over its standard deviation, or None where nothing is."""
    path = Path(case["folder"]) / "expected.npy"
    if case.get("unlike") or not path.is_file():
        return None
    expected = np.load(path)
    return float(np.abs(np.asarray(output, np.float64) - expected).max() / expected.std())


def memory_mib(which):
    """Resident size of this process, MiB: now ("VmRSS"), or the largest so far ("VmHWM"), of this process alone.

    Where the system does not say it, the largest that it says.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(which)).split()[1]) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def random_image(size, batch=1):
    """A picture of noise, float32 (batch, 3, size, size)."""
    return np.random.default_rng(1).standard_normal((batch, 3, size, size)).astype(np.float32)


def random_tensors(shapes, mean="running_mean"):
    """Weights with which the outputs of a network stay moderate.

    Args:
        shapes (dict): name to shape, PyTorch's, of convolutions, linear layers and batch norms.
        mean (str): how the last part of a batch norm's mean is called.

    Returns:
        dict of float32 arrays: He's initialisation, and batch norms that do something.
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
