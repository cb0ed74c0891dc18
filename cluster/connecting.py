"""A driver's connection to a Ray cluster, and what it must know of each machine there."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .. import __version__
from ..errors import UserError
from ..system import reports
from ..system.processors import available_cpus
from . import probe
from .where import PLACE

#: seconds that a cluster may take to answer at its address, and a machine to say what it has
ANSWER, PROBE = 10, 120
NO_MEMORY = "its memory ran out"


def import_ray() -> Any:
    """Ray, which does not report to its makers. UserError when it is not installed."""
    reports.forbid()
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise UserError(f"--ray needs Ray ({error}); pip install 'densebone[cluster]'") from error


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Within this context this process is a driver of a cluster; yields the module `ray`.

    Args:
        address: as `where.Where` has it. What "local" starts ends with the context.

    Raises:
        UserError: Ray is not installed; no cluster answers; another version of Ray or Python runs there.
    """
    ray = import_ray()
    if address == "auto":
        address = _of_this_machine()
    if found := PLACE.fullmatch(address):
        _knock(found[1].strip("[]"), int(found[2]))
    options: dict[str, Any] = {"address": address, "logging_level": "ERROR", "log_to_driver": False}
    if address == "local":
        options |= {"num_cpus": available_cpus(), "include_dashboard": False}
    with _handlers_kept(), _elsewhere():
        try:
            ray.init(**options)
        except (ConnectionError, TimeoutError) as error:
            raise UserError(
                f"no Ray cluster runs at {address}; start one with ray start --head, or give its HOST:PORT, or local"
            ) from error
        except (RuntimeError, ValueError) as error:  # among them other versions of Ray or of Python
            raise UserError(f"the cluster at {address} cannot be used: {_words(error)}") from error
    try:
        yield ray
    finally:
        with _handlers_kept():
            ray.shutdown()


def _of_this_machine():
    """The address of the cluster that RAY_ADDRESS names, or to which this machine belongs."""
    given = os.environ.get("RAY_ADDRESS")
    if given and not PLACE.fullmatch(given):
        raise UserError(f"RAY_ADDRESS is {given!r}; give HOST:PORT, or --ray HOST:PORT")
    if given:
        return given
    from ray._private.services import find_gcs_addresses

    found = find_gcs_addresses()
    if not found:
        raise UserError("no Ray cluster runs on this machine; start one with ray start --head, or give --ray HOST:PORT")
    return sorted(found)[0]


def _knock(host, port):
    try:
        socket.create_connection((host, port), ANSWER).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster answers at {host}:{port} ({error.strerror or error}); start one there with "
            f"ray start --head --port {port}, or give another address"
        ) from error


@contextmanager
def _handlers_kept():
    """Ray puts handlers of signals in place; this takes them out again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def _elsewhere():
    """Ray lets workers import from the driver's current folder. Here that is one in which no user's files are."""
    before = os.getcwd()
    os.chdir(os.path.abspath(os.sep))
    try:
        yield
    finally:
        os.chdir(before)


def nodes(ray: Any) -> dict[str, tuple[str, int]]:
    """The living machines with processors: id -> (what messages call it, how many cores Ray may give)."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    names = [node["NodeManagerAddress"] for node in alive]
    return {
        node["NodeID"]: (name if names.count(name) == 1 else f"{name} ({node['NodeID'][:6]})", int(cores))
        for node, name in zip(alive, names)
        if (cores := node["Resources"].get("CPU", 0)) >= 1
    }


def fault_of(ray: Any, node: str) -> str | None:
    """What a machine lacks for our workers, in words; None when it has the same version of densebone."""
    ray.cloudpickle.register_pickle_by_value(probe)
    try:
        task = ray.remote(num_cpus=0, max_retries=0)(probe.look)
        found = ray.get(task.options(scheduling_strategy=on(node)).remote(), timeout=PROBE)
    except ray.exceptions.GetTimeoutError:
        return f"starts no worker within {PROBE} s"
    except ray.exceptions.RayError as error:
        return f"starts no worker ({NO_MEMORY if is_of_memory(ray, error) else _words(error)})"
    finally:
        with suppress(ValueError):
            ray.cloudpickle.unregister_pickle_by_value(probe)
    version, words = found
    if version is None:
        return f"has no densebone ({words}); install {__version__} there"
    return None if version == __version__ else f"has densebone {version}, and this is {__version__}; install the same"


def is_of_memory(ray: Any, error: Exception) -> bool:
    """Whether an error of Ray says that a machine's memory ran out."""
    return isinstance(error, ray.exceptions.OutOfMemoryError) or "running low on memory" in " ".join(str(error).split())


def on(node: str) -> Any:
    """Ray's way to say that something runs on this machine and no other."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def _words(error):
    return " ".join(str(error).split())[:300]
