"""Reads checkpoint files as arrays.

The first bytes of a file show its kind. No pickle is executed: see `pickles.py`.
"""

import io
import json
import math
import shutil
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..errors import UserError
from . import torch_files
from .pickle_calls import Tensor
from .pickles import load

#: the usual file endings; a file with another ending is read too, when its content is of such a kind
SUFFIXES = (".safetensors", ".npz", ".pdparams", ".pd", ".pth", ".tar", ".pt", ".pkl", ".zip")
#: keys under which training checkpoints hold the weights, the best first
WRAPPERS = ("state_dict_ema", "state_dict", "model_state", "model_ema", "model")
KINDS = "PyTorch's .pth, .pth.tar and .pkl, Paddle's .pdparams, .pd and .pkl, .safetensors and .npz files are read"
FOREIGN = {
    ".caffemodel": "Caffe", ".params": "MXNet", ".pb": "TensorFlow", ".ckpt": "TensorFlow", ".index": "TensorFlow",
    ".h5": "Keras", ".keras": "Keras", ".tflite": "TensorFlow", ".onnx": "ONNX", ".pdiparams": "Paddle inference",
    ".pdmodel": "Paddle inference", ".engine": "TensorRT", ".npy": "single-array",
}  # fmt: skip
SAFETENSORS = {"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}  # and BF16
NAME_TABLE, BIG_TABLE = "StructuredToParameterName@@", "UnpackBigParamInfor@@"
UNPACKED_FREELY, UNPACKED_TIMES = 1 << 28, 50  # an archive may unpack to so many bytes, or so many times its size


@dataclass
class Checkpoint:
    """The weights in a file.

    Attributes:
        arrays: by name. float16 stays float16; bfloat16, which NumPy lacks, becomes float32. Arrays that share memory
            in the file may share it here.
        container: "torch zip", "torch legacy", "Paddle pickle", "safetensors" or "npz"; with " in a zip" after it when
            the file is the only member of a zip archive.
        wrapper: the key of the file's dictionary that holds the weights; None when the weights are the dictionary.
        prefix_stripped: whether every key started with `module.`, which is removed here.
    """

    arrays: dict[str, np.ndarray]
    container: str
    wrapper: str | None = None
    prefix_stripped: bool = False


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint file: `read_checkpoint(path).arrays`."""
    return read_checkpoint(path).arrays


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads the weights in a checkpoint file, and how the file wraps them.

    Args:
        path: a file of PyTorch, Paddle, safetensors or NumPy, with any ending; or a zip archive that holds one file of
            PyTorch or Paddle.

    Raises:
        UserError: no such file, another kind of file, a damaged one, or one that asks for more than weights need.
    """
    path = Path(path)
    with _opened(path, f"weights file {path}") as (stream, size):
        return _read(stream, size, path)


def read_pickle(path: str | Path) -> Any:
    """Reads an object that `paddle.save` wrote: dictionaries, arrays, numbers and text; UserError for anything else.

    A tensor becomes the pair (name, array) that Paddle pickles. Do not walk the object without a limit: a file can make
    it contain itself.
    """
    path = Path(path)
    with _opened(path, path) as (stream, size):
        if (kind := _check_start(stream, size, path)) != "pickle":
            raise _NotWeights(f"is a {kind} file, where a pickle of Paddle's is expected")
        content = load(stream, size)
        _check_end(stream, size)
        return content


@contextmanager
def _opened(path, what):
    """Opens a file, as (stream, size in bytes), and turns every error of reading it into one line that names it."""
    if not path.is_file():
        raise UserError(f"{what} does not exist")
    try:
        with open(path, "rb") as stream:
            yield stream, path.stat().st_size
    except _NotWeights as error:
        raise UserError(f"{what} {error}") from None
    except UserError as error:  # a clause that starts with "it"
        raise UserError(f"{what} is refused: {error}") from None
    except PermissionError as error:
        raise UserError(f"{what} cannot be opened ({error.strerror}); check who may read it") from error
    except MemoryError as error:
        raise UserError(f"{what} needs more memory than there is ({path.stat().st_size:,} bytes of file)") from error
    except Exception as error:  # a damaged file can raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{what} is damaged or half written ({reason[:300]}); fetch it again") from error


class _NotWeights(UserError):
    """The text continues a sentence that starts with the file's name."""


def _read(stream, size, path, nested=False):
    """The Checkpoint of a stream. `path` only names it."""
    kind = _check_start(stream, size, path)
    if kind == "zip":
        return _read_zip(stream, size, nested)
    if kind == "safetensors":
        if nested:
            raise _NotWeights("is a zip archive with a .safetensors file in it; unpack it first")
        return _checkpoint(_read_safetensors(path, stream), "safetensors")
    content = load(stream, size)
    if type(content) is int and content == torch_files.MAGIC:
        content, array = torch_files.read_legacy(stream, size)
        return _checkpoint(content, "torch legacy", array)
    _check_end(stream, size)
    return _checkpoint(content, "Paddle pickle")


# -- what kind of file


def _check_start(stream, size, path):
    """The kind that the start of a file shows: "zip", "safetensors" or "pickle". Other kinds raise a UserError."""
    start = stream.read(4096)
    stream.seek(0)
    if not size:
        raise _NotWeights("is empty; fetch it again")
    if start[:4] in (b"PK\3\4", b"PK\5\6"):
        return "zip"
    header = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and header < 100_000_000:  # before pickle, since a header's length can look like a pickle
        return "safetensors"
    if start[:1] == b"\x80" and start[1:2] in b"\1\2\3\4\5":
        return "pickle"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        raise _NotWeights(
            "is a web page, not weights: its link leads to a page; open that in a browser and download the file from "
            "it, or use the direct link"
        )
    if text.startswith(b"version https://git-lfs"):
        raise _NotWeights(
            "is a Git LFS pointer, not the file that it stands for; run `git lfs pull` in its repository, or download "
            "the file itself"
        )
    if start[257:262] == b"ustar":
        raise _NotWeights(
            "is a tar archive, as PyTorch wrote before 0.1.10, or a packed folder; unpack it, or save it again with a "
            "newer PyTorch"
        )
    if start[:2] == b"\x1f\x8b":
        raise _NotWeights("is compressed with gzip; unpack it first")
    suffix = path.suffix.lower()
    if suffix in (".pdparams", ".pdopt", ".pdema", ".pd", ".pth", ".tar", ".pt", ".pkl") and start[:1] in b"c(]}i":
        return "pickle"  # of protocol 0: the machine refuses it, and says what it asks for
    if suffix == ".safetensors" and size < 8:
        raise EOFError("it ends early")
    foreign = FOREIGN.get(suffix) or _foreign(start)
    if foreign:
        raise _NotWeights(f"is a {foreign} file, which is not a kind that is read; {KINDS}")
    raise _NotWeights(f"is not of a kind that is read, or is damaged; {KINDS}; fetch it again")


def _foreign(start):
    """Whose files start like this, or None."""
    known = {b"\x93NUMPY": "single-array .npy", b"\x89HDF": "Keras (HDF5)", b"\x12\x01\0\0\0\0\0\0": "MXNet"}
    return next((name for magic, name in known.items() if start.startswith(magic)), None)


def _check_end(stream, size):
    if stream.tell() != size:
        raise ValueError(f"it goes on for {size - stream.tell()} bytes after its end")


# -- containers


def _read_safetensors(path, stream):
    from safetensors import safe_open

    arrays, rounded = {}, []
    with safe_open(path, framework="np") as file:  # this checks the header
        for key in file.keys():  # noqa: SIM118 (not a dictionary)
            kind = file.get_slice(key).get_dtype()
            if kind == "BF16":
                rounded.append(key)
            elif kind in SAFETENSORS:
                arrays[key] = file.get_tensor(key)
            else:
                raise UserError(f"it holds numbers of the type {kind} under {_shown(key)}, which is not read")
    if rounded:  # NumPy has no bfloat16, so safetensors cannot return it
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        for key in rounded:
            begin, end = header[key]["data_offsets"]
            stream.seek(8 + length + begin)
            bits = torch_files.fill(stream, end - begin).view("<u2")
            arrays[key] = torch_files.bfloat16_to_float32(bits).reshape(header[key]["shape"])
    return arrays


def _read_zip(stream, size, nested):
    try:
        archive = zipfile.ZipFile(stream)
    except zipfile.BadZipFile:
        raise EOFError("a zip archive without its end") from None
    with archive:
        names = _members(archive, size)
        if any(PurePosixPath(name).name == "data.pkl" for name in names):
            # PyTorch stores members uncompressed. So members that overlap show: their sum exceeds the file.
            if sum(info.file_size for info in names.values()) > size:
                raise UserError("it is a zip archive whose members are more than the file; it is not trusted")
            content, array = torch_files.read_zip(archive, names)
            return _checkpoint(content, "torch zip", array)
        if sum(info.file_size for info in names.values()) > max(UNPACKED_FREELY, UNPACKED_TIMES * size):
            raise UserError(f"it is a zip bomb: {size} bytes that unpack to more than {UNPACKED_TIMES} times as much")
        if all(name.endswith(".npy") for name in names):
            return _checkpoint({name[:-4]: _read_npy(archive, name) for name in names}, "npz")
        inner = PurePosixPath(next(iter(names)))
        if len(names) > 1 or inner.suffix.lower() not in SUFFIXES or nested:
            raise _NotWeights(
                f"is a zip archive of {len(names)} files ({', '.join(map(ascii, list(names)[:3]))}); one file of "
                f"weights in it, or arrays, or what PyTorch saves can be read"
            )
        (info,) = names.values()
        with archive.open(info) as member:
            shutil.copyfileobj(member, content := io.BytesIO(), torch_files.CHUNK)  # read() would need twice the memory
    content.seek(0)
    found = _read(content, info.file_size, inner, nested=True)
    found.container += " in a zip"
    return found


def _members(archive, size):
    """{name: ZipInfo} of the files of an archive of `size` bytes; UserError for names that no weights have."""
    names = {}
    for info in archive.infolist():
        name = info.orig_filename
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name:
            raise UserError(f"it is a zip archive with a member {_shown(name)}; the file is not trusted")
        if info.compress_size > size:  # zipfile allocates this before it reads
            raise EOFError(f"{_shown(name)} is to have {info.compress_size} bytes, more than the file")
        if info.is_dir():
            continue
        if name in names:
            raise UserError(f"it is a zip archive with two members {_shown(name)}; the file is not trusted")
        names[name] = info
    return names


def _read_npy(archive, name):
    """One array of an .npz, after a check that its header agrees with its size."""
    info = archive.getinfo(name)
    with archive.open(info) as member:
        try:
            version = np.lib.format.read_magic(member)
        except ValueError:
            raise UserError(f"it holds {_shown(name[:-4])}, which is not an array") from None
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{name} is of the .npy version {version}")
        parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = parse(member)
        if dtype.kind not in "biuf":
            raise UserError(f"it holds {dtype.name} under {_shown(name[:-4])}; arrays of plain numbers are read")
        length = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or member.tell() + length != info.file_size:
            raise ValueError(f"{name} does not have the bytes of {shape} {dtype.name}")
        array = torch_files.fill(member, length).view(dtype)
    return array.reshape(shape, order="F" if fortran else "C")


# -- from the object in a file to named arrays


def _checkpoint(content, container, array=None):
    """The Checkpoint of an unpickled object. `array` reads the array of a `Tensor`."""
    if not isinstance(content, dict):
        raise _NotWeights(f"holds a {_kind(content)}, not a dictionary of tensors")
    wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), dict) and content[key]), None)
    weights = _without_tables(content if wrapper is None else content[wrapper])
    arrays = {key: _as_array(key, value, container, array) for key, value in weights.items()}
    if not arrays:
        raise _NotWeights("holds no arrays")
    prefixed = all(key.startswith("module.") and key != "module." for key in arrays)
    if prefixed:
        arrays = {key.removeprefix("module."): value for key, value in arrays.items()}
    return Checkpoint(arrays, container, wrapper, prefixed)


