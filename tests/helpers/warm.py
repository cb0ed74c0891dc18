"""Runs `densebone` commands in processes that have Paddle and PaddleDetection imported already.

The imports take 5 s, and most commands in the tests take little more. So one process imports them once and forks itself
for each command. The command still has a process, a folder, an environment and streams of its own.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Libraries read variables with these prefixes when they are imported. A command with other values gets a new process.
EARLY = ("CUDA", "FLAGS", "KMP", "LD_", "MKL", "OMP", "PADDLE", "PYTHON")


class Starter:
    """Runs commands. Each process of the test run has one."""

    def __init__(self):
        self.environment = dict(os.environ)
        command = [sys.executable, __file__]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, arguments, cwd=None, timeout=600):
        """Runs a command; returns a CompletedProcess like `subprocess.run(..., text=True)`."""
        arguments = [str(argument) for argument in arguments]
        if arguments[0] == "run" or _early(os.environ) != _early(
            self.environment
        ):  # `run` imports what the user's script says
            command = [sys.executable, "-m", "densebone.scripts", *arguments]
            return subprocess.run(command, cwd=cwd, timeout=timeout, capture_output=True, text=True)
        with tempfile.TemporaryDirectory() as folder:
            streams = [str(Path(folder) / name) for name in ("stdout", "stderr")]
            order = {"arguments": arguments, "cwd": str(cwd or os.getcwd()), "streams": streams}
            self.process.stdin.write(json.dumps({**order, "environment": dict(os.environ), "timeout": timeout}) + "\n")
            self.process.stdin.flush()
            status = json.loads(self.process.stdout.readline())
            texts = [Path(stream).read_text(errors="replace") for stream in streams]
        if status is None:
            raise subprocess.TimeoutExpired(arguments, timeout, *texts)
        return subprocess.CompletedProcess(arguments, status, *texts)

    def close(self):
        """Kills the process. Closing its stdin is not enough, because processes that tests forked may hold it open."""
        self.process.kill()
        self.process.wait()


def _early(environment):
    return {key: value for key, value in environment.items() if key.startswith(EARLY)}


def serve():
    """Runs the commands that `Starter.run` sends, until its stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    sys.path.pop(0)  # this folder
    import zlib  # noqa: F401  (before Paddle, as in densebone/__init__.py)

    import paddle  # noqa: F401

    with contextlib.suppress(ImportError):  # without PaddleDetection its tests are skipped
        import ppdet.engine  # noqa: F401
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            os.setsid()
            os.dup2(nothing, 0)
            _become(order)
        answers.write(json.dumps(_wait(child, order["timeout"])) + "\n")
        answers.flush()


def _wait(child, timeout):
    """The exit status of a child; None if it took longer than `timeout` seconds and was killed."""
    import signal
    import threading

    late = threading.Event()

    def kill():
        late.set()
        os.killpg(child, signal.SIGKILL)

    timer = threading.Timer(timeout, kill)
    timer.start()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    return None if late.is_set() else os.waitstatus_to_exitcode(status)


def _become(order):
    """Turns this process into `python -m densebone.scripts ARGUMENTS`; does not return."""
    import atexit
    import random
    import threading
    import traceback

    import numpy as np

    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["cwd"])
    sys.path.insert(0, order["cwd"])
    for number, stream in enumerate(order["streams"], 1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT, 0o600), number)
    random.seed()
    np.random.seed()
    sys.argv = ["densebone", *order["arguments"]]
    try:
        from densebone.scripts import main

        status = main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


if __name__ == "__main__":
    serve()
