"""What a data set holds, counted: pictures, objects, sizes; and the plots of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..pictures.plots import new_figure, png_path
from ..pictures.reading import read_header
from ..system.files import atomic_path
from .annotations import Annotations
from .own import DataSet, objects_per_class, pictures_of

_QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)
#: label pictures that are read to count pixels, spread evenly over a part
LABELS_READ = 200


def count(data: DataSet) -> dict[str, Any]:
    """Counts a data set.

    Returns:
        task, format, classes, and parts: {part: {pictures, sizes: quantiles of width and height, and for boxes objects,
        per class, per picture, longer side in pixels, width over height; for label pictures the share of pixels per
        class; for class folders pictures per class}}.
    """
    return {
        "task": data.task,
        "format": data.source.format,
        "division": data.division,
        "classes": list(data.classes),
        "parts": {part: _part(data, content) for part, content in data.parts.items()},
    }


def _part(data, content):
    names = pictures_of(content)
    sizes = np.array([_size(data, content, i, name) for i, name in enumerate(names)], float)
    row = {"pictures": len(names), "width": _spread(sizes[:, 0]), "height": _spread(sizes[:, 1])}
    if isinstance(content, Annotations):
        per_picture = np.bincount(content.picture, minlength=len(names))
        boxes = content.boxes
        row |= {
            "objects": len(content),
            "per_class": dict(zip(data.classes, objects_per_class(content, len(data.classes)).tolist())),
            "per_picture": _spread(per_picture), "longer_side": _spread(boxes[:, 2:].max(1)),
            "aspect_ratio": _spread(boxes[:, 2] / boxes[:, 3]),
        }  # fmt: skip
    elif hasattr(content, "labels"):
        row["per_class"] = dict(zip(data.classes, objects_per_class(content, len(data.classes)).tolist()))
    else:
        row["pixels_per_class"] = dict(zip(data.classes, _shares(data, content).round(5).tolist()))
    return row


def _size(data, content, place, name):
    if isinstance(content, Annotations):
        return content.pictures[place].width, content.pictures[place].height
    return read_header(data.source.root / name).shown


def _spread(values):
    """Least, 10 %, median, 90 % and largest."""
    return [round(float(value), 3) for value in np.quantile(values, _QUANTILES)] if len(values) else []


def _shares(data, content):
    """The share of the pixels that count for each class."""
    pairs = content.pairs
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), LABELS_READ)).round().astype(int))
    total = np.zeros(256, np.int64)
    for place in chosen:
        total += np.bincount(content.numbers(data.source.root / pairs[place][1]).ravel(), minlength=256)
    own = total[: len(data.classes)]
    return own / max(1, own.sum())


def describe(counted: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of what `count` returns."""
    lines = []
    for part, row in counted["parts"].items():
        lines.append(
            f"{part}: {row['pictures']} pictures, {_range(row['width'])} pixels wide, {_range(row['height'])} high"
        )
        if "objects" in row:
            lines.append(
                f"  {row['objects']} boxes, {_range(row['per_picture'])} a picture, longer side "
                f"{_range(row['longer_side'])} pixels, width / height {_range(row['aspect_ratio'])}"
            )
        for key, form in (("per_class", "{:d}"), ("pixels_per_class", "{:.2%}")):
            if key in row:
                lines.append("  " + ", ".join(f"{name} {form.format(value)}" for name, value in row[key].items()))
    return lines


def _range(spread):
    """ "3 to 9 (median 5)" of what `_spread` returns."""
    return f"{spread[0]:g} to {spread[-1]:g} (median {spread[2]:g})" if spread else "none"


def plot(data: DataSet, path: str | Path) -> None:
    """Draws sizes, aspect ratios, objects per picture and classes per part, as far as the task has them.

    Args:
        data: the data set.
        path: the PNG to write.
    """
    path = png_path(path)
    boxes = data.task == "detection"
    figure = new_figure(13 if boxes else 7, (8 if boxes else 4.5) + max(0, len(data.classes) - 20) * 0.1)
    axes = figure.subplots(2, 2).ravel() if boxes else [figure.subplots(1, 1)]
    if boxes:
        _plot_boxes(axes, data)
    _plot_classes(axes[-1], data)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _plot_boxes(axes, data):
    for place, (part, content) in enumerate(data.parts.items()):
        width, height = np.maximum(content.boxes[:, 2:], 1e-3).T
        axes[0].scatter(width, height, s=8, alpha=0.4, label=part, color=f"C{place}")
        axes[1].hist(np.log2(width / height), bins=30, alpha=0.5, label=part, color=f"C{place}", density=True)
        per_picture = np.bincount(content.picture, minlength=len(content.pictures))
        axes[2].hist(
            per_picture, bins=np.arange(min(per_picture.max(), 60) + 2) - 0.5, alpha=0.5, label=part, color=f"C{place}",
            density=True,
        )  # fmt: skip
    axes[0].set(title="Size of boxes", xlabel="width, pixels", ylabel="height, pixels")
    axes[1].set(title="Shape of boxes", xlabel="log2(width / height): -1 is twice as high as wide", ylabel="density")
    axes[2].set(title="Objects per picture", xlabel="objects", ylabel="share of the pictures")
    for one in axes[:3]:
        one.grid(alpha=0.3)
        one.legend()


def _plot_classes(axes, data):
    counted = count(data)["parts"]
    key = "pixels_per_class" if data.task == "segmentation" else "per_class"
    what = {"detection": "boxes", "segmentation": "share of the pixels", "classification": "pictures"}[data.task]
    height = 0.8 / len(counted)
    for place, (part, row) in enumerate(counted.items()):
        values = [row[key][name] for name in data.classes]
        axes.barh(np.arange(len(values)) + place * height, values, height, label=part, color=f"C{place}")
    shown = [name if len(name) <= 24 else f"{name[:23]}…" for name in data.classes]
    axes.set_yticks(np.arange(len(shown)) + 0.4 - height / 2, shown, fontsize=8 if len(shown) <= 30 else 5)
    axes.invert_yaxis()
    axes.set(title="Classes in each part", xlabel=what)
    if data.task != "segmentation" and max(max(row[key].values()) for row in counted.values()) > 50 * max(
        1, min(min(row[key].values()) for row in counted.values())
    ):
        axes.set_xscale("symlog")
    axes.grid(alpha=0.3, axis="x")
    axes.legend()
