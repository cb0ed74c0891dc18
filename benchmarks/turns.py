"""The measuring side of a benchmark: it lets processes take turns, so a busy machine slows all of them alike."""

import contextlib
import json
import math
import os
import re
import signal
import statistics
import subprocess
import threading
import time

START_LIMIT = 600  # seconds until a process has built its network
TURN_LIMIT = 600
# Warm-up runs at the start of a turn, because another process has evicted the caches. They do not count.
WARM = 2


class Failed(Exception):
    """A process ended, or did not answer in time. The message is the last line of its log."""


class Worker:
    """A process that serves one case (`worker.serve`). It is paused between its turns, spinning threads included.

    Args:
        command (list of str): starts the process.
        log (Path): receives its stderr and what libraries print.
        threads (int): for libraries that read the number of threads from the environment.
    """

    def __init__(self, command, log, threads):
        self.log = log
        self.begun = time.perf_counter()
        variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(variables, str(threads))}
        with open(log, "w") as stream:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True, env=environment
            )

    def ready(self):
        """Waits until the network has run once; returns its title, its difference and the seconds that it took."""
        answer = self._answer(START_LIMIT)
        return {**answer, "start": time.perf_counter() - self.begun}

    def turn(self, count):
        """Times of `count` runs, ms. The process is paused before and after."""
        answer = self._ask({"do": "turn", "warm": WARM, "count": count}, TURN_LIMIT)
        self.pause()
        return answer["times"]

    def stop(self):
        """Ends the process; returns the memory that it held at the end, MiB, or nan when it had ended before."""
        try:
            memory = self._ask({"do": "stop"}, TURN_LIMIT)["memory"]
        except Failed:
            return math.nan
        self.process.wait(TURN_LIMIT)
        return memory

    def kill(self):
        """Kills the process and waits for its end."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                stream.close()

    def pause(self):
        """Stops all threads of the process, where the system can do that."""
        self._signal("SIGSTOP")

    def resume(self):
        """Lets the process go on."""
        self._signal("SIGCONT")

    def _signal(self, name):
        if hasattr(signal, name) and self.process.poll() is None:
            self.process.send_signal(getattr(signal, name))

    def _ask(self, order, limit):
        self.resume()
        with contextlib.suppress(OSError):  # The process has ended: then `_answer` reports it.
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
    """The last line of a log that is not blank, without the name of an exception's class."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    line = next((line for line in reversed(lines) if line), "")
    return re.sub(r"^(\w+\.)*\w*Error: ", "", line)[:300]


def start(jobs, threads, at_once=2):
    """Starts processes, a few at a time.

    Args:
        jobs (list of (command, log)): one for each process.
        threads (int): of each process.
        at_once (int): how many start at the same time.

    Returns:
        list, in the order of the jobs: (Worker, its first answer), or (None, why it failed). The workers are paused.
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


def kill_all(started):
    """Kills the workers that `start` returned."""
    for worker, _ in started:
        if worker:
            worker.kill()


def take_turns(workers, rounds, seconds):
    """Lets each worker take turns. Every other round goes backwards.

    Args:
        workers (list of Worker): paused.
        rounds (int): turns of each worker.
        seconds (float): about how long a turn lasts.

    Returns:
        list, one entry for each worker: a list of rounds, each a list of single times in ms; [] for one that failed.
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
            else:  # the first round only finds how many runs fit into a turn
                counts[index] = max(3, min(40, int(1e3 * seconds / statistics.median(taken))))
    return times


def median(rounds):
    """Median of all runs, ms."""
    return statistics.median(time for taken in rounds for time in taken)


def least(rounds):
    """The shortest run, ms."""
    return min(time for taken in rounds for time in taken)


def ratio(rounds, others):
    """Time of one case relative to another: the median, over the rounds, of the ratio of the medians of a round."""
    return statistics.median(statistics.median(a) / statistics.median(b) for a, b in zip(rounds, others))
