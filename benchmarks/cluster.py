"""Features of many small pictures on a Ray cluster of processes on this machine, against one process.

    python -m benchmarks.cluster                          20,000 pictures, 4 nodes; one is killed in the middle
    python -m benchmarks.cluster --pictures 1000          smaller

Every vector must be there once and equal the local run's. Prints pictures a second of one process and of 1, 2 and 4
workers with one core each, with the time of starting (Paddle, the engine) and without.
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
import drawn_pictures
import feature_runs
import ray_nodes

from densebone.features import load_features
from densebone.scripts import main as command
from densebone.system.processors import available_cpus, cpu_model

NODES = 4


def main(argv=None):
    """Runs the comparison; returns 1 when a vector is missing, doubled or another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20000, metavar="N", help="(20000)")
    parser.add_argument("--shard-size", type=int, default=0, metavar="N", help="(a fiftieth of the pictures)")
    parser.add_argument("--engine", default="onnxruntime", help="(onnxruntime)")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4], help="the curve (1 2 4)")
    arguments = parser.parse_args(argv)
    size = arguments.shard_size or max(1, arguments.pictures // 50)
    print(f"{cpu_model()}, {available_cpus()} cores; {arguments.pictures} pictures of 64 x 64, hardnet39ds at 32 x 32, "
          f"{arguments.engine}, vectors, {size} pictures a shard", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = drawn_pictures.draw(folder / "pictures", arguments.pictures)
        weights = feature_runs.write_weights(folder / "w.safetensors")

        def run(output, *more):
            given = feature_runs.command(pictures, folder / output, weights, "--shard-size", size, *more,
                                         engine=arguments.engine)  # fmt: skip
            return timed(given, folder / output, arguments.pictures)

        tell("one process, one thread", *run("local"))
        cluster = ray_nodes.start(NODES)
        try:
            for count in arguments.workers:
                tell(
                    f"{count} workers",
                    *run(f"curve{count}", "--ray", cluster.address, "--actors", count, "--threads", 1),
                )
            node = [*cluster.worker_nodes][-1]
            thread = threading.Thread(
                target=lose, args=(cluster, node, folder / "killed", arguments.pictures // size // 2)
            )
            thread.start()
            tell(f"{NODES} workers, a node is killed in the middle", *run("killed", "--ray", cluster.address))
            thread.join()
        finally:
            cluster.shutdown()
        outputs = [*(f"curve{count}" for count in arguments.workers), "killed"]
        agree = [same(folder / "local", folder / output, arguments.pictures) for output in outputs]
        return int(not all(agree))


def lose(cluster, node, output, shards):
    """Kills a node once some shards are there."""
    ray_nodes.wait_until(lambda: len(list((output / "records").glob("*.json"))) >= shards, 3600)
    cluster.remove_node(node, allow_graceful=False)


def timed(given, output, count):
    """(seconds of a command as a whole, pictures a second between the first shard and the last)."""
    said = io.StringIO()
    started = time.perf_counter()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = command(given)
    seconds = time.perf_counter() - started
    assert status == 0, said.getvalue()
    times = sorted(path.stat().st_mtime for path in (output / "records").glob("*.json"))
    notes = [line for line in said.getvalue().replace("\r", "\n").splitlines() if line.startswith("note:")]
    rate = count * (len(times) - 1) / len(times) / (times[-1] - times[0])
    return seconds, rate, notes


def tell(what, seconds, rate, notes):
    """Prints a line of the table."""
    print(f"{what}: {seconds:.1f} s as a whole, {rate:.1f} pictures/s from the first shard on", flush=True)
    for note in notes:
        print(f"  {note}")


def same(local, output, count):
    """Whether two folders hold the same vectors, each picture once."""
    (names, wanted), (there, found) = load_features(local), load_features(output)
    wanted, found = np.asarray(wanted), np.asarray(found)
    complete = len(there) == len(set(there)) == count and sorted(there) == sorted(names)
    worst = abs(found[np.argsort(there)] - wanted[np.argsort(names)]).max() / wanted.std() if complete else np.inf
    good = worst <= 1e-5
    print(f"{os.path.basename(output)}: {len(there)} vectors, {len(set(there))} names; the largest difference is "
          f"{worst:.2g} of the deviation: {'as locally' if good else 'NOT as locally'}")  # fmt: skip
    return good


if __name__ == "__main__":
    sys.exit(main())
