"""List the pictures of a large set without holding all names in memory: stream folders, sort on disk."""

import glob
import heapq
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, count, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import UserError
from ..pictures.finding import EXTENSIONS, is_hidden, is_picture_name
from ..pictures.manifests import is_list, listed_in
from ..pictures.remote import common_folder, is_address, path_of, pictures_at
from ..system.files import atomic_path

#: how many names are sorted in memory at a time
CHUNK = 50_000


def iterate(paths: Iterable[str | Path]) -> Iterator[str]:
    """Yields the absolute path of every picture that `paths` name. Opens none; may yield a picture twice.

    Args:
        paths: files, folders, glob patterns, lists and addresses such as s3://bucket/folder. Folders are searched with
            their sub-folders; links are followed, each real folder is entered once, and hidden files and folders are
            left out. A list is a .txt file with one path per line, or a .parquet file with a column of them, relative
            to the list's folder; its paths need not exist.

    Raises:
        UserError: a path does not exist, or a folder, pattern or list holds no picture; a store that refuses.
    """
    for given in paths:
        found: Iterator[str] = map(absolute, _pictures(os.path.expanduser(os.fspath(path_of(given)))))
        first = next(found, None)
        if first is None:
            raise UserError(f"no pictures in {given}; looked for {' '.join(EXTENSIONS)}")
        yield first
        yield from found


def absolute(path: str) -> str:
    """The path from the root on; an address as it is."""
    return path if is_address(path) else os.path.abspath(path)


def _pictures(path):
    """An iterator over the pictures that one argument names."""
    if is_address(path):
        return pictures_at(path)
    if os.path.isdir(path):
        return _walk(path)
    if os.path.isfile(path):
        return listed_in(path, lambda: open(path, "rb")) if is_list(path) else iter([path])
    if glob.has_magic(path):
        return filter(_is_picture, glob.iglob(path, recursive=True))
    raise UserError(f"{path} does not exist; give pictures, folders, patterns like 'folder/*.jpg' or a list in a .txt")


def _is_picture(path):
    return is_picture_name(os.path.basename(path)) and os.path.isfile(path)


def _walk(folder):
    """Yields the pictures below a folder, in no particular order."""
    waiting, visited = [folder], set()
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in visited:
            continue
        visited.add(real)
        with _scan(folder) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
                    waiting.append(entry.path)
                elif is_picture_name(entry.name):
                    yield entry.path


def _scan(folder):
    try:
        return os.scandir(folder)
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read ({error.strerror}); change its permissions") from error


def write(paths: Iterable[str | Path], file: Path) -> tuple[int, str]:
    """Write the absolute paths of the pictures that `paths` name: one JSON string per line, sorted, each path once.

    Memory does not grow with the number of pictures, with one exception: Python's `glob`, which expands patterns, holds
    the names of a folder.

    Args:
        paths: as in `iterate`.
        file: the file to write. It appears when it is complete, or not at all.

    Returns:
        The number of pictures, and the deepest folder that contains all of them; "" where they are of several stores.

    Raises:
        UserError: as `iterate`.
    """
    total, root, before = 0, "", None
    with TemporaryDirectory(prefix=".sorting-", dir=file.parent) as folder, ExitStack() as stack:
        chunks = [stack.enter_context(chunk.open()) for chunk in _sorted_chunks(iterate(paths), Path(folder))]
        with atomic_path(file) as temporary, temporary.open("w") as stream:
            for line in heapq.merge(*chunks):
                if line == before:
                    continue
                before = line
                parent = os.path.dirname(json.loads(line))
                root = root if total else parent
                if not os.path.join(parent, "").startswith(os.path.join(root, "")):
                    root = common_folder(root, parent)
                stream.write(line)
                total += 1
    return total, root


def _sorted_chunks(paths, folder):
    """Files with at most `CHUNK` sorted lines each. A path as JSON is ASCII and has no line break in it."""
    chunks = []
    while lines := sorted(json.dumps(path) + "\n" for path in islice(paths, CHUNK)):
        chunks.append(folder / f"{len(chunks)}")
        chunks[-1].write_text("".join(lines))
    return chunks


def read(file: Path, shard_size: int, wanted: Callable[[int], bool]) -> Iterator[tuple[int, int, str]]:
    """Read some shards of a list.

    Args:
        file: a file that `write` wrote.
        shard_size: lines in a shard; shard k starts at line k * shard_size.
        wanted: whether to read the shard with this number; called once per shard.

    Yields:
        (shard number, line number, path).
    """
    with file.open() as stream:
        lines = enumerate(stream)
        for number in count():
            shard = islice(lines, shard_size)
            first = next(shard, None)
            if first is None:
                return
            if wanted(number):
                yield from ((number, place, json.loads(line)) for place, line in chain([first], shard))
            for _ in shard:
                pass


def part_of(text: str | None = None) -> tuple[int, int]:
    """This process's share of the work: (i, n), process i of n, counted from 0.

    Args:
        text: "I/N", counted from 1. None reads what `paddle.distributed.launch` sets, or (0, 1) without it.

    Raises:
        UserError: text of another form.
    """
    if text is None:
        return int(os.environ.get("PADDLE_TRAINER_ID", 0)), int(os.environ.get("PADDLE_TRAINERS_NUM", 1))
    first, slash, last = text.partition("/")
    if not (slash and first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise UserError(f"--part is {text!r}; give I/N, this process and how many share the work, such as 1/4")
    return int(first) - 1, int(last)


def threads_of() -> int | None:
    """Processor cores per process that `paddle.distributed.launch` started on this machine; None without it."""
    share = int(os.environ.get("PADDLE_LOCAL_SIZE", 1))
    return max(1, (os.cpu_count() or 1) // share) if share > 1 else None
