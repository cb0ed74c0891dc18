"""The steps of `densebone gpu-check`, each in a process of its own, and what is written of them.

A step that crashes the driver's library ends its process alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError, suggest
from ..system import gpus
from ..system.files import atomic_path
from . import gpu_checks
from .gpu_checks import LeftOut, Place, Wrong

#: seconds after which a step is stopped
LIMIT = 600
RESULTS = ("works", "fails", "left out")


@dataclass(frozen=True)
class Step:
    """A step.

    Attributes:
        title: what it tries.
        check: the function.
        environment: variables that must be set before Paddle is imported.
    """

    title: str
    check: Callable[[Place], str]
    environment: Mapping[str, str]


def _step(title, check, **environment):
    return check.__name__, Step(title, check, environment)


_NO_TF32 = {"NVIDIA_TF32_OVERRIDE": "0"}
#: name -> step, in the order in which they are tried
STEPS: dict[str, Step] = dict(
    (
        _step("convolution, product, batch norm and their gradients", gpu_checks.kernels, **_NO_TF32),
        _step("the maps of each family in float32", gpu_checks.networks, **_NO_TF32),
        _step("the same with TF32, NVIDIA's default", gpu_checks.tf32),
        _step("batches as bytes, normalised on the device", gpu_checks.uint8),
        _step("workers and pinned memory", gpu_checks.loading),
        _step("mixed precision", gpu_checks.precision),
        _step("average of gradients over processes, NCCL", gpu_checks.gradients),
        _step("batch norms over processes", gpu_checks.sync_bn),
        _step("a classifier from data to export, --amp", gpu_checks.classification),
        _step("a detector from data to export, --amp", gpu_checks.detection),
        _step("a segmentation model from data to export, --amp", gpu_checks.segmentation),
    )
)


def choose(given: Iterable[str] | None) -> list[str]:
    """The names of steps that were given, in their order; all for None. UserError for one that does not exist."""
    wanted = [*STEPS] if given is None else [*given]
    for name in wanted:
        if name not in STEPS:
            raise UserError(f"there is no step {name!r}; {suggest(name, STEPS)}")
    return [name for name in STEPS if name in wanted]


def place_for(dry: bool, found: gpus.Survey, folder: Path) -> Place:
    """Where to try. UserError where there is no GPU on which Paddle can compute, unless this is a rehearsal."""
    if dry:
        return Place("cpu", len(found.seen), folder)
    if not found.seen:
        reason = found.describe()[-1].removeprefix("GPUs: ")
        raise UserError(f"gpu-check needs a GPU that Paddle sees ({reason}); --dry-run tries the steps on the CPU")
    if found.fits(found.seen[0]) is False:
        held = " ".join(f"{major}.{minor}" for major, minor in found.code.binary)
        raise UserError(
            f"Paddle holds code for compute capability {held}, and this GPU is a {found.seen[0]}; {gpus.PAGE} says "
            f"what to install"
        )
    return Place("gpu", len(found.seen), folder)


def try_step(name: str, place: Place, limit: float = LIMIT) -> dict[str, Any]:
    """Tries a step in a process of its own, which can crash or hang.

    Returns:
        step, title, result (of RESULTS), said (the figures, or what went wrong), seconds.
    """
    folder = place.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    answer, log = folder / "result.json", folder / "log.txt"
    answer.unlink(missing_ok=True)
    code = "from densebone.tasks.gpu_trials import in_child; in_child()"
    order = json.dumps([name, place.device, place.gpus, str(folder)])
    environment = {**os.environ, **STEPS[name].environment}
    begun = time.monotonic()
    with open(log, "w") as stream:
        child = subprocess.Popen(
            [sys.executable, "-c", code, order], stdout=stream, stderr=subprocess.STDOUT, env=environment,
            start_new_session=True, cwd=folder,  # Python would import from the user's own folder
        )  # fmt: skip
        try:
            status = child.wait(limit)
            result = {"result": "fails", "said": f"ended with {status}: {_end_of(log)}"}
        except subprocess.TimeoutExpired:
            result = {"result": "fails", "said": f"not done after {limit:.0f} s: {_end_of(log)}"}
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if answer.is_file():
        result = json.loads(answer.read_text())
    return {"step": name, "title": STEPS[name].title, **result, "seconds": round(time.monotonic() - begun, 1)}


def in_child() -> None:
    """Runs the step that the arguments of this process name, and writes its result."""
    name, device, count, folder = json.loads(sys.argv[1])
    result = "works"
    try:
        said = STEPS[name].check(Place(device, count, Path(folder)))
    except LeftOut as error:
        result, said = "left out", str(error)
    except Wrong as error:
        result, said = "fails", str(error)
    with atomic_path(Path(folder) / "result.json") as temporary:
        temporary.write_text(json.dumps({"result": result, "said": said}))


def write(
    file: Path, place: Place, found: gpus.Survey, versions: Mapping[str, Any], rows: list[dict[str, Any]]
) -> None:
    """Writes all that was found, for a report."""
    content = {"dry_run": place.is_dry, "versions": versions, "gpus": found.facts(), "steps": rows}
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def _end_of(log: Path) -> str:
    return gpu_checks.last_line(log.read_text(errors="replace"))
