"""Tables of what networks cost: on the terminal, as JSON and as CSV."""

import csv
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..system.files import atomic_path
from .results import FIGURES, Profile

_WIDTH = 400  # columns if the output is no terminal: more than any table needs
# of FIGURES, in the same order
_HEADINGS = ("parameters", "MMACs", "CIO, M", "MoC", "MB activations", "MB weights", "FLOP/byte")


def print_layers(profile: Profile) -> None:
    """Print a line for each layer, then the totals. Memory-bound layers are coloured and marked."""
    table = _table(profile.name, ("layer", "", "output", *_HEADINGS, ""), left=3)
    for layer in profile.layers:
        bound = profile.is_memory_bound(layer)
        calls = f" x{layer.calls}" if layer.calls > 1 else ""
        output = "x".join(map(str, layer.output_shape[1:]))
        cells = (layer.name, layer.kind + calls, output, *_cells(layer), "memory" if bound else "")
        table.add_row(*cells, style="yellow" if bound else None)
    table.add_section()
    table.add_row("all", "", "", *_cells(profile), f"{len(profile.memory_bound)}", style="bold")
    _print(table)
    shape = "x".join(map(str, profile.input_shape))
    print(
        f"input {shape}, {profile.precision}; memory: below {profile.balance:g} FLOP per byte; "
        f"{profile.other_parameters:,} of the parameters are in layers that are not counted, such as batch norms"
    )


def print_models(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a line for each network of `profile_all`."""
    headings = ("model", "published top-1, %", *_HEADINGS, "memory-bound layers")
    table = _table("one image of {2}x{3}".format(*rows[0]["input_shape"]), headings, left=1)
    for row in rows:
        bound = f"{row['memory_bound']} of {row['layers']}"
        table.add_row(row["name"], f"{row['top1']:.2f}", *_cells(row), bound)
    _print(table)
    print("Top-1 is what the publishers of the weights claim for them: " + ", ".join(row["weights"] for row in rows))


def save_models_json(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Write the rows of `profile_all` to a file. UserError if it cannot be written."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(rows, indent=1) + "\n")


def save_models_csv(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Write a line for each network of `profile_all`. UserError if the file cannot be written."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "input_shape": "x".join(map(str, row["input_shape"]))})


def _table(title, headings, left):
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, heading in enumerate(headings):
        wide = index == 0  # a long name wraps into the next line
        table.add_column(heading, justify="left" if index < left else "right", no_wrap=not wide, overflow="fold")
    return table


def _cells(costs):
    """The figures of a layer, a profile or a row, as text."""
    get = costs.get if isinstance(costs, dict) else lambda key: getattr(costs, key)
    parameters, macs, cio, moc, activations, weights, intensity = map(get, FIGURES)
    return (
        f"{parameters:,}", f"{macs / 1e6:,.2f}", f"{cio / 1e6:,.3f}" if cio else "", f"{moc:,.1f}" if moc else "",
        f"{activations / 1e6:,.2f}", f"{weights / 1e6:,.2f}", f"{intensity:,.1f}",
    )  # fmt: skip


def _print(table):
    from rich.console import Console

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    Console(file=sys.stdout, width=width, highlight=False).print(table)
