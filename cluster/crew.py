"""Keeps workers at their work: hires on every machine of a cluster, and gives anew what a lost worker had.

Ray restarts an actor by itself too, but keeps its calls for it: when no machine has room for the new one, they wait for
ever, while the others have nothing left to do. Here any worker takes the orders of a lost one.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import UserError
from ..pictures import remote
from . import connecting
from .worker import Done, Opener, Order, Worker

#: seconds between two looks at the machines, and without any worker until the run gives up
LOOK, PATIENCE = 5.0, 900.0
#: orders that a worker has at a time: one that it does, and the next
AHEAD = 2
#: workers that a machine may lose one after the other, and that an order may cost
LOSSES, DEATHS = 3, 5
#: how often an order is given again after a store refused
REFUSALS = 3


@dataclass
class _Node:
    """A machine: its name, how many workers it shall have, how many it lost without an order done between."""

    name: str
    slots: int
    losses: int = 0
    out: bool = False
    told: bool = False


@dataclass
class _Member:
    """A worker: its actor, its machine, whether it is open, and the orders it has."""

    actor: Any
    node: str
    is_open: bool = False
    orders: list[Order] = field(default_factory=list)


class Crew:
    """Workers on the machines of a cluster.

    Args:
        ray: the connected module.
        opener: makes what a worker computes with.
        output: the folder for files.
        mark: see `Worker`.
        actors: how many workers there are at most; None takes as many as there is room for.
        threads: cores of each; None divides the cores by the workers, or takes those of the smallest machine.

    Raises:
        UserError: no machine has a processor free; one has no densebone, or another version; threads.
    """

    def __init__(
        self, ray: Any, opener: Opener, output: Path, mark: str, actors: int | None = None, threads: int | None = None
    ):
        self._ray, self._given, self._most = ray, (opener, str(output), mark), actors
        found = connecting.nodes(ray)
        if not found:
            raise UserError("the cluster has no machine with a processor for work; start one with ray start --address")
        self.threads = threads or _threads([cores for _, cores in found.values()], actors)
        self._nodes: dict[str, _Node] = {}
        self._members: list[_Member] = []
        self._calls: dict[Any, tuple[_Member, Order | None]] = {}
        self._waiting: deque[Order] = deque()
        self._last, self._idle_since = 0.0, time.monotonic()
        self._reason = "no machine has the cores for one"
        for node, (name, cores) in found.items():
            fault = connecting.fault_of(ray, node)
            if fault and fault.startswith("has "):
                raise UserError(f"the machine {name} of the cluster {fault}")
            if fault:
                _note(f"the machine {name} of the cluster {fault}; it is left out")
            self._nodes[node] = _Node(name, 0 if fault else cores // self.threads)
        if not any(node.slots for node in self._nodes.values()):
            most = max(cores for _, cores in found.values())
            raise UserError(
                f"a worker is to have {self.threads} cores, and no machine has more than {most}; give fewer"
            )

    def results(self, orders: Iterator[Order]) -> Iterator[tuple[Order, Done]]:
        """Yields every order with what became of it, once, in the order in which they are done.

        Raises:
            UserError: no worker is left; an order that nobody can do, that ends its workers, or whose pictures no
                store gives.
        """
        while True:
            self._look()
            self._hand_out(orders)
            if not self._waiting and not any(member.orders for member in self._members) and not self._next(orders):
                return
            if not self._calls:
                time.sleep(0.2)
                continue
            ready, _ = self._ray.wait(list(self._calls), timeout=LOOK)
            for call in ready:
                yield from self._take(call)

    def close(self) -> None:
        """Ends the workers."""
        for member in self._members:
            self._ray.kill(member.actor)
        self._members, self._calls = [], {}

    def _next(self, orders):
        """Puts the next order in front of the queue; whether there is one."""
        order = next(orders, None)
        if order is not None:
            self._waiting.append(order)
        return order is not None

    def _look(self):
        """Hires where there is room, on machines that are new too."""
        now = time.monotonic()
        if now - self._last < LOOK and self._last:
            return
        self._last = now
        alive = connecting.nodes(self._ray)
        for node, (name, cores) in alive.items():
            if node not in self._nodes:
                fault = connecting.fault_of(self._ray, node)
                self._nodes[node] = _Node(name, 0 if fault else cores // self.threads)
                if fault:
                    _note(f"the machine {name} came to the cluster and {fault}; it is left out")
        for node in [node for node in self._nodes if node not in alive]:
            del self._nodes[node]
        for key, node in self._nodes.items():
            have = sum(member.node == key for member in self._members)
            for _ in range(0 if node.out else node.slots - have):
                if self._most is None or len(self._members) < self._most:
                    self._hire(key)
        if any(member.is_open for member in self._members):
            self._idle_since = now
        elif self._nodes and all(node.out for node in self._nodes.values()):
            raise UserError(f"no worker is left: {self._reason}; the same command goes on where this one was")
        elif now - self._idle_since > PATIENCE:
            raise UserError(f"no worker for {PATIENCE / 60:.0f} minutes: {self._reason}; give the same command later")

    def _hire(self, node):
        opener, output, mark = self._given
        options = {"num_cpus": self.threads, "max_restarts": 0, "scheduling_strategy": connecting.on(node)}
        actor = self._ray.remote(Worker).options(**options).remote(opener, self.threads, output, mark)
        member = _Member(actor, node)
        self._members.append(member)
        self._calls[actor.open.remote()] = member, None

    def _hand_out(self, orders):
        for many in range(1, AHEAD + 1):
            for member in self._members:
                while member.is_open and len(member.orders) < many:
                    if not self._waiting and not self._next(orders):
                        return
                    order = self._waiting.popleft()
                    member.orders.append(order)
                    self._calls[member.actor.work.remote(order)] = member, order

    def _take(self, call):
        """Yields the order of a call that has ended, when it is done."""
        member, order = self._calls.pop(call, (None, None))
        if member is None:  # its worker was lost with another call
            return
        errors = self._ray.exceptions
        try:
            found = self._ray.get(call)
        except (
            errors.RayActorError,
            errors.WorkerCrashedError,
            errors.OutOfMemoryError,
            errors.NodeDiedError,
        ) as error:
            self._lose(member, error)
            return
        except errors.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, OSError) else error) from None  # a full disk, or our bug
        node = self._nodes.get(member.node) or _Node("a machine that went", 0)
        if order is None:
            member.is_open = not found
            if found:
                self._refuse(member, node, found)
            return
        member.orders.remove(order)
        node.losses = 0
        yield from self._settle(order, found, node)

    def _settle(self, order, done, node):
        if done.fault:
            raise UserError(f"a worker on {node.name}: {done.fault}")
        if done.refused:
            order.refusals += 1
            if order.refusals > REFUSALS:
                raise UserError(f"a worker on {node.name}: {done.refused}; then the same command goes on")
            _note(f"a worker on {node.name}: {done.refused}; tried again")
            self._waiting.append(order)
        elif done.unseen:
            if not node.told:
                node.told = True
                _note(
                    f"a worker on {node.name} does not see {done.unseen[0]}; this machine reads such pictures and "
                    f"sends them, which is slower than a folder that all machines share, or an address"
                )
            order.given.update({path: self._sent(path) for path in done.unseen})
            self._waiting.appendleft(order)
        else:
            yield order, done

    def _sent(self, path):
        """A reference to the bytes of a picture; None where this machine does not have it either."""
        try:
            place = remote.path_of(path)
            content = remote.bytes_of(place)
            return self._ray.put(place.read_bytes() if content is None else content)
        except FileNotFoundError:
            return None
        except OSError:  # a folder, or one that may not be read: the worker says so, as if it were missing
            return None

    def _refuse(self, member, node, reason):
        """A worker cannot open its engine: its machine is left out."""
        self._drop(member)
        node.out, self._reason = True, f"a worker on {node.name}: {reason}"
        if len([one for one in self._nodes.values() if not one.out]):
            _note(f"{self._reason}; the machine is left out")
        self._last = 0.0

    def _lose(self, member, error):
        """A worker died: others take its orders."""
        orders = self._drop(member)
        of_memory = connecting.is_of_memory(self._ray, error)
        node = self._nodes.get(member.node) or _Node("a machine that went", 0)
        why = connecting.NO_MEMORY if of_memory else "it was killed, or its machine went"
        self._reason = f"a worker on {node.name} died: {why}"
        for order in orders[:1]:
            order.deaths += 1
            if order.deaths >= DEATHS:
                raise UserError(
                    f"{order.name} ended {order.deaths} workers, the last on {node.name}: {why}; look at its pictures, "
                    f"the first is {order.paths[0]}"
                )
        _note(f"{self._reason}; others do its work")
        self._waiting.extendleft(reversed(orders))
        node.losses += 1
        if of_memory and node.slots > 1:
            node.slots -= 1
            _note(f"{node.name} goes on with {node.slots} workers")
        elif node.losses >= LOSSES and not node.out:
            node.out = True
            _note(f"{node.name} lost {node.losses} workers one after the other and is left out")

    def _drop(self, member):
        """Takes a worker out; returns its orders."""
        self._members.remove(member)
        self._calls = {call: kept for call, kept in self._calls.items() if kept[0] is not member}
        self._ray.kill(member.actor)
        return member.orders


def _threads(cores, actors):
    if actors is None:
        return min(cores)
    return max(1, min(sum(cores) // actors, max(cores)))


def _note(text):
    tqdm.write(f"note: {text}", file=sys.stderr)  # above the progress bar
