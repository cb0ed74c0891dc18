"""Finding pictures: files, folders and patterns; and naming what is drawn for each."""

import glob
import os
from collections import Counter
from pathlib import Path

from ..errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")


def _is_picture_name(name):
    """Whether a file of that name is taken from a folder; hidden files (`._a.jpg` of macOS) are not."""
    return not name.startswith(".") and name.lower().endswith(EXTENSIONS)


def _walk(folder):
    """All pictures below `folder`, sorted; links to folders are followed, each real folder once.

    Hidden folders, such as `.thumbnails` and `.ipynb_checkpoints`, are left out.
    """
    found, visited = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root, name) for name in names if _is_picture_name(name)]
    return sorted(found)


def _expand(given):
    """The pictures meant by one argument: a file, a folder or a glob pattern."""
    path = Path(given).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        if found := _walk(path):
            return found
        raise UserError(f"no pictures in the folder {path} or below; looked for {' '.join(EXTENSIONS)}")
    if not glob.has_magic(str(given)):
        raise UserError(f"{path} does not exist; give a picture, a folder or a pattern like 'folder/*.jpg'")
    matched = sorted(map(Path, glob.glob(str(path), recursive=True)))
    if found := [match for match in matched if match.is_file() and _is_picture_name(match.name)]:
        return found
    raise UserError(f"the pattern {given} matches no picture; looked for {' '.join(EXTENSIONS)}")


def find_images(paths):
    """List the pictures meant by `paths`; nothing is opened.

    Args:
        paths: a file, a folder (searched with its sub-folders), a glob pattern (`**` allowed), each str or
            Path, or a list of these. Folders and patterns give the files whose extension is in `EXTENSIONS`
            in upper or lower case, sorted, hidden ones left out; a file that is named is taken in any case.

    Returns:
        list of Path, in the order given, each file once.

    Raises:
        UserError: a path does not exist, a folder or a pattern holds no picture, or nothing was given.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise UserError("no pictures were given; give at least one picture, folder or pattern")
    found = {}
    for item in given:
        for path in _expand(item):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def output_names(pictures, folder):
    """The PNG that is drawn for each picture: its place below their common folder, in `folder`; no two alike.

    Args:
        pictures: list of Path, as `find_images` returns them.
        folder: the folder to write to, str or Path.

    Returns:
        list of Path, one for each picture.

    Raises:
        UserError: one of these files is a picture that was given.
    """
    resolved = [path.resolve() for path in pictures]
    root = Path(*_common_parts([parent.parts for parent in {path.parent for path in resolved}]))
    plain = [Path(folder) / path.relative_to(root).with_suffix(".png") for path in resolved]
    count = Counter(plain)
    names = [name if count[name] == 1 else name.with_name(f"{path.name}.png") for name, path in zip(plain, pictures)]
    given = set(resolved)
    for name in names:
        if name.resolve() in given:
            raise UserError(f"{name} is one of the pictures and would be overwritten; give another folder to write to")
    return names


def _common_parts(paths):
    parts = []
    for level in zip(*paths):
        if len(set(level)) > 1:
            break
        parts.append(level[0])
    return parts
