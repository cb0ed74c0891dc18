"""What a pickle of weights may name and call, and the data that each call makes.

`pickles.py` runs the opcodes and asks here for every name. Nothing in this file imports or calls what a file names:
`CALLS` maps each allowed name to a function below, which checks the arguments and returns plain data.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from ..errors import UserError

MAX_DIMENSIONS = 32
NUMBERS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
STORAGES = {
    "torch.DoubleStorage": "f8", "torch.FloatStorage": "f4", "torch.HalfStorage": "f2", "torch.BFloat16Storage": "bf16",
    "torch.LongStorage": "i8", "torch.IntStorage": "i4", "torch.ShortStorage": "i2", "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1", "torch.BoolStorage": "b1",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that a pickle names. It is never imported."""

    text: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """An object of a training run, such as its command-line arguments. Its content is dropped."""

    text: str


@dataclass(slots=True)
class Dtype:
    """A NumPy number type under construction: a pickle sets the byte order after it made the type."""

    code: str
    order: Any = "="  # one of < > | =

    def numpy(self) -> np.dtype:
        """The finished type."""
        return np.dtype(self.code).newbyteorder(self.order)


@dataclass(frozen=True, slots=True)
class Storage:
    """Where PyTorch keeps numbers: `count` numbers from position `start` of the storage `key`, which holds `total`.

    `kind` is a NumPy type code, or "bf16".
    """

    key: str
    kind: str
    total: int
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A PyTorch tensor whose numbers are not read yet: a window into a storage, checked to lie within it.

    Offset and strides count elements.
    """

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple


def allowed_name(module: str, name: str) -> Name:
    """The `Name` of a class or function; UserError when weights never need it."""
    known = f"{_RENAMED.get(module, module)}.{name}"
    if known not in _KNOWN:
        raise UserError(f"it asks for {_clean(f'{module}.{name}')}, which no weights need; the file is not trusted")
    return Name(known)


def assign(target: dict, key: object, value: object) -> None:
    """target[key] = value, for keys of a kind that weights have."""
    # Text is hashed with a secret, and small numbers do not collide. Other keys could make a dictionary crawl.
    if type(key) not in (str, int, float) or (type(key) is int and abs(key) >= 1 << 60):
        raise UserError(f"it has a dictionary with a {type(key).__name__} as a key, which no weights have")
    target[key] = value


def set_state(target: Any, state: Any) -> None:
    """Completes an object that a call just made (opcode BUILD), in the ways that real files use."""
    match target, state:
        case Dtype(), (int(), str() as order, None, None, None, *rest) if order in tuple("<>|=") and len(rest) <= 4:
            target.order = order
        case np.ndarray(), (int(), shape, Dtype() as dtype, fortran, bytes() | str() as raw) if _is_shape(shape):
            if target.shape != (0,) or target.dtype != "int8" or not _is_flag(fortran):
                refuse_call("numpy.ndarray.__setstate__")
            raw = raw.encode("latin1") if isinstance(raw, str) else raw
            final = dtype.numpy()
            _array_of(raw, final, shape, fortran)
            target.__setstate__((1, shape, final, bool(fortran), raw))  # takes the bytes as they are, without a copy
        case OrderedDict(), {"_metadata": dict()} if len(state) == 1:  # PyTorch's state dictionaries
            pass
        case Opaque(text="argparse.Namespace"), dict():
            pass
        case _:
            kind = "array" if isinstance(target, np.ndarray) else getattr(target, "text", type(target).__name__)
            raise UserError(f"it sets the state of a {kind} (opcode BUILD) as no weights do; the file is not trusted")


def refuse_call(function: str) -> NoReturn:
    """Raises the UserError for a call with arguments that no real file uses."""
    raise UserError(f"it calls {function} with arguments that no weights have; the file is not trusted")


def _clean(text):
    """Text from a file, fit for one line."""
    return ascii(text[:100])[1:-1]


def _is_flag(value):
    return type(value) in (bool, int) and value in (0, 1)


def _is_shape(shape):
    return (
        isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS
        and all(isinstance(n, int) and 0 <= n < 1 << 62 for n in shape)
    )  # fmt: skip


# -- the calls: each takes the name that the file calls and the arguments, and returns plain data


def _ordered_dict(function, arguments):
    pairs = OrderedDict()
    match arguments:
        case ():
            return pairs
        case (list() as items,):  # as Python 2 wrote it
            for item in items:
                if not isinstance(item, (list, tuple)) or len(item) != 2:
                    refuse_call(function)
                assign(pairs, *item)
            return pairs
    return refuse_call(function)


def _counter(function, arguments):
    match arguments:
        case ():
            return {}
        case (dict() as counts,):
            return dict(counts)
    return refuse_call(function)


def _default_dict(function, arguments):
    plain = all(a is None or (isinstance(a, Name) and a.text == "builtins.dict") for a in arguments)
    return {} if plain else refuse_call(function)


def _tuple(function, arguments):  # Paddle writes a tensor as tuple((name, array))
    match arguments:
        case (tuple() as items,):
            return items
    return refuse_call(function)


def _bytes(function, arguments):  # protocol 2 writes empty bytes so
    return b"" if arguments == () else refuse_call(function)


def _encode(function, arguments):  # protocol 2 writes bytes so
    match arguments:
        case (str() as text, str() as codec) if codec in ("latin1", "latin-1"):
            return text.encode("latin1")
    return refuse_call(function)


def _dtype(function, arguments):
    match arguments:
        case (str() as code, *rest) if code in NUMBERS and len(rest) <= 2 and all(map(_is_flag, rest)):
            return Dtype(code)
        case (str() as code, *_):
            raise UserError(f"it has an array of the type {_clean(code)!r}; arrays of plain numbers are read")
    return refuse_call(function)


def _reconstruct(function, arguments):
    match arguments:
        case (Name("numpy.ndarray"), (int() as size,), str() | bytes() as code) if not size and code in ("b", b"b"):
            return np.empty(0, "int8")
    return refuse_call(function)


def _array_of(raw, dtype, shape, fortran):
    """The array in `raw`, after a check that its length fits the shape."""
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise UserError(f"it has an array whose {len(raw)} bytes do not make {shape} numbers of {dtype.itemsize} bytes")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


def _from_buffer(function, arguments):  # protocol 5 writes an array so
    match arguments:
        case (bytes() | bytearray() as raw, Dtype() as dtype, shape, str() as order) if _is_shape(shape):
            if order not in ("C", "F"):
                refuse_call(function)
            array = _array_of(raw, dtype.numpy(), shape, order == "F")
            return array if array.flags.writeable else array.copy(order="K")
    return refuse_call(function)


def _scalar(function, arguments):
    match arguments:
        case (Dtype() as dtype, bytes() as raw):
            return _array_of(raw, dtype.numpy(), (), False)[()]
    return refuse_call(function)


def _tensor(function, arguments):
    match arguments:
        case (Storage() as storage, int() as offset, shape, strides, *_) if _is_shape(shape) and _is_shape(strides):
            count = math.prod(shape)
            last = offset + sum((n - 1) * step for n, step in zip(shape, strides))
            if len(shape) != len(strides) or offset < 0 or count > storage.count or (count and last >= storage.count):
                raise UserError(f"it has a tensor {shape} that reaches beyond its storage of {storage.count}")
            return Tensor(storage, offset, shape, strides)
    return refuse_call(function)


def _parameter(function, arguments):
    match arguments:
        case (Tensor() as tensor, *_):
            return tensor
    return refuse_call(function)


def _size(function, arguments):
    match arguments:
        case (list() | tuple() as items,) if _is_shape(tuple(items)):
            return tuple(items)
    return refuse_call(function)


def _device(function, arguments):
    known = len(arguments) in (1, 2) and all(type(a) in (str, int) for a in arguments)
    return Opaque(function) if known else refuse_call(function)


#: allowed name -> what a call of it does
CALLS: dict[str, Callable[[str, tuple], object]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _default_dict,
    "collections.Counter": _counter,
    "builtins.tuple": _tuple,
    "builtins.bytes": _bytes,
    "_codecs.encode": _encode,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.Size": _size,
    "torch.device": _device,
}
#: objects of a training run that a file may make and fill; their content is dropped
OPAQUE = {"argparse.Namespace"}
_TYPES = "float64 double float32 float float16 half bfloat16 int64 long int32 int int16 short int8 uint8 bool"
_KNOWN = {*CALLS, *OPAQUE, *STORAGES, "numpy.ndarray", "builtins.dict", *(f"torch.{name}" for name in _TYPES.split())}
_RENAMED = {  # modules that moved with Python 3 and NumPy 2
    "__builtin__": "builtins",
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
}
