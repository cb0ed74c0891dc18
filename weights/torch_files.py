"""Reads PyTorch's two containers without PyTorch: the zip archive since 1.6, and the older row of pickles and storages.

Both hold the bytes of storages, and one pickle in which a tensor is a window into a storage. The pickle is read first.
A storage is read when somebody asks for one of its tensors.
"""

import io
import math
from collections.abc import Callable
from typing import Any, BinaryIO
from zipfile import ZipFile, ZipInfo

import numpy as np

from ..errors import UserError
from .pickle_calls import STORAGES, Name, Storage, Tensor
from .pickles import load

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
CHUNK = 1 << 20


def bfloat16_to_float32(bits: np.ndarray) -> np.ndarray:
    """bfloat16 as uint16 bits -> float32, of the same shape. The bits are the upper half of the float32 number."""
    wide = bits.astype("<u4")
    wide <<= 16
    return wide.view("<f4")


def fill(stream: Any, count: int) -> np.ndarray:
    """The next `count` bytes of a stream as a uint8 array; EOFError when there are fewer."""
    array = np.empty(count, "uint8")
    view, done = memoryview(array), 0
    while done < count:
        got = stream.readinto(view[done : done + CHUNK])
        if not got:
            raise EOFError(f"{count} bytes are announced, and {done} are left")
        done += got
    return array


class Storages:
    """The storages of a file. Each is read once, when it is first needed.

    Args:
        read: key of a storage -> its bytes as a uint8 array.
        little_endian: the byte order.
    """

    def __init__(self, read: Callable[[str], np.ndarray], little_endian: bool = True):
        self.read, self.order = read, "<" if little_endian else ">"
        self.numbers: dict[str, np.ndarray] = {}

    def array(self, tensor: Tensor) -> np.ndarray:
        """The array of a `Tensor`. Tensors of one storage share its memory."""
        numbers = self._numbers(tensor.storage)
        first = tensor.storage.start + tensor.offset
        if math.prod(tensor.shape) == 0:
            return np.empty(tensor.shape, numbers.dtype)
        strides = [step * numbers.itemsize for step in tensor.strides]
        return np.lib.stride_tricks.as_strided(numbers[first:], tensor.shape, strides)

    def _numbers(self, storage):
        if storage.key not in self.numbers:
            raw = self.read(storage.key)
            dtype = np.dtype("u2" if storage.kind == "bf16" else storage.kind).newbyteorder(self.order)
            if raw.size != storage.total * dtype.itemsize:
                raise ValueError(f"storage {storage.key} has {raw.size} bytes for {storage.total} numbers")
            numbers = raw.view(dtype)
            if not dtype.isnative:
                numbers = numbers.byteswap(inplace=True).newbyteorder()
            numbers = bfloat16_to_float32(numbers) if storage.kind == "bf16" else numbers
            self.numbers[storage.key] = numbers
        return self.numbers[storage.key]


def read_zip(archive: ZipFile, names: dict[str, ZipInfo]) -> tuple[Any, Callable[[Tensor], np.ndarray]]:
    """Reads a zip archive that PyTorch wrote.

    Args:
        archive: open for reading.
        names: member name -> its ZipInfo.

    Returns:
        The pickled object, and a function that reads the array of one of its tensors.
    """
    pickled = next(name for name in names if name.rpartition("/")[2] == "data.pkl")
    folder = pickled[: -len("data.pkl")]
    if folder + "constants.pkl" in names:
        raise UserError("it is a TorchScript program, not weights; save the state_dict of the model")
    if packed := [name for name, info in names.items() if info.compress_type != 0]:
        raise UserError(f"its member {packed[0]!r} is compressed, as PyTorch never writes it; the file is not trusted")
    order = archive.read(folder + "byteorder") if folder + "byteorder" in names else b"little"
    if order not in (b"little", b"big"):
        raise ValueError(f"its byte order is {order[:20]!r}")

    def read(key):
        if f"{folder}data/{key}" not in names:
            raise ValueError(f"storage {key} is missing")
        info = names[f"{folder}data/{key}"]
        with archive.open(info) as member:
            return fill(member, info.file_size)

    content = archive.read(pickled)
    return load(io.BytesIO(content), len(content), _Described()), Storages(read, order == b"little").array


def read_legacy(stream: BinaryIO, size: int) -> tuple[Any, Callable[[Tensor], np.ndarray]]:
    """Reads a file of PyTorch before 1.6, after its first pickle, the magic number. Returns what `read_zip` does."""
    if (version := load(stream, size)) != PROTOCOL:
        raise UserError(f"it is of the version {version!r} of PyTorch's old format; {PROTOCOL} is read")
    system = load(stream, size)
    if not isinstance(system, dict) or not isinstance(system.get("little_endian"), bool):
        raise ValueError("it does not say the order of its bytes")
    described = _Described()
    content = load(stream, size, described)
    places = _places(stream, size, load(stream, size), described.kinds)

    def read(key):
        stream.seek(places[key][0])
        return fill(stream, places[key][1])

    return content, Storages(read, system["little_endian"]).array


def _places(stream, size, keys, found):
    """{key: (position, bytes)} of the raw storages, which follow one another to the end of the file."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or set(keys) != set(found):
        raise ValueError("its list of storages does not agree with its tensors")
    places = {}
    for key in keys:
        kind, total = found[key]
        count = int.from_bytes(fill(stream, 8).tobytes(), "little")
        place, length = stream.tell(), total * _itemsize(kind)
        if count != total or place + length > size:
            raise EOFError(f"storage {key} does not have its {total} numbers")
        places[key] = place, length
        stream.seek(length, io.SEEK_CUR)
    if stream.tell() != size:
        raise ValueError("it goes on after its last storage")
    return places


def _itemsize(kind):
    return 2 if kind == "bf16" else np.dtype(kind).itemsize


class _Described:
    """Turns a persistent id into its `Storage`, and refuses two ids that describe one storage differently.

    Attributes:
        kinds: key -> (kind, total).
    """

    def __init__(self):
        self.kinds = {}

    def __call__(self, identity):
        made = _storage(identity)
        if self.kinds.setdefault(made.key, (made.kind, made.total)) != (made.kind, made.total):
            raise UserError(f"it describes the storage {made.key!r} in two ways; the file is not trusted")
        return made


def _storage(identity):
    match identity:
        case ("module", *_):
            raise UserError("it is a whole model with its source code, not weights; save the state_dict of the model")
        case ("storage", Name(text), str() as key, str(), int() as total, *view) if text in STORAGES and total >= 0:
            match view:
                case [] | [None]:
                    return Storage(key, STORAGES[text], total, 0, total)
                case [(str(), int() as start, int() as count)] if start >= 0 and 0 <= count <= total - start:
                    return Storage(key, STORAGES[text], total, start, count)
    raise UserError("it describes a storage as PyTorch does not; the file is not trusted")
