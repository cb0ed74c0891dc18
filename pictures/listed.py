"""Find the files of pictures that a list or an annotation file names, in the spellings that tools leave behind."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote


def find_listed(names: Sequence[str], folders: Sequence[Path]) -> tuple[list[Path | None], list[tuple[str, Path]]]:
    """The file of each name.

    A name is a path relative to one of the folders, or an absolute one. When no such file exists, backslashes count as
    slashes, a drive letter is dropped, and %20 is a space. Then the name's last part is looked for in and below the
    first folder, first as it is, then without regard to upper and lower case and to how accents are encoded. That must
    be clear: a file that two names could mean, and a name that could mean two files, are not matched.

    Args:
        names: as an annotation file or a list has them.
        folders: where to look, the likeliest first.

    Returns:
        (a path for each name, None where there is no such file; (name, path) of those that were found by another
        spelling).
    """
    paths = [_as_written(name, folders) for name in names]
    lost = [index for index, path in enumerate(paths) if path is None]
    if not lost:
        return paths, []
    by_name: dict[str, list[Path]] = {}
    for root, _, files in os.walk(folders[0]):
        for file in files:
            by_name.setdefault(_plain(file), []).append(Path(root, file))
    taken = {path for path in paths if path is not None}
    meant = {index: _one(_last_part(names[index]), by_name) for index in lost}
    uses = Counter(meant.values())
    respelled = []
    for index, path in meant.items():
        if path is not None and uses[path] == 1 and path not in taken:
            paths[index] = path
            respelled.append((names[index], path))
    return paths, respelled


def _as_written(name, folders):
    spellings = [name, *([unquote(name)] if "%" in name else [])]
    if "\\" in name:
        spellings.append(re.sub(r"^[A-Za-z]:", "", name).replace("\\", "/").lstrip("/"))
    for spelling in spellings:
        for folder in folders:
            path = Path(folder, spelling)
            if os.path.isfile(path):
                return path
    return None


def _last_part(name):
    return name.replace("\\", "/").rpartition("/")[2]


def _plain(name):
    return unicodedata.normalize("NFC", name).casefold()


def _one(name, by_name):
    """The one file with this name, exactly so or in another spelling; None when there is none or several."""
    alike = by_name.get(_plain(name), [])
    exact = [path for path in alike if path.name == name]
    found = exact or alike
    return found[0] if len(found) == 1 else None
