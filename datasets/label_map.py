"""What the values and colours of a user's label pictures mean: classes, or pixels that do not count.

A map is what a configuration says under `label_map`: {value or colour: class or "ignore"}, or the name of a file that
lists them. Values that it does not name keep their number; colours that it does not name are refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..pictures.reading import open_picture, whole_pictures
from .lists import read_text
from .masks import FORMATS, damaged, read_mask
from .report import few

IGNORED_NAMES = ("ignore", "ignored", "void", "unlabeled", "unlabelled", "unknown", "dontcare", "don't care")
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Entry:
    """A line of a class table.

    Attributes:
        name: the class.
        key: its value or colour in the label pictures; None where the table has names alone.
        ignored: whether its pixels do not count.
    """

    name: str
    key: int | Colour | None
    ignored: bool = False


class LabelMap:
    """Classes by values or colours.

    Args:
        entries: value 0..255 or colour -> class number, or None for pixels that do not count.
        ignore_index: the number of pixels that do not count.

    Raises:
        UserError: values and colours are mixed, or there are none.
    """

    def __init__(self, entries: Mapping[int | Colour, int | None], ignore_index: int):
        kinds = {isinstance(key, tuple) for key in entries}
        if len(kinds) != 1:
            raise UserError(
                "label_map mixes values and colours, or is empty; give values of 0 to 255, or colours, alone"
            )
        self.entries, self.ignore_index, self.of_colours = dict(entries), ignore_index, kinds.pop()
        numbers = [ignore_index if value is None else value for value in self.entries.values()]
        if self.of_colours:
            codes = np.array([code_of(np.array(key)) for key in self.entries], np.int64)
            order = np.argsort(codes)
            self._codes, self._numbers = codes[order], np.array(numbers, np.uint8)[order]
        else:
            self._table = np.arange(256, dtype=np.uint8)
            self._table[list(self.entries)] = numbers

    def read(self, path: str | Path) -> np.ndarray:
        """Reads a label picture.

        Args:
            path: a picture that is stored without loss. With colours in the map, those of a palette count; with values,
                its indices.

        Returns:
            uint8 (H, W) of class numbers and ignore_index.

        Raises:
            UserError: the file is damaged; it has a colour that the map does not name.
        """
        return self.numbers(read_colours(path), path) if self.of_colours else self._table[read_mask(path)]

    def numbers(self, colours: np.ndarray, path: str | Path) -> np.ndarray:
        """uint8 (H, W, 3) of colours -> class numbers; `path` is for messages."""
        codes = code_of(colours)
        places = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        unknown = self._codes[places] != codes
        if unknown.any():
            values, counts = np.unique(codes[unknown], return_counts=True)
            worst = int(values[counts.argmax()])
            known = few([spelled(key) for key in self.entries])
            raise UserError(
                f"{path} has the colour #{worst:06x} in {counts.max()} pixels "
                f"({len(values)} such colours), which label_map does not name; it names {known}"
            )
        return self._numbers[places]

    def write_back(self, numbers: np.ndarray) -> np.ndarray:
        """Class numbers as the user has them: uint8 (H, W) of values, or (H, W, 3) of colours.

        A class with several values gets the first that the map names; one that the map does not name keeps its number.
        """
        back: dict[int, Any] = {}
        for key, number in self.entries.items():
            back.setdefault(self.ignore_index if number is None else number, key)
        if self.of_colours:
            colours = np.zeros((256, 3), np.uint8)
            for number, key in back.items():
                colours[number] = key
            return colours[numbers]
        table = np.arange(256, dtype=np.uint8)
        table[list(back)] = list(back.values())
        return table[numbers]

    def as_settings(self, names: Sequence[str] | None = None) -> dict[Any, Any]:
        """What a configuration says for this map; classes by name where names are given."""
        return {
            spelled(key): "ignore" if number is None else names[number] if names else number
            for key, number in self.entries.items()
        }


def code_of(colours: np.ndarray) -> np.ndarray:
    """Colours, uint8 (..., 3), as whole numbers of 24 bits (...)."""
    parts = colours.astype(np.int64)
    return parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2]


def spelled(key: int | Colour) -> int | str:
    """A value as it is, a colour as "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*key) if isinstance(key, tuple) else key


def read_colours(path: str | Path) -> np.ndarray:
    """A label picture's colours, uint8 (H, W, 3); a palette is looked up. UserError when it is damaged or lossy."""
    try:
        with whole_pictures(), open_picture(path) as picture:
            kind, colours = picture.format, np.asarray(picture.convert("RGB"))
    except Exception as error:  # Pillow reports damaged data in many ways
        raise damaged(path, error) from error
    if kind not in FORMATS:
        raise UserError(f"{path} is a {kind}; labels must be stored without loss: PNG")
    return colours


