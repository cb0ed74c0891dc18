"""Trials of every head of the toolkits on every backbone of ours, each in a process of its own.

`detection.heads` and `segmentation.heads` say which heads there are, write a configuration for a pair
and try it. Here is what they share: the processes, the results that are kept as JSON lines, and the table.
"""

import contextlib
import hashlib
import importlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
import traceback
from multiprocessing.connection import wait
from pathlib import Path

from ..errors import UserError, suggest
from ..system.files import atomic_path, sync

TOOLKITS = ("detection", "segmentation")
# Seconds after which a trial is stopped; those that work take a few.
LIMIT = 600


def job(toolkit):
    """The module of a toolkit, "detection" or "segmentation", that knows its heads."""
    return importlib.import_module(f".{toolkit}.heads", __package__)


def choose(given, known, what):
    """The names of `known` that were `given`, in the order of `known`; all for None.

    Case, spaces, hyphens and underscores do not count. Raises UserError for a name that is not there.
    """
    if given is None:
        return list(known)
    plain = {_plain(name): name for name in known}
    for name in given:
        if _plain(name) not in plain:
            raise UserError(f"there is no {what} {name!r}; {suggest(name, known)}")
    wanted = {plain[_plain(name)] for name in given}
    return [name for name in known if name in wanted]


def _plain(name):
    return "".join(c for c in name.lower() if c not in " -_")


class Results:
    """What was found out about pairs, one JSON line each, so that a run which is killed goes on.

    Args:
        file (Path): the lines; a last one that is torn is passed over.
    """

    def __init__(self, file):
        self.file = Path(file)
        self.rows = {}
        for line in self.file.read_text().splitlines() if self.file.is_file() else ():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                self.rows[_key(row)] = row

    def find(self, row):
        """What is known of a pair with the same configuration and versions, or None."""
        return self.rows.get(_key(row))

    def add(self, row):
        """Keeps a row; it is on the disk when this returns."""
        self.rows[_key(row)] = row
        self.file.parent.mkdir(parents=True, exist_ok=True)
        torn = self.file.is_file() and not self.file.read_bytes().endswith(b"\n")
        with self.file.open("a") as stream:
            stream.write(("\n" if torn else "") + json.dumps(row) + "\n")
        sync(self.file)


_KEYS = ("toolkit", "release", "paddle", "densebone", "backbone", "head", "config")


def _key(row):
    return tuple(row[key] for key in _KEYS)


def describe(toolkit, backbone, head):
    """The row of a pair, before it is tried."""
    import paddle

    from .. import __version__

    release, _ = job(toolkit).prepare()
    text = job(toolkit).yaml_of(backbone, head)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    values = (toolkit, release, paddle.__version__, __version__, backbone, head, digest)
    return dict(zip(_KEYS, values))


def run(pairs, folder, jobs=1, report=print):
    """Tries the pairs that are not in folder/results.jsonl, or did not work; returns the rows of all of them, in order.

    Args:
        pairs (list of (toolkit, backbone, head)): to try.
        folder (Path): for results, logs, data and what is exported meanwhile.
        jobs (int): trials at a time.
        report (callable): called with a line for every pair that is done.

    Returns:
        list of dict: what `describe` says, and works (bool), why ("" or what keeps it from working), seconds, absent
        (true for a head that the installed toolkit does not have) and what `try_pair` returns.

    Raises:
        UserError: the folder cannot be written to.
    """
    folder = Path(folder).resolve()
    results = Results(folder / "results.jsonl")
    rows = [describe(*pair) for pair in pairs]
    left = [row for row in rows if not (results.find(row) or {}).get("works")]
    if len(left) < len(rows):
        report(f"{len(rows) - len(left)} of {len(rows)} pairs work according to {results.file}")
    data = {toolkit: _data(toolkit, folder) for toolkit in dict.fromkeys(row["toolkit"] for row in left)}
    done = len(rows) - len(left)
    for row in _try_all(left, data, folder, jobs):
        results.add(row)
        done += 1
        verdict = "works" if row["works"] else row["why"]
        report(f"{done}/{len(rows)} {row['head']} on {row['backbone']}: {verdict} ({row['seconds']:.0f} s)")
    return [results.find(row) for row in rows]


def _data(toolkit, folder):
    target = folder / "data" / toolkit
    if not (target / "complete").is_file():
        shutil.rmtree(target, ignore_errors=True)
        job(toolkit).write_data(target)
        (target / "complete").touch()
    return target


def _try_all(rows, data, folder, jobs):
    """Yields each row, completed, when its process has ended."""
    # A forked process has the toolkit imported already, which saves seconds; the parent must not compute anything.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    waiting, running = list(rows), []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                row = waiting.pop(0)
                running.append(_Trial(context, row, data[row["toolkit"]], folder))
            wait([trial.process.sentinel for trial in running], timeout=1)
            for trial in [trial for trial in running if trial.is_over()]:
                running.remove(trial)
                yield trial.result()
    finally:
        for trial in running:
            trial.stop()


