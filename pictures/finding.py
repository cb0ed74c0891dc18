"""Find pictures and videos in files, folders, patterns, lists and at addresses, and name what is drawn of each."""

import glob
import hashlib
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import UserError
from .manifests import is_list, listed_in
from .names import EXTENSIONS, is_hidden, is_picture_name, is_video_name
from .remote import Address, is_address, is_one, path_of, pictures_at, plain_name

_LONGEST = 230  # bytes

#: a camera of this machine, and the addresses of cameras in the network
_LIVE = re.compile(r"camera:\d{1,3}|(rtsps?|https?)://.+", re.ASCII)


def is_live(name: str) -> bool:
    """Whether this is a camera, "camera:0", or the address of one in the network, and no file or address of pictures.

    A camera's may be of http too: what ends as a picture or a list does, or is a pattern, is of pictures.
    """
    return bool(_LIVE.fullmatch(name)) and not (name.startswith("http") and is_one(name))


def _walk(folder, wanted):
    """All files below `folder` with a wanted name, sorted, hidden folders left out. Follows links, but enters each real
    folder once."""
    found, visited = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        found += [Path(root, name) for name in names if wanted(name)]
    return sorted(found)


def _is_either(name):
    return is_picture_name(name) or is_video_name(name)


def _expand(given, wanted=is_picture_name):
    """The pictures that one argument names: a file, a folder, a glob pattern, a list or an address."""
    path = path_of(given)
    if isinstance(path, Address):
        if found := [path_of(found) for found in pictures_at(str(path))]:
            return found if "*" in str(path) or is_list(plain_name(str(path))) else sorted(found, key=str)
        raise UserError(f"no pictures at {path}; looked for {' '.join(EXTENSIONS)}")
    path = path.expanduser()
    if path.is_file() and is_list(path.name):
        if found := [path_of(found) for found in listed_in(str(path), lambda: path.open("rb"))]:
            return found
        raise UserError(f"the list {path} is empty; it wants a path in each line")
    if path.is_file():
        return [path]
    if path.is_dir():
        if found := _walk(path, wanted):
            return found
        raise UserError(f"no pictures in the folder {path} or below; looked for {' '.join(EXTENSIONS)}")
    if not glob.has_magic(str(given)):
        raise UserError(f"{path} does not exist; give a picture, a folder or a pattern like 'folder/*.jpg'")
    matched = sorted(map(Path, glob.glob(str(path), recursive=True)))
    if found := [match for match in matched if match.is_file() and wanted(match.name)]:
        return found
    raise UserError(f"the pattern {given} matches no picture; looked for {' '.join(EXTENSIONS)}")


def find_images(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """List the pictures that `paths` name, without opening any.

    Args:
        paths: a file, a folder (searched with its sub-folders), a glob pattern (`**` works), a list (.txt, .parquet),
            an address such as s3://bucket/folder, or several of these. Folders and patterns give the files with one of
            `EXTENSIONS`, in upper or lower case, sorted, without hidden ones. A file that you name is taken with any
            extension.

    Returns:
        The pictures in the order given, each path once. Two links to one file are two pictures.

    Raises:
        UserError: a path does not exist, a folder or a pattern holds no picture, or nothing was given.
    """
    return _once(path for item in _listed(paths) for path in _expand(item))


def find_inputs(paths: str | Path | Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """List the pictures and the videos that `paths` name; see `find_images`.

    Folders and patterns give videos with one of `VIDEOS` too. "camera:0" is the first camera of this machine; an
    address such as "rtsp://..." is one in the network.

    Returns:
        (pictures, videos); a video is the path of a file, or as it was given.

    Raises:
        UserError: as `find_images`.
    """
    given = _listed(paths)
    cameras = list(dict.fromkeys(str(item) for item in given if is_live(str(item))))
    found = _once(path for item in given if not is_live(str(item)) for path in _expand(item, _is_either))
    videos = [str(path) for path in found if is_video_name(path.name)]
    return [path for path in found if not is_video_name(path.name)], [*videos, *cameras]


def _listed(paths):
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise UserError("no pictures were given; give at least one picture, folder or pattern")
    return given


def _once(paths):
    """The paths without those that were there before in another spelling."""
    found: dict[str, Path] = {}
    for path in paths:
        found.setdefault(str(path) if isinstance(path, Address) else os.path.abspath(path), path)
    return list(found.values())


def output_names(pictures: Sequence[Path], folder: str | Path, ending: str = ".png") -> list[Path]:
    """The file to write for each picture. Sub-folders below the pictures' common folder are kept; no two names agree.

    a.jpg becomes a.png. Where that is the name for several pictures, they become a.jpg.png, and where that is taken
    too, a.jpg-2.png and so on. A name that would be too long is cut and ends in a hash. A link keeps its own name.

    Args:
        pictures: files, as `find_images` returns them.
        folder: the folder to write to.
        ending: of the files.

    Returns:
        One path for each picture.

    Raises:
        UserError: one of these paths is itself a picture in the list.
    """
    places = [_place(path) for path in pictures]
    root = Path(*_common_parts([parent.parts for parent in {path.parent for path in places}]))
    relative = [path.relative_to(root) for path in places]
    count = Counter(path.with_suffix(ending) for path in relative)
    taken = {plain for plain, times in count.items() if times == 1}
    names = []
    for path in relative:
        name = path.with_suffix(ending)
        if count[name] > 1:
            name = next(each for each in _spellings(path, ending) if each not in taken)
            taken.add(name)
        names.append(Path(folder) / _short(name))
    check_free(names, pictures)
    return names


def _place(path):
    """The path of a picture from the root on; of an address, the store is the first folder."""
    if not is_address(path):
        return Path(os.path.abspath(path))
    scheme, _, rest = str(path).partition("?")[0].partition("://")
    return Path("/", scheme, *(part for part in rest.split("/") if part not in ("", ".", "..")))


def check_free(names: Iterable[Path], pictures: Iterable[Path]) -> None:
    """Raises UserError when a file that is going to be written is one of the pictures."""
    given = {path.resolve() for path in pictures}
    for name in names:
        if name.resolve() in given:
            raise UserError(f"{name} is one of the pictures and would be overwritten; give another folder to write to")


def _spellings(path, ending):
    """Names for the result of a picture, one after the other."""
    yield path.with_name(f"{path.name}{ending}")
    for number in itertools.count(2):
        yield path.with_name(f"{path.name}-{number}{ending}")


def _short(path):
    """A path whose last part a file system can hold: 255 bytes, of which writers need some for temporary names."""
    name = os.fsencode(path.name)
    if len(name) <= _LONGEST:
        return path
    key = hashlib.sha256(name).hexdigest()[:12]
    start = os.fsdecode(name[: _LONGEST - 20]).encode("utf-8", "ignore").decode()
    return path.with_name(f"{start}-{key}{path.suffix}")


def folder_name(name: str) -> str:
    """A name of a class as one of a folder: no path, not hidden, and of another name for another class."""
    plain = re.sub(r"[^\w .()+-]", "_", name).strip(" .") or "_"
    if plain != name or len(os.fsencode(plain)) > _LONGEST // 2:
        plain = f"{plain[:40]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:6]}"
    return plain


def _common_parts(paths):
    parts = []
    for level in zip(*paths):
        if len(set(level)) > 1:
            break
        parts.append(level[0])
    return parts
