"""The trials of `densebone compat`: every head of the toolkits on every backbone, each in its own process.

`detection.heads` and `segmentation.heads` list the heads, write a configuration for a pair and try it. This file has
the processes, the results as JSON lines, and the table.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import UserError, suggest
from ..system.files import atomic_path, sync
from .task import TASKS

TOOLKITS = ("detection", "segmentation")
# Seconds after which a trial is stopped. One that works takes a few.
LIMIT = 600


def heads_of(toolkit: str) -> ModuleType:
    """The module heads.py of "detection" or "segmentation"."""
    return TASKS[toolkit].part("heads")


def choose(given: Iterable[str] | None, known: Iterable[str], what: str) -> list[str]:
    """The names of `known` that were `given`, in the order of `known`; all of them for None.

    Case, spaces, hyphens and underscores do not count.

    Args:
        given: the names to choose.
        known: all names.
        what: what they name, for the message.

    Raises:
        UserError: a name is not known.
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
    """The results of the trials, one JSON line each, so that a killed run can go on.

    Args:
        file: the file of lines. A last line that was cut short is skipped.
    """

    def __init__(self, file: str | Path):
        self.file = Path(file)
        self.rows: dict[tuple, dict[str, Any]] = {}
        for line in self.file.read_text().splitlines() if self.file.is_file() else ():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                self.rows[_key(row)] = row

    def find(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """The result of a pair with the same configuration and versions, or None."""
        return self.rows.get(_key(row))

    def add(self, row: dict[str, Any]) -> None:
        """Keeps a row. It is on the disk when this returns."""
        self.rows[_key(row)] = row
        self.file.parent.mkdir(parents=True, exist_ok=True)
        torn = self.file.is_file() and not self.file.read_bytes().endswith(b"\n")
        with self.file.open("a") as stream:
            stream.write(("\n" if torn else "") + json.dumps(row) + "\n")
        sync(self.file)


_KEYS = ("toolkit", "release", "paddle", "densebone", "backbone", "head", "config")


def _key(row):
    return tuple(row[key] for key in _KEYS)


def describe(toolkit: str, backbone: str, head: str) -> dict[str, str]:
    """The row of a pair before its trial."""
    import paddle

    from .. import __version__

    release, _ = heads_of(toolkit).prepare()
    text = heads_of(toolkit).yaml_of(backbone, head)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    values = (toolkit, release, paddle.__version__, __version__, backbone, head, digest)
    return dict(zip(_KEYS, values))


def run(
    pairs: Sequence[tuple[str, str, str]], folder: str | Path, jobs: int = 1, report: Callable[[str], Any] = print
) -> list[dict[str, Any]]:
    """Tries the pairs that folder/results.jsonl lacks or that did not work before.

    Args:
        pairs: (toolkit, backbone, head) each.
        folder: receives results, logs, data and exported models.
        jobs: trials at a time.
        report: called with a line for every finished pair.

    Returns:
        The rows of all pairs, in order: what `describe` returns, and works (bool), why ("" or what keeps the pair from
        working), seconds, absent (true for a head that the installed toolkit lacks) and what `try_pair` returns.

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
    return [results.rows[_key(row)] for row in rows]


def _data(toolkit, folder):
    target = folder / "data" / toolkit
    if not (target / "complete").is_file():
        shutil.rmtree(target, ignore_errors=True)
        heads_of(toolkit).write_data(target)
        (target / "complete").touch()
    return target


def _try_all(rows, data, folder, jobs):
    """Yields each row, completed, when its process has ended."""
    # A forked process has the toolkit imported already, which saves seconds. The parent must not compute anything.
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
    """The trial of one pair in its own process."""

    def __init__(self, context, row, data, folder):
        self.row, self.started, self.stage, self.answer = row, time.monotonic(), "start", None
        name = f"{row['toolkit']}-{row['head']}-{row['backbone']}"
        self.log, self.folder = folder / "logs" / f"{name}.log", folder / "work" / name
        self.receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(row, data, self.folder, self.log, sender), daemon=True)
        self.process.start()
        sender.close()

    def is_over(self):
        """Whether the process has ended. Stops it when its time is up."""
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
        """The row with the answer of the process, or with how it died."""
        stage = self._stage()
        self.process.join()
        if self.answer is None:
            code = self.process.exitcode
            how = signal.Signals(-code).name if code < 0 else f"status {code}"
            self.answer = {"works": False, "why": f"{stage}: the process died ({how}), see {self.log}"}
        shutil.rmtree(self.folder, ignore_errors=True)
        return {**self.row, **self.answer, "seconds": round(time.monotonic() - self.started, 1)}

    def _stage(self):
        """The stage that the process has reached."""
        with contextlib.suppress(EOFError):
            while self.receiver.poll():
                message = self.receiver.recv()
                if isinstance(message, dict):
                    self.answer = message
                else:
                    self.stage = message
        return self.stage


def _work(row, data, folder, log, sender):
    """Runs in the process of a pair."""
    stage, started = ["start"], time.monotonic()

    def enter(name):
        stage[0] = name
        print(f"densebone: {name} after {time.monotonic() - started:.1f} s", flush=True)
        sender.send(name)

    log.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    stream = log.open("w", buffering=1)
    os.dup2(stream.fileno(), 1)  # catches the output of Paddle's native code too
    os.dup2(stream.fileno(), 2)
    sys.stdout = sys.stderr = stream
    os.chdir(folder)
    module = heads_of(row["toolkit"])
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


def one_line(error: BaseException) -> str:
    """An exception as one line: its type and message. Of Paddle's long messages it takes the sentence that matters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Error:" in line and not line.startswith("File")] or lines
    text = " ".join(telling[-1].split()) if telling else "no message"
    return f"{type(error).__name__}: {text[:200]}"


def tables(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[list[str]], list[str]]]:
    """(title, rows of cells, reasons) for the rows of `run`, one table for each toolkit and set of versions.

    The first row of cells names the backbones. A cell is "yes" or refers to a reason: "no (1)".
    """
    groups: dict[tuple, list] = {}
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
        title = f"{heads_of(toolkit).TITLE} {release}, paddlepaddle {paddle}, densebone {densebone}"
        result.append((title, lines, reasons))
    return result


INTRODUCTION = """\
# Compatibility

`densebone compat --show HarDNet68 FCOS` prints a working configuration of a head on a backbone, complete and ready to
train. The tables say which pairs work.

"yes" means: the configuration was built, trained for one step on generated pictures with finite losses, gradients and
weights, and exported. The exported model ran on a picture and gave the trained model's result. A head that changes its
assignment of targets during training was trained for one step with each.

Images were small, weights random and score thresholds near 0. So the tables say that the parts fit together, and not
how well they detect or segment. Each pair ran in its own process, on a CPU.
"""


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of `run` as a page in Markdown."""
    parts = [INTRODUCTION]
    for title, lines, reasons in tables(rows):
        rule = ["---"] * len(lines[0])
        table = "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])
        notes = "\n".join(f"{i}. {' '.join(reason.split())}" for i, reason in enumerate(reasons, 1))
        parts.append(f"## {title}\n\n{table}\n" + (f"\n{notes}\n" if notes else ""))
    return "\n".join(parts)


def write(rows: Sequence[Mapping[str, Any]], output: str | Path) -> None:
    """Writes the page to a file."""
    with atomic_path(output) as temporary:
        temporary.write_text(markdown(rows), encoding="utf-8")
