"""Compares networks: exports and counts each, then times all of them in turns on the same engines."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..engines import open_exported
from ..engines.agreement import random_images
from ..engines.exports import ONNX_ENGINES
from ..errors import UserError
from ..profiling.costs import check_size
from ..system.files import atomic_path
from ..system.packages import ENGINES, missing_package
from ..system.processors import available_cpus, cpu_model
from ..system.progress import Progress
from . import measuring
from .exporting import Exported, NotExported, export
from .subjects import FILE, OURS, SOURCES, Subject, parse_all

logger = logging.getLogger("densebone")

#: engine -> its name for people
TITLES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
_PACKAGES = (
    "paddlepaddle",
    "openvino",
    "onnxruntime",
    "torch",
    "torchvision",
    "timm",
    "paddleclas",
    "paddledet",
    "paddleseg",
)


@dataclass(frozen=True)
class Comparison:
    """What was counted and measured.

    Attributes:
        about: when and on what: date, processor, cpus, threads, size, batch, rounds, engines, versions, and load, the
            largest load average seen.
        rows: a dict for each network, in the order in which they were given: name, source, parameters, macs, cio, moc,
            outputs, accuracy (None or a dict: value, metric, source, size, note), checked, and ms: {engine: {median,
            least, ratio}}, where ratio is the time relative to the first network. A network that could not be compared
            has name, source and failed, the reason.
    """

    about: dict[str, Any]
    rows: list[dict[str, Any]]

    @property
    def compared(self) -> list[dict[str, Any]]:
        """The rows of the networks that could be compared."""
        return [row for row in self.rows if "failed" not in row]


def compare(
    names: Sequence[str],
    size: Sequence[int] = (224, 224),
    batch: int = 1,
    engines: Sequence[str] = (),
    threads: int | None = None,
    rounds: int = 7,
    keep: str | Path | None = None,
    verbose: bool = False,
) -> Comparison:
    """Compares networks by name.

    Args:
        names: as `subjects.parse` reads them.
        size: (height, width) of the pictures in pixels.
        batch: pictures at once.
        engines: "openvino", "onnxruntime" or both; none takes the first that is installed.
        threads: CPU threads of every engine; None takes all CPUs.
        rounds: turns of each network; 0 counts and measures no time.
        keep: a folder that receives each network's .onnx file.
        verbose: shows what the libraries print while networks are built.

    Raises:
        UserError: an unknown name, a missing package, an option out of range, or no network that can be compared.
    """
    subjects = parse_all(names)
    height, width = check_size(list(size))
    for what, value, lowest in (
        ("batch", batch, 1),
        ("threads", 1 if threads is None else threads, 1),
        ("rounds", rounds, 0),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
            raise UserError(f"{what} is {value!r}; give a whole number of {lowest} or more")
    chosen = _engines(engines)
    threads = threads or available_cpus()
    with tempfile.TemporaryDirectory(prefix="densebone-compare-") as folder:
        exported = _export_all(subjects, Path(folder), (height, width), batch, chosen, verbose)
        rows = [_row(*pair) for pair in zip(subjects, exported)]
        ready = [one for one in exported if isinstance(one, Exported)]
        if not ready:
            raise UserError(f"no network can be compared; {rows[0]['name']}: {rows[0]['failed']}")
        load = _load()
        for engine in chosen if rounds else ():
            times = _time(ready, engine, (batch, 3, height, width), threads, rounds)
            load = max(load, _load())
            for row, taken in zip([row for row in rows if "failed" not in row], times):
                row["ms"][engine] = {
                    "median": measuring.median(taken),
                    "least": measuring.least(taken),
                    "ratio": measuring.ratio(taken, times[0]),
                }
        if keep is not None:
            _keep(ready, Path(keep))
    about = {"size": [height, width], "batch": batch, "threads": threads, "rounds": rounds, "engines": list(chosen)}
    about["load"] = load
    return Comparison({**_machine(subjects), **about}, rows)


def _engines(given):
    """The engines to time on."""
    if unknown := [name for name in given if name not in ONNX_ENGINES]:
        raise UserError(f"engine {unknown[0]!r} runs no ONNX file; give {' or '.join(ONNX_ENGINES)}")
    reasons = {name: missing_package(*ENGINES[name]) for name in given or ONNX_ENGINES}
    if given:
        for name, reason in reasons.items():
            if reason:
                raise UserError(f"engine {name!r}: {reason}")
        return tuple(dict.fromkeys(given))
    installed = [name for name, reason in reasons.items() if not reason]
    if not installed:
        raise UserError("no engine is installed; pip install 'densebone[openvino]' or 'densebone[onnx]'")
    return (installed[0],)


def _export_all(subjects, folder, size, batch, engines, verbose):
    """For each network an `Exported`, or the reason why there is none."""
    found: list[Exported | str] = []
    with Progress(subjects, desc="networks", unit="network") as bar:
        for number, subject in enumerate(bar):
            bar.set_postfix_str(subject.name)
            own = folder / str(number)
            own.mkdir()
            try:
                found.append(export(subject, own, size, batch, engines, verbose))
            except NotExported as error:
                found.append(str(error))
                logger.warning("%s is left out: %s", subject.name, error)
    return found


def _row(subject, exported):
    row = {"name": subject.name, "source": subject.source}
    if not isinstance(exported, Exported):
        return {**row, "failed": exported}
    counts = exported.counts
    return {
        **row,
        "parameters": counts.parameters,
        "macs": counts.macs,
        "cio": counts.cio,
        "moc": counts.macs / counts.cio if counts.cio else None,
        "outputs": [list(shape) for shape in counts.outputs],
        "accuracy": asdict(exported.accuracy) if exported.accuracy else None,
        "checked": exported.checked,
        "ms": {},
    }


def _time(ready, engine, shape, threads, rounds):
    """The rounds of each network on an engine."""
    with ExitStack() as opened:
        running = [
            opened.enter_context(open_exported(one.files[engine], engine, threads=threads, input_size=shape[2:]))
            for one in ready
        ]
        return measuring.take_turns(running, random_images(shape), rounds)


def _keep(ready, folder):
    """Copies the files that ran into a folder."""
    for one in ready:
        name = Path(one.subject.name).name.removesuffix(".onnx")
        plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
        for engine, path in one.files.items():
            ending = f".{engine}" if len({*one.files.values()}) > 1 else ""
            with atomic_path(folder / f"{plain}{ending}.onnx") as temporary:
                shutil.copyfile(path, temporary)


def _load():
    """How many programs want a CPU, over the last minute; 0 where the system does not say."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else 0.0


def _machine(subjects):
    """When and on what it ran, and the versions that matter."""
    used = {package for subject in subjects for package in _distributions(subject)}
    versions = {}
    for name in _PACKAGES:
        if name in used | {*ONNX_ENGINES, "paddlepaddle"}:
            try:
                versions[name] = version(name)
            except PackageNotFoundError:  # paddlepaddle-gpu, a checkout of a toolkit
                continue
    now = datetime.now().astimezone().strftime("%Y-%m-%d")
    return {"date": now, "processor": cpu_model(), "cpus": available_cpus(), "versions": versions}


def _distributions(subject: Subject) -> tuple[str, ...]:
    if subject.source in (OURS, FILE):
        return ()
    return (*SOURCES[subject.source].packages, {"ppdet": "paddledet"}.get(subject.source, ""))
