"""Text files with a picture and its annotation or label in each line, in the forms that tools write."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from ..errors import UserError

_SEPARATOR = re.compile(r"\s*[\t,;]\s*|\s+")


def read_text(file: Path) -> str:
    """The text of a file in UTF-8, with a byte-order mark or without; UserError when it is none."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not text in UTF-8 ({error}); save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or error})") from error


def rows_of(file: Path) -> list[tuple[int, str]]:
    """(number, line) of the lines that are not blank, without spaces around them."""
    lines = enumerate(read_text(file).splitlines(), 1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def unquoted(text: str) -> str:
    """A text without the quotes around it."""
    text = text.strip()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'" else text


def ways_to_part(line: str, separator: str | None = None) -> list[tuple[str, str]]:
    """The ways to part a line into two names: at the separator, at each tab, comma and semicolon, at each space."""
    parts = []
    if separator and line.count(separator) == 1:
        parts.append(tuple(line.split(separator)))
    parts += [(line[: m.start()], line[m.end() :]) for m in _SEPARATOR.finditer(line)]
    return [(unquoted(a), unquoted(b)) for a, b in parts if unquoted(a) and unquoted(b)]


def below(root: Path, name: str) -> Path:
    """The file that a list names, relative to `root`.

    A name of another machine is found by its last parts: "C:\\data\\train\\a.png" and "/data/train/a.png" are
    root/train/a.png where that exists.
    """
    path = Path(root, name)
    if os.path.isfile(path):
        return path
    parts = [part for part in re.sub(r"^[A-Za-z]:", "", name).replace("\\", "/").split("/") if part]
    tails = (Path(root, *parts[cut:]) for cut in range(len(parts)))
    return next((tail for tail in tails if os.path.isfile(tail)), path)


def read_pairs(
    file: Path, root: Path, complaint: Callable[[int, str], str], separator: str | None = None
) -> list[tuple[int, str, str]]:
    """(line number, picture, label) of each line, two paths as they are written, relative to `root`.

    Tabs, commas, semicolons or spaces part them. Quotes around a name do not count, nor do blank lines. A line can be
    parted in several ways where names hold spaces; the first counts for which both files exist, else the first.

    Args:
        file: the list.
        root: where the files are.
        complaint: (line number, line) -> what to say of a line that holds no two names.
        separator: what stands between the names, where that is known.

    Raises:
        UserError: the file is not text, or a line holds no two names.
    """
    pairs = []
    for number, line in rows_of(file):
        ways = ways_to_part(line, separator)
        if not ways:
            raise UserError(complaint(number, line))
        both = ways[0]
        if len(ways) > 1:
            both = next((way for way in ways if all(os.path.isfile(below(root, name)) for name in way)), both)
        pairs.append((number, *both))
    return pairs
