"""Plots of what networks cost: the multiply-adds per element and per byte of each layer, and accuracy against cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..pictures.plots import name_points, new_figure, plain_ticks, png_path
from ..system.files import atomic_path
from .results import Profile

FREE, BOUND = "tab:blue", "tab:orange"
_FAMILIES = {
    "hardnet": ("HarDNet", "tab:blue"),
    "pelee": ("PeleeNet", "tab:green"),
    "condense": ("CondenseNetV2", "tab:red"),
}


def plot_layers(profile: Profile, path: str | Path) -> None:
    """Draw MoC and arithmetic intensity of every layer, in the order in which they run. Marks memory-bound layers.

    Args:
        profile: the costs of a network.
        path: the PNG to write.

    Raises:
        UserError: the path is not a PNG or cannot be written, or matplotlib is missing.
    """
    path = png_path(path)
    layers = profile.layers
    bound = [profile.is_memory_bound(layer) for layer in layers]
    colours = [BOUND if b else FREE for b in bound]
    figure = new_figure(max(7.5, min(18, 0.1 * len(layers) + 3)), 6.4)
    upper, lower = figure.subplots(2, 1, sharex=True)
    places = range(1, len(layers) + 1)
    upper.bar(places, [layer.moc or 0 for layer in layers], color=colours, width=0.85)
    upper.set(ylabel="MoC: MACs per element\nthat is read or written", yscale="log", title=_title(profile, bound))
    lower.bar(places, [layer.intensity for layer in layers], color=colours, width=0.85)
    lower.axhline(profile.balance, color="black", linewidth=1, linestyle="--")
    lower.set(
        ylabel="FLOP per byte\nof activations and weights",
        xlabel="convolutions and linear layers, in the order in which they run; at the top, the size of their output",
        yscale="log",
        xlim=(0, len(layers) + 1),
    )
    for axes in (upper, lower):
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    _mark_sizes(upper, lower, layers)
    _legend(lower, profile)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _title(profile, bound):
    _, _, height, width = profile.input_shape
    moved = profile.activation_bytes + profile.weight_bytes
    slow = sum(layer.activation_bytes + layer.weight_bytes for layer, b in zip(profile.layers, bound) if b)
    macs = sum(layer.macs for layer, b in zip(profile.layers, bound) if b)
    return (
        f"{profile.name} at {height}x{width}, batch {profile.input_shape[0]}, {profile.precision}: "
        f"{profile.macs / 1e9:.3g} GMACs, CIO {profile.cio / 1e6:.3g} M, MoC {profile.moc or 0:.3g}\n"
        f"{sum(bound)} of {len(bound)} layers are memory-bound: {100 * macs / profile.macs:.0f} % of the MACs, "
        f"{100 * slow / moved:.0f} % of the bytes"
    )


def _legend(axes, profile):
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    line = Line2D([], [], color="black", linewidth=1, linestyle="--")
    labels = [f"memory-bound: below {profile.balance:g} FLOP per byte", "not memory-bound", "balance of the machine"]
    axes.figure.legend([Patch(color=BOUND), Patch(color=FREE), line], labels, loc="outside lower center", ncols=3)


def _mark_sizes(upper, lower, layers):
    """Draw lines where the resolution changes, and write the resolution at the top."""
    spans = []  # [first, last, label], 1-based
    for place, layer in enumerate(layers, 1):
        shape = layer.output_shape
        label = f"{shape[2]}x{shape[3]}" if len(shape) == 4 else "linear"
        if spans and spans[-1][2] == label:
            spans[-1][1] = place
        else:
            spans.append([place, place, label])
    if len(spans) > 12:  # such as a detector's feature pyramid: so many lines would hide the bars
        spans = [span for span in spans if span[1] - span[0] >= len(layers) // 20]
    for first, last, label in spans:
        for axes in (upper, lower):
            for edge in (first - 0.5, last + 0.5):
                axes.axvline(edge, color="grey", linewidth=0.6, alpha=0.6)
        narrow = last - first + 1 < len(layers) / 14
        upper.annotate(
            label, ((first + last) / 2, 1), (0, -3), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="center", va="top", fontsize=8, rotation=90 if narrow else 0,
        )  # fmt: skip
    low, high = upper.get_ylim()
    upper.set_ylim(low, high * (high / low) ** 0.22)  # room for the text


def plot_models(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw published accuracy against CIO and against MACs, one point per network.

    Args:
        rows: as `profile_all` returns them, all of one input size. Needs name, top1 (in %, or None to leave the network
            out), cio, macs and input_shape.
        path: the PNG to write.

    Raises:
        UserError: no row has an accuracy, the path is not a PNG or cannot be written, or matplotlib is missing.
    """
    path = png_path(path)
    rows = [row for row in rows if row["top1"] is not None]
    if not rows:
        raise UserError("no accuracy is published for any of these networks, so there is nothing to draw it for")
    figure = new_figure(13, 5.4)
    panels = figure.subplots(1, 2, sharey=True)
    costs = (("cio", 1e6, "CIO: elements that the convolutions read and write, millions"), ("macs", 1e9, "GMACs"))
    for axes, (key, unit, label) in zip(panels, costs):
        for begin, (family, colour) in _FAMILIES.items():
            points = sorted((row[key] / unit, row["top1"]) for row in rows if row["name"].startswith(begin))
            if points:
                axes.plot(*zip(*points), color=colour, marker="o", linewidth=0, label=family)
        axes.set(xlabel=f"{label} (log scale)", xscale="log")
        axes.grid(alpha=0.3, which="both")
        axes.margins(x=0.18, y=0.1)
        plain_ticks(axes, [row[key] / unit for row in rows])
    panels[0].set(ylabel="ImageNet top-1, %, as published")
    size = "{2}x{3}".format(*rows[0]["input_shape"])
    figure.suptitle(f"Published accuracy against cost; costs of a batch of {rows[0]['input_shape'][0]} at {size}")
    panels[1].legend(loc="lower right")
    for axes, (key, unit, _) in zip(panels, costs):
        name_points(axes, [(row[key] / unit, row["top1"], row["name"]) for row in rows])
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
