"""A Ray cluster of processes on this machine, and machines of it that lack something."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

STORE = 150 * 2**20


def start(nodes=2, cores=1, **options):
    """A `ray.cluster_utils.Cluster` of `nodes` machines with `cores` processors each; it reports to nobody."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's workers give way to every other process else
    from ray.cluster_utils import Cluster

    head = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": STORE, **options}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(nodes - 1):
        cluster.add_node(num_cpus=cores, object_store_memory=STORE)
    cluster.wait_for_nodes()
    return cluster


@contextlib.contextmanager
def one_more(cluster, **options):
    """Within this context the cluster has one more machine, with one processor."""
    node = cluster.add_node(num_cpus=1, object_store_memory=STORE, **options)
    try:
        yield node
    finally:
        if node in cluster.list_all_nodes():
            cluster.remove_node(node, allow_graceful=False)


def fake_package(folder, text):
    """A folder for PYTHONPATH in which densebone is this text."""
    (folder / "densebone").mkdir(parents=True)
    (folder / "densebone" / "__init__.py").write_text(text)
    return {"PYTHONPATH": str(folder)}


def can_hide():
    """Whether this user may give a process a view of the files of its own."""
    tool = shutil.which("unshare")
    return bool(tool) and not subprocess.run([tool, "-m", "true"], capture_output=True).returncode


@contextlib.contextmanager
def without(address, hidden):
    """Within this context the cluster has one more machine, with one processor, on which these folders are empty."""
    mounts = " && ".join(f"mount -t tmpfs none '{folder}'" for folder in hidden)
    ray = Path(sys.executable).with_name("ray")
    command = f"{mounts} && exec {ray} start --address {address} --num-cpus 1 --object-store-memory {STORE} --block"
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def wait_until(true, seconds=60):
    """Waits until a function returns something true."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.1)
