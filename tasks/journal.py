"""What a prediction has found, kept on the disk while it runs, so that a killed run goes on where it was.

FILE.part holds a line for each row, and behind the rows of a picture, or of a batch, a line that names the pictures:

    # {"key": ...}                        what the results depend on; another run with the same goes on
    {"image_id": 1, ...}
    # [[0, 1, [1234, 17000...], 1]]       picture 0: one row, the stamp of its file, what was counted

Rows without such a line behind them are of a picture that was not finished; they are cut off.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import UserError
from ..system.files import atomic_path

Row = Mapping[str, Any]
_encode = json.JSONEncoder(ensure_ascii=False).encode


def key_of(**facts: Any) -> str:
    """A digest of what results depend on: settings, the model, the names of the pictures."""
    text = json.dumps([__version__, facts], sort_keys=True, default=repr)
    return hashlib.sha256(re.sub(r" at 0x[0-9a-f]+", "", text).encode()).hexdigest()


def key_in(part: Path) -> str:
    """The key of the journal in a file; "" where it holds none."""
    try:
        with open(part, "rb") as stream:
            return str(json.loads(stream.readline()[1:])["key"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def stamp_of(path: str | Path) -> list[int]:
    """[bytes, time of the last change in ns] of a file; zeros where it is not there."""
    try:
        found = Path(path).stat()
    except OSError:
        return [0, 0]
    return [found.st_size, found.st_mtime_ns]


class Journal:
    """The results of pictures, or of a video's frames, by their numbers. One thread uses it.

    Args:
        file: what is written at the end, such as predictions.json; FILE.part is the journal.
        key: of `key_of`. A journal of another key is begun anew.
        stamp: number -> the stamp of that picture's file. A picture that has changed since counts as not done.
        what: "pictures" or "frames", for the note on a journal that is taken up.

    Attributes:
        images: how many pictures are done.
        counted: the sum of what `add` was told to count, such as drawn boxes.
        resumed: how many pictures an earlier run had done.
        result: what `finish` was told when all was done; None before.
    """

    def __init__(
        self, file: str | Path, key: str, stamp: Callable[[int], Any] = lambda _: None, what: str = "pictures"
    ):
        self.file, self.part = Path(file), Path(f"{file}.part")
        self.images = self.counted = self.resumed = 0
        self.result: Any = None
        self._stamp = stamp
        self._starts, self._ends, self._rows = array("q"), array("q"), array("q")
        try:
            self._stream = open(self.part, "a+b")  # noqa: SIM115 - `close` closes it
        except OSError as error:
            raise UserError(
                f"cannot write {self.part} ({error.strerror or error}); give another folder to write to"
            ) from error
        header = f"# {json.dumps({'key': key})}\n".encode()
        self._stream.seek(0)
        known = self._stream.readline() == header
        if not known and self.part.stat().st_size:
            print(f"note: {self.part} is of a run with other settings or pictures; begun anew", file=sys.stderr)
        self._stream.truncate(self._read() if known else 0)
        self._stream.seek(0, 2)
        if not known:
            self._write(header)
        self.resumed = self.images
        if self.resumed:
            print(f"note: {self.resumed} {what} were done before and are not done again", file=sys.stderr)

    def _read(self):
        """Takes up what is there; returns where the last finished picture ends."""
        whole = self._stream.tell()
        lines, place = [whole], whole
        for line in self._stream:
            place += len(line)
            if not line.startswith(b"#"):
                lines.append(place)
                continue
            try:
                entries = json.loads(line[1:])
                if isinstance(entries, dict):
                    self.result, whole = entries["result"], place
                    continue
                if sum(count for _, count, _, _ in entries) != len(lines) - 1:
                    break
            except (ValueError, TypeError, KeyError):  # cut off in the middle
                break
            first = 0
            for number, count, stamp, counted in entries:
                if self._stamp(number) == stamp:
                    self._note(number, lines[first], lines[first + count], counted, count)
                first += count
            whole, lines = place, [place]
        return whole

    def __contains__(self, number: int) -> bool:
        return number < len(self._starts) and self._starts[number] >= 0

    def _note(self, number, start, end, counted, rows):
        while len(self._starts) <= number:
            self._starts.append(-1)
            self._ends.append(-1)
            self._rows.append(0)
        self.images += self._starts[number] < 0
        self._starts[number], self._ends[number], self._rows[number] = start, end, rows
        self.counted += counted

    def _write(self, data):
        self._stream.write(data)
        self._stream.flush()  # to the system: it outlives this process

    def add(self, entries: Iterable[tuple[int, Sequence[Row], int]]) -> None:
        """Writes the results of a picture, or of several that were computed together and count as done together.

        Args:
            entries: (number, rows, what to count) of each.
        """
        texts: list[bytes] = []
        spans, marks, place = [], [], self._stream.tell()
        for number, rows, counted in entries:
            # a file name that is not UTF-8 becomes JSON escapes
            text = "".join(f"{_encode(row)}\n" for row in rows).encode("utf-8", "backslashreplace")
            texts.append(text)
            end = place + len(text)
            spans.append((number, place, end, counted, len(rows)))
            marks.append([number, len(rows), self._stamp(number), counted])
            place = end
        self._write(b"".join([*texts, f"# {json.dumps(marks)}\n".encode()]))
        for span in spans:
            self._note(*span)

    def rows_of(self, number: int) -> list[dict[str, Any]]:
        """The rows of a picture that is done."""
        with open(self.part, "rb") as stream:
            stream.seek(self._starts[number])
            return [json.loads(line) for line in stream.read(self._ends[number] - self._starts[number]).splitlines()]

    def numbers(self) -> list[int]:
        """The numbers of all that is done, in order."""
        return [number for number, start in enumerate(self._starts) if start >= 0]

    def finish(self, as_list: bool = True, result: Any = True) -> int:
        """Writes the file, in the order of the numbers; returns how many rows it has.

        Args:
            as_list: a JSON list with a row in each line; else the rows alone, JSON Lines.
            result: what the attribute of this name has from now on, and in a run that takes the journal up.
        """
        count = 0
        with atomic_path(self.file) as temporary, open(self.part, "rb") as source, open(temporary, "wb") as target:
            for start, end, rows in zip(self._starts, self._ends, self._rows):
                if start < 0:
                    continue
                source.seek(start)
                data = source.read(end - start)
                if as_list and data:
                    data = (b",\n" if count else b"[\n") + data[:-1].replace(b"\n", b",\n")
                target.write(data)
                count += rows
            if as_list:
                target.write(b"\n]\n" if count else b"[]\n")
        self.result = result
        self._write(f"# {json.dumps({'result': result})}\n".encode())
        return count

    def close(self) -> None:
        """Closes the journal, and deletes it when it holds nothing. Who made it deletes it at the end of the run."""
        self._stream.close()
        if not self.images:
            self.part.unlink(missing_ok=True)
