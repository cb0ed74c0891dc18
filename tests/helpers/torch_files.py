"""Writes the files of `torch.save` without PyTorch: the zip archive and the older sequence of pickles.

Checked once against PyTorch 2.13: `torch.load` reads these files, and densebone's reader reads those of `torch.save`.
"""

import contextlib
import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np

STORAGES = {
    "f8": "DoubleStorage", "f4": "FloatStorage", "f2": "HalfStorage", "i8": "LongStorage", "i4": "IntStorage",
    "i2": "ShortStorage", "i1": "CharStorage", "u1": "ByteStorage", "b1": "BoolStorage", "bf16": "BFloat16Storage",
}  # fmt: skip
MAGIC = 0x1950A86A20F9469CFC6C


class Storage:
    """The numbers behind a tensor. `kind` is a key of STORAGES; bf16 numbers are given as uint16."""

    def __init__(self, numbers, kind=None):
        self.numbers, self.kind = np.ascontiguousarray(numbers).reshape(-1), kind or np.dtype(numbers.dtype).str[1:]


class Tensor:
    """A view of a storage, pickled as PyTorch does; strides count elements."""

    def __init__(self, storage, offset, shape, strides):
        self.parts = (storage, offset, tuple(shape), tuple(strides))

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (*self.parts, False, OrderedDict())


class Parameter:
    """A trainable tensor."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_parameter, (self.tensor, True, OrderedDict())


def tensor(array, kind=None):
    """The tensor of a contiguous array."""
    array = np.asarray(array)
    strides = [int(np.prod(array.shape[i + 1 :])) for i in range(array.ndim)]
    return Tensor(Storage(array, kind), 0, array.shape, strides)


def state_dict(arrays, prefix=""):
    """Arrays as tensors, in an ordered dict with version metadata like that of a PyTorch module."""
    state = OrderedDict((prefix + key, tensor(value)) for key, value in arrays.items())
    state._metadata = OrderedDict([("", {"version": 1})])
    return state


def save_zip(path, content, folder="archive", protocol=2, members=(), compression=zipfile.ZIP_STORED):
    """Writes the format of PyTorch 1.6 and later; returns the path.

    `members` are (name, bytes) that are added to the archive; they replace members of the same name.
    """
    storages = {}
    pickled = _pickled(content, protocol, storages, legacy=False)
    files = {f"{folder}/data.pkl": pickled, f"{folder}/byteorder": b"little"}
    for key, storage in storages.items():
        files[f"{folder}/data/{key}"] = storage.numbers.tobytes()
    files[f"{folder}/version"] = b"3\n"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in {**files, **dict(members)}.items():
            archive.writestr(name, data)
    return path


def save_legacy(path, content, protocol=2):
    """Writes the format of PyTorch before 1.6; returns the path."""
    storages = {}
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
    pickled = _pickled(content, protocol, storages, legacy=True)
    with open(path, "wb") as file:
        for head in (MAGIC, 1001, system):
            file.write(pickle.dumps(head, protocol))
        file.write(pickled)
        file.write(pickle.dumps(sorted(storages), protocol))
        for key in sorted(storages):
            file.write(struct.pack("<q", storages[key].numbers.size) + storages[key].numbers.tobytes())
    return path


def _pickled(content, protocol, storages, legacy):
    """The pickle of `content`; adds the storages in it to the dict `storages`."""
    keys = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            key = keys.setdefault(id(item), str(94000000 + 16 * len(keys) if legacy else len(keys)))
            storages[key] = item
            kind = getattr(sys.modules["torch"], STORAGES[item.kind])
            identity = ("storage", kind, key, "cpu", item.numbers.size)
            return (*identity, None) if legacy else identity

    with _names_of_torch():
        stream = io.BytesIO()
        Pickler(stream, protocol).dump(content)
    return stream.getvalue()


@contextlib.contextmanager
def _names_of_torch():
    """Provides fake modules with the names in PyTorch's pickles, because pickle looks them up."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        setattr(utils, name, type(name, (), {"__module__": "torch._utils"}))
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