def parse(settings: Any, names: Sequence[str] | None, ignore_index: int, folder: Path) -> LabelMap:
    """The map that a configuration describes.

    Args:
        settings: {value or colour: class number, class name or "ignore"}, or a file, see `read_table`. A colour is
            "#rrggbb", "r,g,b" or [r, g, b].
        names: the class names, in the order of their numbers; None allows numbers alone.
        ignore_index: the number of pixels that do not count.
        folder: a file's name is relative to it.

    Raises:
        UserError: a key or a class that is none.
    """
    if isinstance(settings, str):
        table = read_table(folder / Path(settings).expanduser())
        wanted = {name: place for place, name in enumerate(names)} if names else numbers_of(table)
        missing = [entry.name for entry in table if not entry.ignored and entry.name not in wanted]
        if missing:
            raise UserError(f"label_map {settings} has the class {missing[0]!r}; class_names are {few(names or ())}")
        if any(entry.key is None for entry in table):
            raise UserError(
                f"label_map {settings} has no values and no colours; give NAME,R,G,B or VALUE,NAME in each line"
            )
        return LabelMap(
            {e.key: None if e.ignored else wanted[e.name] for e in table if e.key is not None}, ignore_index
        )
    if not isinstance(settings, Mapping):
        raise UserError(f"label_map is {settings!r}; {{value or colour: class}} is expected, or the name of a CSV file")
    return LabelMap(
        {_key(key): _number(value, names, ignore_index, key) for key, value in settings.items()}, ignore_index
    )


def _key(given):
    if isinstance(given, bool):
        given = None
    if isinstance(given, int) and 0 <= given <= 255:
        return given
    if isinstance(given, (list, tuple)) and len(given) == 3 and all(type(v) is int and 0 <= v <= 255 for v in given):
        return tuple(given)
    if isinstance(given, str):
        if found := re.fullmatch(r"#?([0-9a-fA-F]{6})", given.strip()):
            return tuple(bytes.fromhex(found[1]))
        words = re.split(r"[\s,;]+", given.strip("[]() "))
        if len(words) in (1, 3) and all(word.isdecimal() and int(word) <= 255 for word in words):
            return int(words[0]) if len(words) == 1 else tuple(map(int, words))
    raise UserError(f'label_map has the key {given!r}; a value of 0 to 255 or a colour such as "#80ff00" is expected')


def _number(given, names, ignore_index, key):
    if given is None or (isinstance(given, str) and given.casefold() == "ignore" and "ignore" not in (names or ())):
        return None
    if isinstance(given, str) and names and given in names:
        return list(names).index(given)
    if type(given) is int and (given == ignore_index or 0 <= given < (len(names) if names else 256)):
        return None if given == ignore_index else given
    allowed = f"one of {few(names)}, its number" if names else "the number of a class"
    raise UserError(f'label_map gives {key!r} the class {given!r}; {allowed} or "ignore" is expected')


def numbers_of(table: Sequence[Entry]) -> dict[str, int]:
    """{class: number} of the classes of a table that count, in its order."""
    return {name: place for place, name in enumerate(dict.fromkeys(e.name for e in table if not e.ignored))}


def read_table(file: Path) -> list[Entry]:
    """Reads a class table: NAME,R,G,B or R G B NAME (CamVid's label_colors.txt), VALUE,NAME, or NAME alone.

    Commas, tabs, semicolons or spaces part the columns, or NAME:R,G,B as CVAT writes it. A header, lines that begin
    with # and further columns do not count. Classes with a name of `IGNORED_NAMES` do not count.

    Raises:
        UserError: there is no such file, or it is no class table.
    """
    lines = [line for line in read_text(file).splitlines() if line.strip() and not line.lstrip().startswith("#")]
    rows = [_cells(line) for line in lines]
    if rows and not any(cell.isdecimal() for cell in rows[0]) and any(any(c.isdecimal() for c in r) for r in rows[1:]):
        rows = rows[1:]
    entries = [_entry(row) for row in rows]
    if not entries or any(entry is None for entry in entries):
        wrong = lines[entries.index(None)] if None in entries else ""
        raise UserError(f"{file} is no class table ({wrong!r}); NAME,R,G,B or VALUE,NAME is expected in each line")
    return [entry for entry in entries if entry is not None]


def _cells(line):
    if found := re.fullmatch(r"\s*([^:,]+):\s*(\d+\s*,\s*\d+\s*,\s*\d+).*", line):  # CVAT and VOC
        return [found[1].strip(), *re.split(r"\s*,\s*", found[2].strip())]
    separator = next((s for s in ("\t", ",", ";") if s in line), None)
    if separator is None:
        return line.split()
    cells = [cell.strip() for cell in next(csv.reader(io.StringIO(line), delimiter=separator))]
    return (
        cells
        if separator != "\t"
        else [part for cell in cells for part in (cell.split() if cell[:1].isdigit() else [cell]) if part]
    )


def _entry(row):
    numbers = [int(cell) for cell in row if cell.isdecimal()]
    words = [cell for cell in row if cell and not cell.isdecimal()]
    if not words or any(n > 255 for n in numbers[:3]) or len(numbers) == 2 or (not numbers and len(words) > 3):
        return None
    name = " ".join(words if not numbers else words[:1])
    key = None if not numbers else tuple(numbers[:3]) if len(numbers) >= 3 else numbers[0]
    return Entry(name, key, name.casefold() in IGNORED_NAMES)
