"""The front of a comparison: published accuracy against the time of a run."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from ..pictures.plots import name_points, new_figure, picture_path, plain_ticks
from ..system.files import atomic_path
from .comparing import TITLES, Comparison

#: the beginning of a name -> the family in the legend, its colour
_FAMILIES = {
    "hardnet": ("HarDNet", "tab:blue"),
    "fchardnet": ("FC-HarDNet", "tab:blue"),
    "pelee": ("PeleeNet", "tab:green"),
    "condense": ("CondenseNetV2", "tab:red"),
}
_OTHERS = ("others", "tab:gray")
#: percentage points that the axis of accuracies shows at least: hundredths are no difference
LEAST_SPAN = 3.0


def plot_front(comparison: Comparison, path: str | Path) -> None:
    """Draws accuracy against time, a panel for each engine. A line joins the networks that none beats in both.

    Args:
        comparison: what was measured. Networks without a published accuracy are left out, and so are those whose
            accuracy is of another metric than that of most.
        path: the PNG or SVG to write.

    Raises:
        UserError: nothing was timed, no accuracy is known, the name ends in something else, or matplotlib is missing.
    """
    path = picture_path(path)
    check_drawable(comparison)
    metric, rows = _rows(comparison)
    engines = comparison.about["engines"]
    figure = new_figure(8.2 * len(engines), 5.6)
    panels = figure.subplots(1, len(engines), squeeze=False, sharey=True)[0]
    for axes, engine in zip(panels, engines):
        points = [(row["ms"][engine]["median"], row["accuracy"]["value"], row["name"]) for row in rows]
        _draw(axes, points)
        times = [time for time, _, _ in points]
        limits = (min(times) / 1.6, max(times) * 1.6)  # room for the names
        axes.set(xlabel=f"ms on {TITLES[engine]} (log scale)", xscale="log", xlim=limits)
        axes.grid(alpha=0.3, which="both")
        axes.set_ylim(*_span([value for _, value, _ in points]))
        plain_ticks(axes, times)
    panels[0].set(ylabel=f"published {metric}, %")
    about = comparison.about
    height, width = about["size"]
    threads = f"{about['threads']} thread{'s' * (about['threads'] > 1)}"
    figure.suptitle(f"{height} x {width}, batch {about['batch']}, float32, {threads}, {about['processor']}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    for axes, engine in zip(panels, engines):
        name_points(
            axes, [(row["ms"][engine]["median"], row["accuracy"]["value"], _short(row["name"])) for row in rows]
        )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower())


def check_drawable(comparison: Comparison) -> None:
    """UserError when there is nothing that a front could show."""
    if not comparison.about["rounds"]:
        raise UserError("--plot draws accuracy against time, and --rounds 0 measures none; give --rounds 3 or more")
    if not any(row["accuracy"] for row in comparison.compared):
        raise UserError("no accuracy is known here for any of these networks, so there is nothing to draw")


def _rows(comparison):
    """(the metric of most networks, the networks that have it)."""
    known = [row for row in comparison.compared if row["accuracy"]]
    metrics = [row["accuracy"]["metric"] for row in known]
    metric = max(metrics, key=metrics.count)
    return metric, [row for row in known if row["accuracy"]["metric"] == metric]


def _span(values):
    """The limits of the axis: room around the points, and `LEAST_SPAN` where the networks are nearly equal."""
    middle, height = (min(values) + max(values)) / 2, 1.2 * (max(values) - min(values))
    return middle - max(height, LEAST_SPAN) / 2, middle + max(height, LEAST_SPAN) / 2


def _draw(axes, points):
    groups: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for time, value, name in points:
        family = next((family for begin, family in _FAMILIES.items() if name.startswith(begin)), _OTHERS)
        groups.setdefault(family, []).append((time, value))
    axes.plot(*zip(*front(points)), color="black", linewidth=1, alpha=0.5, label="no other is faster and as accurate")
    for (family, colour), found in groups.items():
        axes.plot(*zip(*found), color=colour, marker="o", linewidth=0, label=family)


def front(points: list[tuple[float, float, str]]) -> list[tuple[float, float]]:
    """The points (time, accuracy) that no other point beats: none is as fast and more accurate, or faster and as
    accurate; sorted by time.
    """
    kept: list[tuple[float, float]] = []
    for time, value, _ in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or value > kept[-1][1]:
            kept.append((time, value))
    return kept


def _short(name):
    """The name without the library and without options."""
    return name.rpartition(":")[2].partition(",")[0]
