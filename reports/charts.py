"""Charts as SVG that stands inside a page: its letters are text in the page's colour, and it names no other file."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from ..errors import printable
from ..pictures.plots import new_figure

#: of as many classes each gets a line of its own
LINES = 8
#: of more classes, the worst that get one
WORST_LINES = 5
# Strong enough on white and on black.
_COLOURS = ("#2f7ed8", "#e8743b", "#19a979", "#ed4a7b", "#945ecf", "#13a4b4", "#bf8f00", "#7a8a99")
_INK = "#0a0b0c"  # becomes the page's own colour
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "densebone",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
}
_WIDTH = 4.4  # inches; in a page of 400 pixels the letters then have their size


class _Chart:
    """A figure, its axes, and after the block its SVG."""

    def __init__(self, figure):
        self.figure, self.svg = figure, ""
        self.axes = figure.subplots()


@contextmanager
def _chart(height: float) -> Iterator[_Chart]:
    """Yields a chart of this height in inches; its `svg` is there after the block."""
    figure = new_figure(_WIDTH, height)  # says so where matplotlib is missing
    from matplotlib import rc_context

    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that matplotlib's font lacks, which the reader's browser has
        chart = _Chart(figure)
        yield chart
        file = io.StringIO()
        figure.patch.set_alpha(0)
        for axes in figure.axes:
            axes.patch.set_alpha(0)
        figure.savefig(file, format="svg", metadata={"Date": None})
    chart.svg = _inside_a_page(file.getvalue())


def _inside_a_page(text):
    """matplotlib's SVG without what only a file of its own needs."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    head, rest = text.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head).group()
    return f"<svg {view}>{rest}".replace(_INK, "currentColor").strip()


def _name(text: str, limit: int = 26) -> str:
    """A class name as matplotlib takes it: in one line, cut, and never a formula or a name that legends leave out."""
    shown = printable(text)
    shown = shown if len(shown) <= limit else shown[: limit - 1] + "…"
    return "\u200b" + shown.replace("$", r"\$")


def class_lines(
    x: np.ndarray, rows: np.ndarray, names: Sequence[str], rank: np.ndarray, xlabel: str, ylabel: str
) -> str:
    """A line for each class where they are few; else the mean, the range of most, and the lines of the worst.

    Args:
        x: float (N,), shared by all lines.
        rows: float (C, N); classes with nan alone are left out.
        names: of the classes.
        rank: float (C,): the classes with the lowest values are the worst; nan is left out.
        xlabel, ylabel: both axes go from 0 to 1.

    Returns:
        SVG.
    """
    there = np.flatnonzero(np.isfinite(rows).any(1) & np.isfinite(rank))
    few = len(there) <= LINES
    shown = there if few else there[np.argsort(rank[there], kind="stable")][:WORST_LINES]
    with _chart(3.3 + 0.08 * len(shown)) as chart:
        axes, lines, labels = chart.axes, [], []
        if not few:
            low, high = np.nanpercentile(rows[there], [10, 90], axis=0)
            lines.append(axes.fill_between(x, low, high, color=_COLOURS[-1], alpha=0.25, linewidth=0))
            labels.append("80 % of the classes")
        for place, number in enumerate(shown):
            lines += axes.plot(x, rows[number], color=_COLOURS[place % len(_COLOURS)])
            labels.append(_name(names[number]))
        if len(there) > 1:
            lines += axes.plot(x, np.nanmean(rows[there], axis=0), color=_INK, linewidth=2.6)
            labels.append(f"mean of {len(there)} classes")
        axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1), ylim=(0, 1.02))
        axes.grid()
        chart.figure.legend(lines, labels, loc="outside lower center", ncols=2)
    return chart.svg


def bars(values: Mapping[str, float], xlabel: str, notes: Sequence[str], limit: float | None = None) -> str:
    """Horizontal bars with their names at the left and a note behind each.

    Args:
        values: name -> length; nan draws none.
        xlabel: what the lengths are, with the unit.
        notes: one for each bar.
        limit: end of the axis; None takes what the bars need.
    """
    lengths = np.nan_to_num(np.array([*values.values()], float))
    with _chart(0.75 + 0.36 * len(values)) as chart:
        axes = chart.axes
        axes.barh([_name(name) for name in values], lengths, color=_COLOURS[0], height=0.62)
        end = limit or max(1.25 * lengths.max(initial=0), 1e-3)
        for place, (length, note) in enumerate(zip(lengths, notes)):
            right = length > 0.62 * end
            axes.text(
                length + (-0.012 if right else 0.012) * end, place, note, va="center", ha="right" if right else "left",
                fontsize=8, color="white" if right else _INK,
            )  # fmt: skip
        axes.set(xlabel=xlabel, xlim=(min(0, 1.1 * lengths.min(initial=0)), end))
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
    return chart.svg


def reliability(confidence: np.ndarray, accuracy: np.ndarray, count: np.ndarray) -> str:
    """The reliability diagram: accuracy against confidence in bins, and how many answers each bin has.

    Args:
        confidence, accuracy: float (bins,), nan in an empty bin.
        count: int (bins,).
    """
    bins, there = len(count), count > 0
    edges = np.arange(bins) / bins
    with _chart(3.6) as chart:
        axes = chart.axes
        share = count / max(count.sum(), 1)
        axes.bar(edges, share, 1 / bins, align="edge", color=_COLOURS[-1], alpha=0.35, label="share of the answers")
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=1, linestyle="--", label="confidence is accuracy")
        axes.plot(confidence[there], accuracy[there], color=_COLOURS[0], marker="o", markersize=4, label="the model")
        axes.vlines(confidence[there], confidence[there], accuracy[there], color=_COLOURS[1], label="gap", linewidth=2)
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
        axes.grid()
        chart.figure.legend(loc="outside lower center", ncols=2)
    return chart.svg
