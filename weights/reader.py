"""Reading checkpoint files as arrays.

No pickle is ever executed: Paddle's files are pickles, and are read by an unpickler that knows the few names which
arrays and dictionaries need and refuses every other by its name.
"""

import codecs
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np

from ..errors import UserError

READERS = {}


def read_arrays(path):
    """The arrays of a checkpoint file.

    Args:
        path (str | Path): a .safetensors, .npz or .pdparams file.

    Returns:
        dict of str to numpy array.

    Raises:
        UserError: no such file, another kind of file, or a damaged one.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"weights file {path} does not exist")
    if path.suffix not in READERS:
        known = ", ".join(READERS)
        raise UserError(f"weights file {path} is of kind {path.suffix or 'unknown'!r}; {known} files are read")
    try:
        return READERS[path.suffix](path)
    except UserError:
        raise
    except Exception as error:  # whatever the two libraries raise for a damaged file
        reason = " ".join(str(error).split())
        raise UserError(f"weights file {path} cannot be read as {path.suffix} ({reason}); fetch it again") from error


def _read_safetensors(path):
    from safetensors.numpy import load_file

    return load_file(path)


def _read_npz(path):
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    if other := [key for key, value in arrays.items() if not isinstance(value, np.ndarray)]:
        raise UserError(f"weights file {path} holds {other[0]!r}, which is not an array")
    return arrays


class _ArrayUnpickler(pickle.Unpickler):
    """Finds nothing but what arrays, tuples and dictionaries are rebuilt with."""

    allowed = {  # noqa: RUF012
        ("numpy", "dtype"): np.dtype,
        ("numpy", "ndarray"): np.ndarray,
        ("collections", "OrderedDict"): OrderedDict,
        ("builtins", "tuple"): tuple,
        ("_codecs", "encode"): codecs.encode,
        # what NumPy itself names in a pickle, from a module that moved with NumPy 2
        **{(f"numpy.{core}.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0] for core in ("core", "_core")},
        **{(f"numpy.{core}.multiarray", "scalar"): np.float32(0).__reduce__()[0] for core in ("core", "_core")},
    }

    def find_class(self, module, name):
        if (module, name) not in self.allowed:
            raise UserError(f"it asks for {module}.{name}, which no weights need; the file is not trusted")
        return self.allowed[module, name]


def read_pickle(path):
    """The object that `paddle.save` wrote: dictionaries, arrays, numbers and text; UserError for anything else.

    A tensor arrives as (its name, its array), as Paddle pickles it.
    """
    try:
        with open(path, "rb") as stream:
            return _ArrayUnpickler(stream).load()
    except UserError as error:
        raise UserError(f"{path} is refused: {error}") from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is damaged or half written ({reason})") from error


def _read_pdparams(path):
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise UserError(f"weights file {path} holds a {type(content).__name__}, not a dictionary of tensors")
    arrays = {}
    for key, value in content.items():
        value = value[1] if isinstance(value, tuple) and len(value) == 2 else value
        if isinstance(value, np.ndarray):
            arrays[key] = value
        elif key != "StructuredToParameterName@@":
            raise UserError(f"weights file {path} holds a {type(value).__name__} under {key!r}, not an array")
    return arrays


READERS.update({".safetensors": _read_safetensors, ".npz": _read_npz, ".pdparams": _read_pdparams})
