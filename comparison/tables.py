"""A comparison as a table: printed, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..system.files import atomic_path
from .comparing import TITLES, Comparison

UNKNOWN = "not known here"
#: metric -> the (height, width) of pictures that goes without saying
_USUAL = {"top-1": (224, 224), "Cityscapes mIoU": (1024, 2048)}


def print_comparison(comparison: Comparison) -> None:
    """Prints the table, and below it what it was measured on."""
    from rich.console import Console
    from rich.table import Table

    table = Table(header_style="bold", box=None, pad_edge=False)
    for heading in _headings(comparison):
        table.add_column(heading, justify="left" if heading == "network" else "right", overflow="fold")
    for row in comparison.compared:
        table.add_row(*_cells(row, comparison))
    console = Console(highlight=False)
    Console(width=max(console.width, 160) if not console.is_terminal else None, highlight=False).print(table)
    print("\n".join(notes(comparison)))


def markdown(comparison: Comparison, link: Callable[[str], str] = str) -> str:
    """The table as Markdown.

    Args:
        comparison: what was measured.
        link: turns a network's name into what stands in the first column.
    """
    headings = _headings(comparison)
    lines = ["| " + " | ".join(headings) + " |", "| --- |" + " ---: |" * (len(headings) - 1)]
    for row in comparison.compared:
        name, *cells = _cells(row, comparison, with_links=True)
        lines.append("| " + " | ".join([link(name), *cells]) + " |")
    return "\n".join(lines) + "\n"


def notes(comparison: Comparison) -> list[str]:
    """Lines that belong below the table: what it was measured on, and what was left out."""
    about = comparison.about
    height, width = about["size"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines = [
        f"{about['date']}, {about['processor'] or 'unknown processor'}, {about['threads']} of {about['cpus']} CPUs; "
        f"{versions}",
        f"{height} x {width} pixels, batch {about['batch']}, float32, random weights; parameters, MACs and CIO are of "
        "one picture, counted on the ONNX graph; top-1 and mIoU are published, not measured here",
    ]
    if about["rounds"]:
        lines.append(f"ms: median of {about['rounds']} turns, all networks in one run, forwards and backwards")
        if (load := about.get("load", 0)) > 1.5 * about["threads"]:
            lines.append(f"other programs ran too (load average {load}): trust the ratios rather than the ms")
    lines += [
        f"{row['name']}, accuracy: {row['accuracy']['note']}"
        for row in comparison.compared
        if row["accuracy"] and row["accuracy"]["note"]
    ]
    lines += [f"left out: {row['name']}: {row['failed']}" for row in comparison.rows if "failed" in row]
    lines += [
        f"{row['name']}: the outputs of its file were not compared with its library's: no finite numbers"
        for row in comparison.compared
        if not row["checked"] and row["source"] != "onnx"
    ]
    return lines


def save_markdown(comparison: Comparison, path: str | Path) -> None:
    """Writes table and notes. UserError if the file cannot be written."""
    with atomic_path(path) as temporary:
        lines = "\n".join(f"- {line}" for line in notes(comparison))
        temporary.write_text(f"{markdown(comparison)}\n{lines}\n", encoding="utf-8")


def save_json(comparison: Comparison, path: str | Path) -> None:
    """Writes all that is known. UserError if the file cannot be written."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(asdict(comparison), indent=1) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Comparison:
    """What `save_json` wrote."""
    return Comparison(**json.loads(Path(path).read_text(encoding="utf-8")))


def save_csv(comparison: Comparison, path: str | Path) -> None:
    """Writes a line for each network. UserError if the file cannot be written."""
    engines = comparison.about["engines"] if comparison.about["rounds"] else []
    times = [f"{engine}_{key}" for engine in engines for key in ("median_ms", "least_ms", "ratio")]
    plain = ["name", "source", "parameters", "macs", "cio", "moc"]
    published = ["accuracy", "metric", "accuracy_source", "accuracy_size", "accuracy_note"]
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*plain, *published, *times, "failed"], restval="", extrasaction="ignore")
        writer.writeheader()
        for row in comparison.rows:
            writer.writerow({**row, **_flat_accuracy(row.get("accuracy")), **_flat_times(row.get("ms", {}))})


def _flat_accuracy(accuracy):
    if not accuracy:
        return {"accuracy": ""}
    return {
        "accuracy": accuracy["value"],
        "metric": accuracy["metric"],
        "accuracy_source": accuracy["source"],
        "accuracy_size": "x".join(map(str, accuracy["size"])),
        "accuracy_note": accuracy["note"],
    }


def _flat_times(times):
    return {
        f"{engine}_{key}": f"{found[name]:.4g}"
        for engine, found in times.items()
        for name, key in (("median", "median_ms"), ("least", "least_ms"), ("ratio", "ratio"))
    }


def _headings(comparison):
    timed = comparison.about["engines"] if comparison.about["rounds"] else []
    first = comparison.compared[0]["name"]
    times = [heading for name in timed for heading in (f"ms, {TITLES[name]}", f"x {first}")]
    return ["network", "parameters", "MMACs", "CIO, M", "published, %", *times]


def _cells(row: dict[str, Any], comparison: Comparison, with_links: bool = False) -> list[str]:
    """The figures of a network as text."""
    cells = [
        row["name"],
        f"{row['parameters']:,}",
        f"{row['macs'] / 1e6:,.1f}",
        f"{row['cio'] / 1e6:,.2f}",
        accuracy_cell(row["accuracy"], with_links),
    ]
    for engine in comparison.about["engines"] if comparison.about["rounds"] else ():
        found = row["ms"][engine]
        cells += [f"{found['median']:.1f}", f"{found['ratio']:.2f}"]
    return cells


def accuracy_cell(accuracy: dict[str, Any] | None, with_link: bool) -> str:
    """A published accuracy as text: "76.48", "80.06 at 256 x 256" or "77.04 mIoU"; UNKNOWN without one."""
    if not accuracy:
        return UNKNOWN
    text = f"{accuracy['value']:.2f}"
    if with_link and accuracy["source"].startswith("https://"):
        text = f"[{text}]({accuracy['source']})"
    if accuracy["metric"] != "top-1":
        text += f" {accuracy['metric'].rpartition(' ')[2]}"
    if tuple(accuracy["size"]) != _USUAL[accuracy["metric"]]:
        text += " at {} x {}".format(*accuracy["size"])
    return text
