"""report.html: one file that needs no other, readable in light and dark, on wide and narrow screens.

Every name in it may come from a data set that somebody else made. Jinja2 escapes them all, and the page forbids every
script but its own, and every connection.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from .worst import Case

_HERE = Path(__file__).parent
#: a confusion matrix of more classes is shown in part
MATRIX = 25


@dataclass
class Chart:
    """A chart: its title, SVG from `charts`, and what one sees in it."""

    title: str
    svg: str
    note: str = ""
    kind: str = "chart"


@dataclass
class Column:
    """A column of a table.

    Attributes:
        key: of the rows' values.
        title: its heading.
        kind: "text", "count", "share" (0 to 1, drawn as a bar too) or "points" (-1 to 1, written in hundredths).
        hint: what the heading means.
    """

    key: str
    title: str
    kind: str = "share"
    hint: str = ""


@dataclass
class Table:
    """Rows with values for the columns' keys. Can be sorted in the page, and searched when it is long."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    note: str = ""
    kind: str = "table"


@dataclass
class Matrix:
    """A confusion matrix (R, C) of counts with names at its rows and columns, each cell in shares of its row."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    counts: np.ndarray
    totals: np.ndarray
    note: str = ""
    kind: str = "matrix"


@dataclass
class Pictures:
    """Pictures that went wrong."""

    title: str
    cases: Sequence[Case]
    note: str = ""
    kind: str = "pictures"


@dataclass
class Section:
    """A part of the page under a heading."""

    title: str
    parts: list[Chart | Table | Matrix | Pictures]
    text: str = ""

    @property
    def anchor(self) -> str:
        """Its place in the page, for links."""
        return self.title.lower().replace(" ", "-")


@dataclass
class Page:
    """The whole page.

    Attributes:
        title: the name of the job.
        task: "detection", ...
        facts: (what, value) of the evaluation: weights, data, ...
        figures: (name, value, what it means) of the figures that come first.
        sections: the rest.
    """

    title: str
    task: str
    facts: Sequence[tuple[str, str]]
    figures: Sequence[tuple[str, str, str]]
    sections: list[Section] = field(default_factory=list)


def check_jinja() -> None:
    """UserError where Jinja2 is missing. Call it before an evaluation rather than after."""
    _environment()


def _environment():
    try:
        import jinja2
    except ImportError as error:
        raise UserError("a report needs Jinja2; run: pip install jinja2") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(value=shown, share=_clipped, short=short, data=_data_url)
    return environment


def render(page: Page) -> str:
    """The page as HTML."""
    from markupsafe import Markup

    script = (_HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment().get_template("page.html").render(
        page=page, script=Markup(script), digest=digest, style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        markup=Markup,
    )  # fmt: skip


def shown(value: Any, kind: str) -> str:
    """A cell of a table as text; a dash for None and nan."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if kind == "share":
        return f"{value:.3f}"
    if kind == "points":
        return f"{100 * value:+.1f}"
    return f"{value:,}" if kind == "count" else str(value)


def short(count: int) -> str:
    """A count in at most five letters: 9,999 as it is, then 10k, 1.2M."""
    if count < 10_000:
        return str(count)
    return f"{count / 1e3:.0f}k" if count < 999_500 else f"{count / 1e6:.1f}M" if count < 99_950_000 else f"{count:.0e}"


def _clipped(value):
    """A share from 0 to 1 for drawing; 0 for None and nan."""
    usable = isinstance(value, (int, float, np.floating)) and math.isfinite(value)
    return min(max(float(value), 0.0), 1.0) if usable else 0.0


def _data_url(content):
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()


def confusion_matrix(matrix: np.ndarray, names: Sequence[str], chosen: np.ndarray, background: bool) -> Matrix:
    """A confusion matrix for the page.

    Args:
        matrix: int (C, C), or (C + 1, C + 1) with the background last.
        names: of the C classes.
        chosen: int, the classes that are shown.
        background: whether the matrix has it.
    """
    last = [len(names)] if background else []
    places = [*chosen.tolist(), *last]
    titles = [names[number] for number in chosen]
    part = (
        f" The {len(chosen)} classes with the most confusions; confusion.csv has all."
        if len(chosen) < len(names)
        else ""
    )
    extra = " Last row: found where nothing is. Last column: missed." if background else ""
    return Matrix(
        "Confusion matrix",
        [*titles, *(["nothing there"] if background else [])],
        [*titles, *(["missed"] if background else [])],
        matrix[np.ix_(places, places)],
        matrix.sum(1)[places],
        f"Rows are the true classes, columns the answers. Colours are shares of the row.{part}{extra}",
    )
