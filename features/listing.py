"""Finding the pictures of a large set without holding their names: folders are streamed and sorted on the disk."""

import glob
import heapq
import json
import os
from contextlib import ExitStack
from itertools import chain, count, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import UserError
from ..pictures.finding import EXTENSIONS
from ..system.files import atomic_path

#: names that are sorted in memory at a time
CHUNK = 50_000


def iterate(paths):
    """Yields the absolute path, a str, of every picture meant by `paths`; nothing is opened, twice is possible.

    Args:
        paths (list): files, folders (with their sub-folders; links are followed, each real folder once; hidden ones
            are left out), glob patterns, or lists: .txt files with a path in each line, relative to the list's folder.
            What stands in a list is taken whether it is there or not.

    Raises:
        UserError: a path does not exist, or a folder, pattern or list holds no picture.
    """
    for given in paths:
        found = map(os.path.abspath, _pictures(os.path.expanduser(os.fspath(given))))
        first = next(found, None)
        if first is None:
            raise UserError(f"no pictures in {given}; looked for {' '.join(EXTENSIONS)}")
        yield first
        yield from found


def _pictures(path):
    """An iterator over the pictures that one argument means."""
    if os.path.isdir(path):
        return _walk(path)
    if os.path.isfile(path):
        return _listed(path) if path.lower().endswith(".txt") else iter([path])
    if glob.has_magic(path):
        return filter(_is_picture, glob.iglob(path, recursive=True))
    raise UserError(f"{path} does not exist; give pictures, folders, patterns like 'folder/*.jpg' or a list in a .txt")


def _is_picture(path):
    name = os.path.basename(path)
    return not name.startswith(".") and name.lower().endswith(EXTENSIONS) and os.path.isfile(path)


def _walk(folder):
    """The pictures below a folder, in no order."""
    waiting, visited = [folder], set()
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in visited:
            continue
        visited.add(real)
        with _scan(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
                    waiting.append(entry.path)
                elif entry.name.lower().endswith(EXTENSIONS):
                    yield entry.path


def _scan(folder):
    try:
        return os.scandir(folder)
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read ({error.strerror}); change its permissions") from error


def _listed(file):
    with open(file, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            if line.strip():
                yield os.path.join(os.path.dirname(file), line.strip())


def write(paths, file):
    """Writes the pictures meant by `paths`, sorted, each once, as a JSON text in each line.

    Memory does not grow with their number, except that a pattern is expanded by Python's `glob`, which holds the names
    of a folder.

    Args:
        paths (list): as in `iterate`.
        file (Path): is whole or not there.

    Returns:
        (int, str): how many there are, and the folder that all of them are in or below.

    Raises:
        UserError: as `iterate`.
    """
    total, root, before = 0, None, None
    with TemporaryDirectory(prefix=".sorting-", dir=file.parent) as folder, ExitStack() as stack:
        chunks = [stack.enter_context(chunk.open()) for chunk in _sorted_chunks(iterate(paths), Path(folder))]
        with atomic_path(file) as temporary, temporary.open("w") as stream:
            for line in heapq.merge(*chunks):
                if line == before:
                    continue
                before = line
                parent = os.path.dirname(json.loads(line))
                root = parent if root is None else root
                if not os.path.join(parent, "").startswith(os.path.join(root, "")):
                    root = os.path.commonpath([root, parent])
                stream.write(line)
                total += 1
    return total, root


def _sorted_chunks(paths, folder):
    """Files with at most `CHUNK` sorted lines each. JSON text has no line breaks and only ASCII letters in it."""
    chunks = []
    while lines := sorted(json.dumps(path) + "\n" for path in islice(paths, CHUNK)):
        chunks.append(folder / f"{len(chunks)}")
        chunks[-1].write_text("".join(lines))
    return chunks


def read(file, shard_size, wanted):
    """Yields (number of the shard, number of the line, path) of a file that `write` wrote, for the shards that `wanted`
    says True of.

    Args:
        file (Path).
        shard_size (int): shard k holds the lines from k * shard_size on.
        wanted (callable): number of a shard -> bool; called once for each.
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


def part_of(text=None):
    """(i, n) with 0 <= i < n: this process is number i of n that share the work.

    Args:
        text (str | None): "I/N", counted from 1; None: what `paddle.distributed.launch` says, else 1/1.

    Raises:
        UserError: not of that form.
    """
    if text is None:
        return int(os.environ.get("PADDLE_TRAINER_ID", 0)), int(os.environ.get("PADDLE_TRAINERS_NUM", 1))
    first, slash, last = text.partition("/")
    if not (slash and first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise UserError(f"--part is {text!r}; give I/N, this process and how many share the work, such as 1/4")
    return int(first) - 1, int(last)


def threads_of():
    """Processor cores for each process that `paddle.distributed.launch` started on this machine; None without it."""
    share = int(os.environ.get("PADDLE_LOCAL_SIZE", 1))
    return max(1, (os.cpu_count() or 1) // share) if share > 1 else None
