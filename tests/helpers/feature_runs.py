"""Runs `densebone features` as a user does, and kills it."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import paddle

from densebone import create_model
from densebone.features import load_features

# Runs the command and then prints the peak memory of the process, in MB, as the last line.
MEASURED = """
import resource, sys
from densebone.scripts import main
status = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(status)
"""


def write_weights(path):
    """Writes random weights of hardnet39ds, always the same; returns the path."""
    from safetensors.numpy import save_file

    paddle.seed(0)
    state = create_model("hardnet39ds").state_dict()
    save_file({key: np.ascontiguousarray(value.numpy()) for key, value in state.items()}, path)
    return path


def command(pictures, output, weights, *more, engine="eager"):
    """Arguments of `densebone features` for pooled features at 32 x 32; the eager engine needs no export."""
    options = ["--pooled", "--size", 32, 32, "--engine", engine, "--threads", 1]
    options += ["-m", "hardnet39ds", "-w", weights, "--preprocessing", "hardnet39ds.official"]
    return ["features", *map(str, [pictures, "-O", output, *options, *more])]


def start(arguments, **variables):
    """Starts the command in a process of its own; `variables` are added to the environment."""
    return subprocess.Popen(
        [sys.executable, "-c", MEASURED, *arguments], env={**os.environ, **variables},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process, limit=1800):
    """Waits until a process has succeeded; returns its peak memory in MB."""
    out, err = process.communicate(timeout=limit)
    assert process.returncode == 0, out + err
    return int(out.split()[-1])


def kill_when(process, output, shards, limit=1800):
    """Sends SIGKILL as soon as `shards` shards are written; returns how many the dead process left."""
    ends = time.monotonic() + limit
    while len(done := list(output.glob("records/0*.json"))) < shards:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends, f"{len(done)} shards after {limit} s"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return len(list(output.glob("records/0*.json")))


def check_every_picture_once(output, count, extractor, pictures, sample):
    """Checks that the output holds each of `count` pictures once, and nothing else.

    Compares the features of `sample` pictures with those of the extractor.
    """
    names, features = load_features(output)
    assert names == [f"{number:04d}.png" for number in range(count)]
    assert features.complete and len(features) == count
    vectors = np.asarray(features)
    chosen = np.linspace(0, count - 1, sample).astype(int)
    expected = extractor([pictures / names[number] for number in chosen])
    assert abs(vectors[chosen] - expected).max() <= 1e-4 * expected.std()
    assert len(np.unique(vectors, axis=0)) == count
    in_files = [
        name for path in sorted(output.glob("records/*.json")) for name in json.loads(path.read_text())["names"]
    ]
    assert in_files == names
    assert not [path.name for path in output.rglob(".*-*")]  # no temporary file is left