def _as_array(key, value, container, array):
    if not isinstance(key, str):
        raise _NotWeights(f"holds something under {_shown(key)}, which is no name of a tensor")
    match value:
        case Tensor() if array:
            return array(value)
        case (str(), np.ndarray() as value):  # a Paddle tensor with its name
            pass
        case np.ndarray() | np.generic():
            value = np.asarray(value)
        case _:
            raise _NotWeights(f"holds a {_kind(value)} under {_shown(key)}, not an array")
    value = value.astype(value.dtype.newbyteorder("="), copy=False)
    if container == "Paddle pickle" and value.dtype == "uint16":  # Paddle has no uint16, and saves bfloat16 so
        return torch_files.bfloat16_to_float32(value)
    return value


def _kind(value):
    return getattr(value, "text", type(value).__name__)


def _shown(key):
    """A key of a file, fit for one line."""
    return ascii(key[:100] if isinstance(key, str) else key)


def _without_tables(weights):
    """The weights without the additions of `paddle.save`: a table of names, and large arrays cut into slices."""
    weights = {key: value for key, value in weights.items() if key != NAME_TABLE}
    cut = weights.pop(BIG_TABLE, {})
    if not isinstance(cut, dict):
        raise ValueError(f"{BIG_TABLE} is not a table")
    for key, row in cut.items():
        match row:
            case {"OriginShape": list() | tuple() as shape, "slices": [*names]}:
                slices = [weights.pop(name, None) for name in names if isinstance(name, str)]
                if key in weights or len(slices) != len(names) or not all(isinstance(s, np.ndarray) for s in slices):
                    raise ValueError(f"the slices of {_shown(key)} are not there")
                whole = np.concatenate(slices)
                if whole.ndim != 1 or len({s.dtype for s in slices}) != 1:
                    raise ValueError(f"the slices of {_shown(key)} are not of one kind")
                weights[key] = whole.reshape(shape)
            case _:
                raise ValueError(f"{BIG_TABLE} does not say what {_shown(key)} is cut into")
    return weights
