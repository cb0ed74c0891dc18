"""Tiny picture sets in every layout that classification reads, and CIFAR archives with Python 2's pickles."""

import io
import pickle
import struct
import tarfile
from typing import ClassVar

import numpy as np
from PIL import Image

from densebone.datasets.cifar import LAYOUTS

SYNSETS = ("n01440764", "n01443537", "n01484850")  # tench, goldfish, great white shark: classes 0, 1 and 2

CLASSES = ("a", "b", "c", "d", "e", "f", "g")
#: a configuration for the pictures that `tree(root / "data", CLASSES)` writes
SETTINGS = {
    "task": "classification",
    "model": {"name": "hardnet39ds", "num_classes": len(CLASSES)},
    "train_dataset": {"type": "ImageNetFolder", "root": "data"},
    "val_dataset": {"type": "ImageNetFolder", "root": "data"},
    "optimizer": {"type": "Momentum"},
    "lr_scheduler": {"type": "Constant", "learning_rate": 0.1},
    "epochs": 1,
    "batch_size": 4,
    "preprocessing": {"resize": 36, "crop": 32},
    "use_gpu": False,
}


def picture(path, number=0, size=(40, 36)):
    """Writes a picture of noise that depends on `number`; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def tree(root, classes=SYNSETS, each=2, parts=("train", "val")):
    """Writes ROOT/PART/CLASS/NUMBER.png, `each` pictures of every class; returns `root`."""
    number = 0
    for part in parts:
        for name in classes:
            for _ in range(each):
                picture(root / part / name / f"{number}.png", number)
                number += 1
    return root


class _Python2(pickle._Pickler):
    """Pickles bytes as Python 2 pickled its strings, as in CIFAR's files."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        """Writes SHORT_BINSTRING or BINSTRING."""
        size = len(value)
        self.write((b"U" + bytes([size]) if size < 256 else b"T" + struct.pack("<i", size)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def pickled(content):
    """The bytes of a pickle of protocol 2, as Python 2 writes them."""
    stream = io.BytesIO()
    _Python2(stream, 2).dump(content)
    return stream.getvalue()


def cifar(folder, classes, each=4, hostile=None):
    """Writes FOLDER/cifar-CLASSES-python.tar.gz and returns its path.

    Args:
        folder (Path): receives the archive.
        classes (int): 10 or 100.
        each (int): pictures in every file.
        hostile (bytes | None): stands in place of the test pictures' file.
    """
    name, train, test, names, label_key, name_key = LAYOUTS[classes]
    rng = np.random.default_rng(classes)
    archive = folder / f"cifar-{classes}-python.tar.gz"
    with tarfile.open(archive, "w:gz") as members:
        for file in [*train, test, names]:
            pixels = rng.integers(0, 256, (each, 3072), dtype=np.uint8)
            labels = [int(label) for label in rng.integers(0, classes, each)]
            content = {b"data": pixels, label_key.encode(): labels}
            if file == names:
                content = {name_key.encode(): [f"name{i}".encode() for i in range(classes)]}
            data = hostile if hostile is not None and file == test else pickled(content)
            info = tarfile.TarInfo(f"{name}/{file}")
            info.size = len(data)
            members.addfile(info, io.BytesIO(data))
    return archive
