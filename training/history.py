"""The record of a training run: history.jsonl with one JSON object per line, history.csv and curves.png."""

import csv
import json
from pathlib import Path
from typing import Any

from ..pictures.plots import plot_training
from ..system.files import atomic_path


class History:
    """The rows of a run, in memory and in FOLDER/history.jsonl.

    A row is a dict with "kind" ("train" or "eval"), "iteration" (number of iterations done) and values.

    Args:
        folder: of the run.
        iteration: where training continues. Rows of the file past it are dropped; 0 drops them all.
        write: whether this process writes the files. With several processes, only one does.
    """

    def __init__(self, folder: str | Path, iteration: int, write: bool = True) -> None:
        self.file = Path(folder) / "history.jsonl"
        self.rows = [row for row in read_history(self.file) if row["iteration"] <= iteration]
        self.write = write
        if write and self.file.exists():
            with atomic_path(self.file) as temporary:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def add(self, row: dict[str, Any]) -> None:
        """Appends a row, in memory and in the file."""
        self.rows.append(row)
        if self.write:
            with open(self.file, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")

    def draw(self) -> None:
        """Writes history.csv and curves.png beside history.jsonl, once there is a row."""
        if self.write and self.rows:
            columns = dict.fromkeys(key for row in self.rows for key in row)
            with atomic_path(self.file.with_suffix(".csv")) as temporary, open(temporary, "w", newline="") as stream:
                table = csv.DictWriter(stream, columns)
                table.writeheader()
                table.writerows(self.rows)
            plot_training(self.rows, self.file.with_name("curves.png"))


def read_history(file: Path) -> list[dict[str, Any]]:
    """The rows of a history.jsonl. A missing file has none; a last line that a kill cut short is dropped."""
    if not file.is_file():
        return []
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
