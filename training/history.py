"""What a training run keeps of itself: history.jsonl, one JSON object a line, history.csv and curves.png."""

import csv
import json
from pathlib import Path

from ..pictures.plots import plot_training
from ..system.files import atomic_path


class History:
    """The rows of a run, in memory and in FOLDER/history.jsonl.

    A row is a dict with "kind" ("train" or "eval"), "iteration" (done, counted from 0 at the start) and values.

    Args:
        folder (Path): of the run.
        iteration (int): where training goes on; rows of the file past it are dropped, 0 drops them all.
        write (bool): whether this process keeps the file; with several processes, one does. Default True.
    """

    def __init__(self, folder, iteration, write=True):
        self.file = Path(folder) / "history.jsonl"
        self.rows = [row for row in read_history(self.file) if row["iteration"] <= iteration]
        self.write = write
        if write and self.file.exists():
            with atomic_path(self.file) as temporary:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def add(self, row):
        """Appends a row."""
        self.rows.append(row)
        if self.write:
            with open(self.file, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")

    def draw(self):
        """Writes history.csv and draws curves.png beside the file, when there is a row."""
        if self.write and self.rows:
            columns = dict.fromkeys(key for row in self.rows for key in row)
            with atomic_path(self.file.with_suffix(".csv")) as temporary, open(temporary, "w", newline="") as stream:
                table = csv.DictWriter(stream, columns)
                table.writeheader()
                table.writerows(self.rows)
            plot_training(self.rows, self.file.with_name("curves.png"))


def read_history(file):
    """The rows of a history.jsonl; a last line that a kill cut short does not count, nor a file that is not there."""
    if not file.is_file():
        return []
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
