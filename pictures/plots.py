"""Matplotlib plots: the curves of a training run, and helpers that other plots share."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UserError
from ..system.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Where a label may stand around its point, best first: (right, up) in points, horizontal and vertical alignment.
_PLACES = (
    (7, 0, "left", "center"), (-7, 0, "right", "center"), (0, 7, "center", "bottom"), (0, -7, "center", "top"),
    (6, 6, "left", "bottom"), (-6, 6, "right", "bottom"), (6, -6, "left", "top"), (-6, -6, "right", "top"),
    (0, 22, "center", "bottom"), (0, -22, "center", "top"), (20, 0, "left", "center"), (-20, 0, "right", "center"),
)  # fmt: skip


def png_path(path: str | Path) -> Path:
    """The path as a Path. UserError unless its name ends in .png."""
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"{path}: the picture is written as PNG; give a name that ends in .png")
    return Path(path)


def picture_path(path: str | Path) -> Path:
    """The path as a Path. UserError unless its name ends in .png or .svg."""
    if Path(path).suffix.lower() not in (".png", ".svg"):
        raise UserError(f"{path}: the picture is written as PNG or SVG; give a name that ends in .png or .svg")
    return Path(path)


def _column(rows, key):
    """Iterations and values of the rows that have `key`: two float arrays, sorted by iteration."""
    pairs = sorted((row["iteration"], row[key]) for row in rows if row.get(key) is not None)
    pairs = np.array(pairs, dtype=float).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _smooth(values):
    """Centred moving average over about a twentieth of the values. Skips values that are not finite."""
    reach = max(1, len(values) // 40)
    finite = np.isfinite(values)
    sums = np.concatenate([[0], np.cumsum(np.where(finite, values, 0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    first = np.maximum(np.arange(len(values)) - reach, 0)
    last = np.minimum(np.arange(len(values)) + reach + 1, len(values))
    count = counts[last] - counts[first]
    return np.where(count > 0, (sums[last] - sums[first]) / np.maximum(count, 1), np.nan)


def _plot_losses(axes, rows):
    """Plot the total loss, raw and smoothed, and its parts, smoothed."""
    steps, values = _column(rows, "loss")
    marker = "o" if len(values) == 1 else None
    axes.plot(steps, values, color="tab:blue", alpha=0.25, linewidth=1)
    axes.plot(steps, _smooth(values), color="tab:blue", linewidth=2, marker=marker, label="loss")
    parts = sorted({key for row in rows for key in row if "loss" in key and key != "loss"})
    for index, key in enumerate(parts):
        steps, values = _column(rows, key)
        axes.plot(steps, _smooth(values), color=f"C{index + 2}", linewidth=1, marker=marker, label=key)
    axes.set(title="Training loss (thick line: moving average)", xlabel="iteration", ylabel="loss")


# key of an evaluation row -> colour, name in the legend, name of the metric in the title
_SCORES = {
    "AP50": ("tab:orange", "mAP @ 0.5", "mAP"),
    "AP": ("tab:red", "mAP @ 0.5:0.95", "mAP"),
    "mIoU": ("tab:green", "mIoU", "mIoU"),
    "top5": ("tab:cyan", "top-5", "accuracy"),
    "top1": ("tab:purple", "top-1", "accuracy"),
}


def _plot_scores(axes, rows):
    """Plot the scores of every evaluation, with the best of each in the title."""
    best, kinds = [], {}
    for key, (colour, label, kind) in _SCORES.items():
        steps, values = _column(rows, key)
        if len(values):
            axes.plot(steps, values, color=colour, marker="o", markersize=4, label=label)
            kinds[kind] = True
        if np.isfinite(values).any():
            best.append(f"{label} {np.nanmax(values):.3f}")
    name = " and ".join(kinds) or "score"
    title = f"Validation {name}" + (f" (best: {', '.join(best)})" if best else "")
    axes.set(title=title, xlabel="iteration", ylabel=name, ylim=(0, 1.02))


def check_curves() -> None:
    """UserError when matplotlib is missing. Call it before hours of training rather than after."""
    new_figure(1, 1)


def new_figure(width: float, height: float) -> "Figure":
    """A matplotlib figure, size in inches, that needs no display. UserError when matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("drawing curves needs matplotlib; run: pip install matplotlib") from error
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plot_training(history: Iterable[Mapping[str, Any]], path: str | Path) -> None:
    """Draw the curves of a training run: the loss, and mAP, mIoU or accuracy if there were evaluations.

    Args:
        history: rows in any order. {"kind": "train", "iteration": int, "loss": float, ...}: further keys with
            "loss" in their name become thin lines. {"kind": "eval", "iteration": int, "AP": float, "AP50": float},
            or with "mIoU", or with "top1" and "top5", all 0..1. Other keys are ignored, and so are values that are
            missing or not finite.
        path: the PNG to write.

    Raises:
        UserError: nothing to draw, a row without iteration, or a path that is not a PNG or cannot be written.
    """
    path = png_path(path)
    rows = list(history)
    train = [row for row in rows if row.get("kind") == "train" and row.get("loss") is not None]
    evals = [row for row in rows if row.get("kind") == "eval"]
    if not train and not evals:
        raise UserError("the history holds no row of kind 'train' with a loss or 'eval'; train first")
    if any("iteration" not in row for row in train + evals):
        raise UserError("a row of the history has no 'iteration'; every row needs one")
    panels = [(_plot_losses, train)] * bool(train) + [(_plot_scores, evals)] * bool(evals)
    figure = new_figure(6.5 * len(panels), 4.2)
    for axes, (plot, chosen) in zip(figure.subplots(1, len(panels), squeeze=False, sharex=True)[0], panels):
        plot(axes, chosen)
        axes.grid(alpha=0.3)
        axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def plain_ticks(axes: Any, values: Iterable[float]) -> None:
    """Label a logarithmic axis with plain numbers: 1, 2, 5, 10, ..."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = min(values) / 1.8, max(values) * 1.8
    ticks = [digit * 10.0**power for power in range(-3, 5) for digit in (1, 2, 5)]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def name_points(axes: Any, points: Sequence[tuple[float, float, str]]) -> None:
    """Write the name of each point (x, y, name) beside it, where it covers no other name or point."""
    from matplotlib.transforms import Bbox

    figure = axes.figure
    figure.draw_without_rendering()  # settles the layout, so that places can be measured
    figure.set_layout_engine("none")

    corners = [axes.transData.transform((x, y)) - 5 for x, y, _ in points]
    marks = [Bbox.from_bounds(left, low, 10, 10) for left, low in corners]
    taken = list(marks)
    for (x, y, name), own in zip(points, marks):
        for right, up, horizontal, vertical in _PLACES:
            text = axes.annotate(
                name, (x, y), (right, up), textcoords="offset points", ha=horizontal, va=vertical, fontsize=9
            )
            box = text.get_window_extent().padded(3)
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            if inside and not any(box.overlaps(other) for other in taken if other is not own):
                break
            text.remove()
        else:  # no free place: above the point, over its neighbours
            text = axes.annotate(name, (x, y), (0, 7), textcoords="offset points", ha="center", fontsize=9)
        taken.append(text.get_window_extent())
