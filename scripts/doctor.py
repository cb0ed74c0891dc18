"""Print versions, the GPUs and whether Paddle fits them, the toolkits, the registered names and the repairs in force.

densebone doctor
densebone doctor --json    # the same for programs, and for a report of a fault

The exit status is 1 when Paddle cannot be imported.
"""

import importlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any, NamedTuple

from ..system import gpus, reports
from ..system.packages import LACKING, paddle_version, toolkit_command
from . import options

PACKAGES = (
    "paddlepaddle",
    "paddlepaddle-gpu",
    "paddledet",
    "paddleseg",
    "numpy",
    "opencv-python",
    "pillow",
    "pycocotools",
)


class Toolkit(NamedTuple):
    """A toolkit: its title, a module whose import needs all of it, densebone's adapter, the extra that installs it."""

    title: str
    heaviest: str
    adapter: str
    extra: str


TOOLKITS = (
    Toolkit("PaddleDetection", "ppdet.engine", "paddledet", "detection"),
    Toolkit("PaddleSeg", "paddleseg.core", "paddleseg", "segmentation"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status, 1 when Paddle cannot be imported."""
    parser = options.plain_parser("doctor", __doc__)
    parser.add_argument("--json", action="store_true", help="print all of it as one JSON object")
    as_json = parser.parse_args(argv).json
    with redirect_stdout(sys.stderr):  # where a toolkit that is imported may print
        facts, lines = _examine()
    print(json.dumps(facts, indent=1) if as_json else "\n".join(lines))
    return 1 if facts["paddle"]["error"] else 0


def _examine() -> tuple[dict[str, Any], list[str]]:
    """What there is to know, for programs and as lines."""
    from .. import __version__

    facts: dict[str, Any] = {
        "densebone": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "reports": reports.describe(),
    }
    lines = [f"densebone {__version__}, Python {facts['python']}, {facts['platform']}"]
    lines += [f"  {name:18} {version or 'not installed'}" for name, version in facts["packages"].items()]
    lines.append(f"reports of engines: {facts['reports']}")
    imported = {toolkit: _import(toolkit.heaviest) for toolkit in TOOLKITS}  # before Paddle: Paddle 2.6 needs that
    paddle = _import("paddle")
    if isinstance(paddle, Exception):
        facts["paddle"] = {"file": None, "version": None, "error": _line(paddle)}
        return facts, [
            *lines, f"Paddle cannot be imported: {_line(paddle)}",
            f"  {LACKING.get(getattr(paddle, 'name', ''), LACKING['paddle'])}",
        ]  # fmt: skip
    from ..registry import list_models

    survey = gpus.survey()
    facts["paddle"] = {"file": paddle.__file__, "version": paddle_version(), "error": None}
    facts |= {"gpus": survey.facts(), "models": list_models(), "toolkits": []}
    count = len(survey.seen)
    where = f"{count} GPU{'s' * (count > 1)}" if count else "CPU"
    lines.append(f"Paddle: {paddle.__file__}, {where}")
    lines += [*survey.describe(), f"models: {', '.join(facts['models'])}"]
    for toolkit, package in imported.items():
        found, said = _toolkit(toolkit, package)
        facts["toolkits"].append(found)
        lines += said
    return facts, lines


def _toolkit(toolkit: Toolkit, package: Any) -> tuple[dict[str, Any], list[str]]:
    """What densebone does in a toolkit; `package` is the toolkit's package, or why it cannot be imported."""
    facts: dict[str, Any] = {"title": toolkit.title, "file": None, "error": None}
    if isinstance(package, Exception):
        facts["error"] = _line(package)
        return facts, [
            f"{toolkit.title}: cannot be imported ({facts['error']})", f"  {toolkit_command(toolkit.extra)}",
        ]  # fmt: skip
    adapter = importlib.import_module(f"..integrations.{toolkit.adapter}", __package__)
    compat = importlib.import_module(f"..integrations.compat.{toolkit.adapter}", __package__)
    facts["file"], facts["registered"] = package.__file__, list(adapter.__all__)
    facts["repairs"] = [
        {"name": one.name, "why": str(one.why), "symptom": _line(one.symptom)} for one in compat.in_force()
    ]
    return facts, [
        f"{toolkit.title}: {facts['file']}",
        f"  registered: {', '.join(facts['registered'])}",
        f"  repairs in force: {len(facts['repairs']) or 'none needed'}",
        *(f"    {one['name']:24} {one['why']}: {one['symptom']}" for one in facts["repairs"]),
    ]


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _import(name):
    """Imports a module; returns its top package, or the exception that the import raised."""
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken installation can raise anything, and this command shows it
        return error
    return sys.modules[name.partition(".")[0]]


def _line(text):
    return " ".join(str(text).split())[:140]