class _Trial:
    """One pair in a process of its own."""

    def __init__(self, context, row, data, folder):
        self.row, self.started, self.stage, self.answer = row, time.monotonic(), "start", None
        name = f"{row['toolkit']}-{row['head']}-{row['backbone']}"
        self.log, self.folder = folder / "logs" / f"{name}.log", folder / "work" / name
        self.receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(row, data, self.folder, self.log, sender), daemon=True)
        self.process.start()
        sender.close()

    def is_over(self):
        """Whether it has ended; stops it when its time is up."""
        if self.process.is_alive() and time.monotonic() - self.started > LIMIT:
            self.stop()
            self.answer = {"works": False, "why": f"{self._stage()}: takes longer than {LIMIT} s"}
        return not self.process.is_alive()

    def stop(self):
        """Kills the process."""
        self.process.kill()
        self.process.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    def result(self):
        """The row with what the process said, or with how it died."""
        stage = self._stage()
        self.process.join()
        if self.answer is None:
            code = self.process.exitcode
            how = signal.Signals(-code).name if code < 0 else f"status {code}"
            self.answer = {"works": False, "why": f"{stage}: the process died ({how}), see {self.log}"}
        shutil.rmtree(self.folder, ignore_errors=True)
        return {**self.row, **self.answer, "seconds": round(time.monotonic() - self.started, 1)}

    def _stage(self):
        """The stage that it got to."""
        with contextlib.suppress(EOFError):
            while self.receiver.poll():
                message = self.receiver.recv()
                if isinstance(message, dict):
                    self.answer = message
                else:
                    self.stage = message
        return self.stage


def _work(row, data, folder, log, sender):
    """What the process of a pair does."""
    stage, started = ["start"], time.monotonic()

    def enter(name):
        stage[0] = name
        print(f"densebone: {name} after {time.monotonic() - started:.1f} s", flush=True)
        sender.send(name)

    log.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    stream = log.open("w", buffering=1)
    os.dup2(stream.fileno(), 1)  # also what Paddle's own code writes
    os.dup2(stream.fileno(), 2)
    sys.stdout = sys.stderr = stream
    os.chdir(folder)
    module = job(row["toolkit"])
    try:
        module.prepare()
        why = module.unavailable(row["head"])
        if why:
            sender.send({"works": False, "why": why, "absent": True})
            return
        config = folder / "pair.yml"
        config.write_text(module.yaml_of(row["backbone"], row["head"]))
        found = module.try_pair(config, row["head"], data, folder, enter)
        sender.send({"works": True, "why": "", **found})
    except Exception as error:
        traceback.print_exc()
        sender.send({"works": False, "why": f"{stage[0]}: {one_line(error)}"})


def one_line(error):
    """An exception as one line: its type and what it says, of Paddle's long ones the sentence that tells."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Error:" in line and not line.startswith("File")] or lines
    text = " ".join(telling[-1].split()) if telling else "no message"
    return f"{type(error).__name__}: {text[:200]}"


def tables(rows):
    """[(title, rows of cells, reasons)] for the rows of `run`, one table for each toolkit and set of versions.

    The first row of cells has the backbones. A cell is "yes" or the number of a reason: "no (1)".
    """
    groups = {}
    for row in rows:
        groups.setdefault((row["toolkit"], row["release"], row["paddle"], row["densebone"]), []).append(row)
    result = []
    for (toolkit, release, paddle, densebone), members in groups.items():
        backbones = list(dict.fromkeys(row["backbone"] for row in members))
        heads = list(dict.fromkeys(row["head"] for row in members))
        reasons = list(dict.fromkeys(row["why"] for row in members if not row["works"]))
        cells = {
            (row["head"], row["backbone"]): "yes" if row["works"] else f"no ({reasons.index(row['why']) + 1})"
            for row in members
        }
        lines = [["", *backbones], *([h, *(cells.get((h, b), "-") for b in backbones)] for h in heads)]
        title = f"{job(toolkit).TITLE} {release}, paddlepaddle {paddle}, densebone {densebone}"
        result.append((title, lines, reasons))
    return result


INTRODUCTION = """\
# Compatibility

What `densebone compat` found. "yes": a configuration of the head on the backbone was built, trained for a step on
generated pictures, with finite losses, gradients and weights, and exported; the exported model ran on a picture and
gave what the trained one gave. Heads that begin with another assignment of targets were trained for a step with each.
Images were small, weights random and score thresholds near 0: this says that the parts fit together, not how well they
detect or segment. Each pair ran in a process of its own, on a CPU.

`densebone compat --show HarDNet68 FCOS` prints the configuration of a pair, complete in itself and ready to train on.
"""


def markdown(rows):
    """The rows of `run` as a page."""
    parts = [INTRODUCTION]
    for title, lines, reasons in tables(rows):
        rule = ["---"] * len(lines[0])
        table = "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])
        notes = "\n".join(f"{i}. {' '.join(reason.split())}" for i, reason in enumerate(reasons, 1))
        parts.append(f"## {title}\n\n{table}\n" + (f"\n{notes}\n" if notes else ""))
    return "\n".join(parts)


def write(rows, output):
    """Writes the page."""
    with atomic_path(output) as temporary:
        temporary.write_text(markdown(rows), encoding="utf-8")
