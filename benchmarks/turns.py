"""The side of a benchmark that measures: processes that take turns, so that a busy machine slows all of them alike."""

import contextlib
import json
import math
import os
import re
import signal
import statistics
import subprocess
import threading

START_LIMIT = 600  # seconds until a process has built its network
TURN_LIMIT = 600
# Runs at the beginning of a turn that are not counted: another process has emptied the caches.
WARM = 2


class Failed(Exception):
    """A process ended or said nothing in time; the last line of its log says more."""


class Worker:
    """A process that serves one case (`worker.serve`). Between its turns it is stopped, spinning threads included.

    Args:
        command (list of str): what starts it.
        log (Path): its stderr, and what libraries print.
        threads (int): for libraries that take the number from the environment.
    """

    def __init__(self, command, log, threads):
        self.log = log
        variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(variables, str(threads))}
        with open(log, "w") as stream:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True, env=environment
            )

    def ready(self):
        """Waits until the network has run once; returns its title and difference."""
        return self._answer(START_LIMIT)

    def turn(self, count):
        """Times of `count` runs, ms; it is paused before and after."""
        answer = self._ask({"do": "turn", "warm": WARM, "count": count}, TURN_LIMIT)
        self.pause()
        return answer["times"]

    def stop(self):
        """Ends the process; returns the most memory that it had, MiB, or nan when it has ended before."""
        try:
            memory = self._ask({"do": "stop"}, TURN_LIMIT)["memory"]
        except Failed:
            return math.nan
        self.process.wait(TURN_LIMIT)
        return memory

    def kill(self):
        """Ends the process whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                stream.close()

    def pause(self):
        """Stops all its threads, where the system can do that."""
        self._signal("SIGSTOP")

    def resume(self):
        """Lets them go on."""
        self._signal("SIGCONT")

    def _signal(self, name):
        if hasattr(signal, name) and self.process.poll() is None:
            self.process.send_signal(getattr(signal, name))

    def _ask(self, order, limit):
        self.resume()
        with contextlib.suppress(OSError):  # it has ended; then the answer is missing, which is said
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        return self._answer(limit)

    def _answer(self, limit):
        timer = threading.Timer(limit, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise Failed(last_line(self.log) or f"it ended, or took more than {limit} s")
        return json.loads(line)


def last_line(log):
    """The last line of a log that says something."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    line = next((line for line in reversed(lines) if line), "")
    return re.sub(r"^(\w+\.)*\w*Error: ", "", line)[:300]  # the class says nothing to a reader of the page


def start(jobs, threads, at_once=2):
    """Starts processes, a few at a time.

    Args:
        jobs (list of (command, log)).
        threads (int): of each.

    Returns:
        list of (Worker, what it said) or (None, why it failed), in their order. The workers are paused.
    """
    started = []
    for first in range(0, len(jobs), at_once):
        group = [Worker(command, log, threads) for command, log in jobs[first : first + at_once]]
        for worker in group:
            try:
                started.append((worker, worker.ready()))
            except Failed as error:
                worker.kill()
                started.append((None, str(error)))
        for worker in group:
            worker.pause()
    return started


def take_turns(workers, rounds, seconds):
    """Times of each worker, ms: for each a list of rounds, lists of single runs. Every other round goes backwards.

    Args:
        workers (list of Worker): paused; one that fails has an empty list.
        rounds (int): how often each has a turn.
        seconds (float): about how long a turn lasts.
    """
    times, counts = [[] for _ in workers], [0] * len(workers)
    alive = set(range(len(workers)))
    for number in range(rounds + 1):
        for index in sorted(alive, reverse=number % 2 == 0):
            try:
                taken = workers[index].turn(counts[index] if number else 2)
            except Failed:
                alive.discard(index)
                times[index] = []
                continue
            if number:
                times[index].append(taken)
            else:  # how many runs a turn has
                counts[index] = max(3, min(40, int(1e3 * seconds / statistics.median(taken))))
    return times


def median(rounds):
    """Median of all runs, ms."""
    return statistics.median(time for taken in rounds for time in taken)


def least(rounds):
    """The shortest run, ms."""
    return min(time for taken in rounds for time in taken)


def ratio(rounds, others):
    """How long the one takes relative to the other: the median, over the rounds, of the ratio of a round's medians."""
    return statistics.median(statistics.median(a) / statistics.median(b) for a, b in zip(rounds, others))
