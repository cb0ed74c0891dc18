"""CIFAR-10 and CIFAR-100 as their authors publish them for Python, without executing their pickles.

`paddle.vision.datasets` reads the same archives and gives the same arrays, but unpickles what it finds in them.
"""

import io
import tarfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..weights.pickles import load

#: classes -> (folder in the archive, its training files, test file, file of names, key of the labels, key of the names)
LAYOUTS = {
    10: ("cifar-10-batches-py", [f"data_batch_{i}" for i in range(1, 6)], "test_batch", "batches.meta", "labels",
         "label_names"),
    100: ("cifar-100-python", ["train"], "test", "meta", "fine_labels", "fine_label_names"),
}  # fmt: skip


def read_cifar(root, classes, part):
    """The pictures of one part.

    Args:
        root (str | Path): the archive (cifar-100-python.tar.gz), the folder that was unpacked from it, or a folder that
            holds one of the two.
        classes (int): 10 or 100.
        part (str): "train" or "val", which is CIFAR's test part.

    Returns:
        (uint8 array (N, 32, 32, 3) red-green-blue, int64 array (N,) of labels, list of class names).

    Raises:
        UserError: nothing of the kind is there, or it is damaged, half written or asks for more than arrays.
    """
    _, train, test, names, label_key, name_key = LAYOUTS[classes]
    with _files(Path(root), classes) as read:
        batches = [read(name) for name in (train if part == "train" else [test])]
        labels = [label for batch in batches for label in _entry(batch, label_key, list, root)]
        values = [_entry(batch, "data", np.ndarray, root) for batch in batches]
        names = [_text(name) for name in _entry(read(names), name_key, list, root)]
    if any(array.ndim != 2 or array.shape[1] != 3072 or array.dtype != np.uint8 for array in values):
        raise UserError(f"{root} is no CIFAR-{classes}: its pictures are not 32 x 32 of 8 bits; fetch it again")
    pictures = np.concatenate(values).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    labels = np.array(labels, np.int64)
    if len(labels) != len(pictures) or not len(labels) or not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(f"{root} is no CIFAR-{classes}: its labels are not its pictures'; fetch it again")
    return pictures, labels, names


def read_names(root, classes):
    """The class names of CIFAR-10 or -100, from the file of names alone; else as `read_cifar`."""
    with _files(Path(root), classes) as read:
        return [_text(name) for name in _entry(read(LAYOUTS[classes][3]), LAYOUTS[classes][5], list, root)]


@contextmanager
def _files(root, classes):
    """Yields a function: name of a file -> what is pickled in it."""
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
    except Exception as error:  # damaged archives and pickles raise nearly anything
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
