"""Reads CIFAR-10 and CIFAR-100 as their authors publish them for Python, without executing their pickles.

`paddle.vision.datasets` reads the same archives into the same arrays, but unpickles whatever they contain.
"""

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..weights.pickles import load

#: classes -> (folder in the archive, training files, test file, file of names, key of the labels, key of the names)
LAYOUTS: dict[int, tuple[str, list[str], str, str, str, str]] = {
    10: ("cifar-10-batches-py", [f"data_batch_{i}" for i in range(1, 6)], "test_batch", "batches.meta", "labels",
         "label_names"),
    100: ("cifar-100-python", ["train"], "test", "meta", "fine_labels", "fine_label_names"),
}  # fmt: skip


def read_cifar(root: str | Path, classes: int, part: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Reads one part of CIFAR-10 or CIFAR-100.

    Args:
        root: the archive (cifar-100-python.tar.gz), the folder unpacked from it, or a folder that holds one of the two.
        classes: 10 or 100.
        part: "train", or "val" for CIFAR's test part.

    Returns:
        (pictures, uint8 (N, 32, 32, 3) in RGB; labels, int64 (N,); class names).

    Raises:
        UserError: there is no CIFAR in `root`, or it is damaged, half written, or its pickles hold more than arrays.
    """
    _, train, test, name_file, label_key, name_key = LAYOUTS[classes]
    with _files(Path(root), classes) as read:
        batches = [read(name) for name in (train if part == "train" else [test])]
        numbers = [label for batch in batches for label in _entry(batch, label_key, list, root)]
        values = [_entry(batch, "data", np.ndarray, root) for batch in batches]
        names = [_text(name) for name in _entry(read(name_file), name_key, list, root)]
    if any(array.ndim != 2 or array.shape[1] != 3072 or array.dtype != np.uint8 for array in values):
        raise UserError(f"{root} is no CIFAR-{classes}: its pictures are not 32 x 32 of 8 bits; fetch it again")
    pictures = np.concatenate(values).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    labels = np.array(numbers, np.int64)
    if len(labels) != len(pictures) or not len(labels) or not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(f"{root} is no CIFAR-{classes}: its labels are not its pictures'; fetch it again")
    return pictures, labels, names


def read_names(root: str | Path, classes: int) -> list[str]:
    """The class names of CIFAR-10 or CIFAR-100. Reads only the file of names; otherwise like `read_cifar`."""
    with _files(Path(root), classes) as read:
        return [_text(name) for name in _entry(read(LAYOUTS[classes][3]), LAYOUTS[classes][5], list, root)]


@contextmanager
def _files(root: Path, classes: int) -> Iterator[Callable[[str], Any]]:
    """Yields a function: name of a file -> its unpickled content."""
    folder = LAYOUTS[classes][0]
    archive = f"{folder.removesuffix('-batches-py').removesuffix('-python')}-python.tar.gz"
    for place in (root, root / folder):
        if (place / LAYOUTS[classes][2]).is_file():
            yield partial(_of_folder, place)
            return
    for place in (root, root / archive):
        if place.is_file():
            with _archive(place) as members:
                yield partial(_of_archive, members, folder)
            return
    raise UserError(f"there is no CIFAR-{classes} in {root}; give {archive}, or the folder {folder} that is in it")


def _of_folder(folder, name):
    return _unpickled((folder / name).read_bytes, folder / name)


def _of_archive(members, folder, name):
    return _unpickled(lambda: members.extractfile(f"{folder}/{name}").read(), f"{folder}/{name} in {members.name}")


@contextmanager
def _archive(path):
    try:
        members = tarfile.open(path)  # noqa: SIM115 (closed below)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"{path} is no tar archive that can be read ({error}); fetch it again") from error
    with members:
        yield members


def _unpickled(read, what):
    try:
        content = read()
        return load(io.BytesIO(content), len(content))
    except UserError as error:
        raise UserError(f"{what} is refused: {error}") from None
    except Exception as error:  # a damaged archive or pickle can raise almost any exception
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{what} is missing or damaged ({reason[:200]}); fetch the archive again") from error


def _entry(batch, key, kind, root):
    found = (batch.get(key), batch.get(key.encode())) if isinstance(batch, dict) else ()
    for value in found:
        if isinstance(value, kind):
            return value
    raise UserError(f"{root} lacks {key!r}, which CIFAR's files have; fetch the archive again")


def _text(name):
    return name.decode("latin1") if isinstance(name, bytes) else str(name)
