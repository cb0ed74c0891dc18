"""Starts a training in a process of its own and kills it as soon as its log holds a certain line."""

import signal
import subprocess
import sys
import time


def start(arguments, cwd, log):
    """Starts `densebone train` in the background; writes its output to `log`."""
    return subprocess.Popen(
        [sys.executable, "-m", "densebone.scripts", "train", *map(str, arguments)],
        cwd=cwd, stdout=log.open("w"), stderr=subprocess.STDOUT,
    )  # fmt: skip


def kill_after(process, line, log, limit=600):
    """Sends SIGKILL to the process as soon as its log holds the line."""
    ends = time.monotonic() + limit
    while line not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < ends, log.read_text()
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
