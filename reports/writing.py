"""The files of a report: report.html, metrics.json, classes.csv, confusion.csv, worst.jpg and worst/."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..pictures.plots import new_figure
from ..pictures.sheets import contact_sheet
from ..system.files import atomic_path, check_writable
from .page import Page, check_jinja, render
from .worst import Case

PAGE, METRICS, CLASSES, CONFUSION, WORST = "report.html", "metrics.json", "classes.csv", "confusion.csv", "worst"
_DRAWN = re.compile(r"\d{2}_(truth|prediction|picture)\.jpg")


@dataclass
class Findings:
    """What a report says.

    Attributes:
        page: for report.html.
        metrics: for metrics.json; values that are not finite become null.
        classes: a row for each class, with the same keys.
        matrix: the confusion matrix (C, C), rows are the true classes.
        names: of its rows and columns.
        cases: the worst pictures.
    """

    page: Page
    metrics: Mapping[str, Any]
    classes: Sequence[Mapping[str, Any]]
    matrix: np.ndarray
    names: Sequence[str]
    cases: Sequence[Case]


def check_ready(folder: str | Path) -> None:
    """UserError where a report could not be drawn or written. Call it before an evaluation rather than after."""
    check_jinja()
    new_figure(1, 1)
    check_writable(folder)


def write_report(folder: str | Path, findings: Findings) -> Path:
    """Writes all files; those of an earlier report are replaced. Returns the path of report.html, the last of them."""
    folder = Path(folder)
    text = render(findings.page)
    write_table(folder / CLASSES, findings.classes)
    names = list(findings.names)
    matrix = [{"true \\ answer": name, **dict(enumerate(row))} for name, row in zip(names, findings.matrix.tolist())]
    write_table(folder / CONFUSION, matrix, ["true \\ answer", *names])
    _write_drawings(folder, findings.cases)
    listed = [{"file": c.file, "title": c.title, "errors": c.lines, "fault": c.fault} for c in findings.cases]
    with atomic_path(folder / METRICS) as temporary:
        content = without_nan({**findings.metrics, "worst": listed})
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    with atomic_path(folder / PAGE) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return folder / PAGE


def _write_drawings(folder, cases):
    """Writes every drawing into FOLDER/worst, and all as the sheet FOLDER/worst.jpg."""
    place, sheet = folder / WORST, folder / f"{WORST}.jpg"
    sheet.unlink(missing_ok=True)
    for file in place.iterdir() if place.is_dir() else ():
        if _DRAWN.fullmatch(file.name):
            file.unlink()
    drawn = [(number, case, drawing) for number, case in enumerate(cases, 1) for drawing in case.drawings]
    for number, _, drawing in drawn:
        with atomic_path(place / f"{number:02}_{drawing.name}.jpg", durable=False) as temporary:
            temporary.write_bytes(drawing.jpeg)
    if drawn:
        pictures = (Image.open(io.BytesIO(drawing.jpeg)) for _, _, drawing in drawn)
        titles = [f"{number} {drawing.name}: {case.title}" for number, case, drawing in drawn]
        with atomic_path(sheet) as temporary:
            contact_sheet(pictures, titles).save(temporary, format="JPEG", quality=85)


def write_table(file: Path, rows: Iterable[Mapping[Any, Any]], header: Sequence[str] | None = None) -> None:
    """Writes rows as CSV; what is None or nan stays empty.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.

    Args:
        file: the path.
        rows: with the same keys.
        header: None takes the keys.
    """
    rows = list(rows)
    with (
        atomic_path(file) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([_cell(title) for title in header or (rows[0] if rows else [])])
        writer.writerows([_cell(value) for value in row.values()] for row in rows)


def _cell(value):
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def without_nan(value: Any) -> Any:
    """A value for JSON: numbers that are not finite become null, arrays lists, and NumPy's numbers Python's."""
    if isinstance(value, Mapping):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return without_nan(value.tolist())
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    if isinstance(value, np.generic):
        return without_nan(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
