"""What every evaluation ends with: evaluation.json, classes.csv, a report. And running a network on an engine."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..engines import EngineLayer, open_network
from ..engines.opening import Calibration
from ..errors import UserError, printable
from ..reports.writing import CLASSES, Findings, check_ready, without_nan, write_report, write_table
from ..system.files import atomic_path, check_writable
from .tables import table
from .task import Job

#: of more classes `class_lines` shows the worst alone
SHOWN = 40
WORST = 15
#: why a detector or a segmentation model refuses "int8" beside a configuration
IN_8_BITS = (
    "precision is 'int8', which a detector or segmentation model has when it is exported; use densebone export "
    "--format onnx --int8 PICTURES, then predict --model FOLDER --precision int8"
)


def check_output(job: Job, report: str | Path | None, processes: int = 1) -> None:
    """UserError where an evaluation, or its report, could not be written. So nobody waits for hours before it.

    Args:
        job: its folder receives the results.
        report: the folder of the report; None for none.
        processes: that evaluate together.
    """
    check_writable(job.folder)
    if report is None:
        return
    if processes > 1:
        raise UserError(f"--report needs the answers to all pictures in one process, and there are {processes}")
    check_ready(report)


def write_evaluation(
    job: Job, result: Mapping[str, Any], report: str | Path | None = None, find: Callable[[], Findings] | None = None
) -> dict[str, Any]:
    """Writes a result as evaluation.json and its "classes" as classes.csv into the job's folder, and the report.

    Args:
        job: its folder receives the files.
        result: values that are nan become null.
        report: the folder of the report; None for none.
        find: called for what the report says.

    Returns:
        The result, with the paths of evaluation.json as "file" and of report.html, if there is one, as "report".
    """
    file = job.folder / "evaluation.json"
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(without_nan(result), indent=1))
    if result.get("classes"):
        write_table(job.folder / CLASSES, result["classes"])
    if report is None or find is None:
        return {**result, "file": str(file)}
    findings = find()
    whole = {key: value for key, value in result.items() if isinstance(value, (str, int, float))}
    findings.metrics = {**whole, **findings.metrics}
    return {**result, "file": str(file), "report": str(write_report(report, findings))}


def facts_of(result: Mapping[str, Any], source: Any) -> list[tuple[str, str]]:
    """(what, value) for the head of a report: weights, data, the number of pictures and when that was."""
    return [
        ("weights", str(result["weights"])),
        ("data", str(source)),
        ("pictures", f"{result['images']:,}"),
        ("evaluated", datetime.now().strftime("%Y-%m-%d %H:%M")),
    ]


def class_lines(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], rank: str) -> list[str]:
    """A table of the classes as lines to print: all, or of more than `SHOWN` the `WORST` worst.

    Args:
        rows: of the classes, with "name".
        columns: key of the rows -> how a value is written, such as ".4f".
        rank: the key by which the worst are found.
    """
    if not rows:
        return []
    shown = list(rows)
    if len(rows) > SHOWN:
        shown = sorted((r for r in rows if _known(r[rank])), key=lambda row: row[rank])[:WORST]
    cells = [
        [printable(r["name"]), *(format(r[k], spec) if _known(r[k]) else "-" for k, spec in columns.items())]
        for r in shown
    ]
    left_out = f"the {len(shown)} of {len(rows)} classes with the lowest {rank}; {CLASSES} has all"
    return [table([["class", *columns], *cells]), *([left_out] if len(shown) < len(rows) else [])]


def report_lines(result: Mapping[str, Any]) -> list[str]:
    """The line that names the report, if there is one."""
    return [f"report: {result['report']}"] if "report" in result else []


def _known(value):
    return value is not None and value == value


def on_engine(
    network: Any,
    engine: Mapping[str, Any],
    input_size: tuple[int, int] | None = None,
    single: bool = False,
    preprocessing: Any = None,
) -> EngineLayer:
    """A trained network as a layer that an engine runs. Prints on stderr which engine that is.

    Args:
        network: a `paddle.nn.Layer` that takes float32 (N, C, H, W).
        engine: the options engine, precision and threads of `engines.open_network`; with "int8" also calibration, a
            folder of pictures.
        input_size: (height, width) of most inputs, in pixels.
        single: the layer returns its first output and not a list of them.
        preprocessing: how the pictures of "int8" become inputs; None where 8 bits are for exported models alone.

    Raises:
        UserError: "int8" where they are, or without pictures.
    """
    network.eval()
    engine = dict(engine)
    if engine.get("precision") == "int8" and preprocessing is None:
        raise UserError(IN_8_BITS)
    if folder := engine.pop("calibration", None):
        engine["calibration"] = Calibration(folder, preprocessing, input_size)
    opened = open_network(network, input_size=input_size, **engine)
    print(f"engine: {opened.description}", file=sys.stderr)
    return FirstOutput(opened) if single else EngineLayer(opened)


class FirstOutput(EngineLayer):
    """An engine in the place of a network with one output."""

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) -> the network's first output."""
        return super().forward(x)[0]
