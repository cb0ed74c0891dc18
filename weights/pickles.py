"""The part of pickle that weights are written with, run by a machine that calls nothing.

Python's unpickler imports what a file names and calls it. This machine knows the opcodes of protocols 2 to 5 and a list
of names; a name becomes a `Name`, and what a file wants called is looked up in a table of functions of this module,
which check their arguments. Every other name, opcode or argument is refused with its name. Lengths are compared with
what is left of the file before anything is allocated, and results are never walked, so a small file stays small.
"""

import math
import pickletools
import struct
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from ..errors import UserError

MAX_STEPS = 2_000_000  # opcodes; a checkpoint of 2000 tensors with its optimizer takes 200,000
MAX_DIMENSIONS = 32
NUMBERS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
STORAGES = {
    "torch.DoubleStorage": "f8", "torch.FloatStorage": "f4", "torch.HalfStorage": "f2", "torch.BFloat16Storage": "bf16",
    "torch.LongStorage": "i8", "torch.IntStorage": "i4", "torch.ShortStorage": "i2", "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1", "torch.BoolStorage": "b1",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that a pickle names; it is not imported."""

    text: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """An object of a training run, such as the command's arguments, whose content is dropped."""

    text: str


@dataclass(slots=True)
class Dtype:
    """A NumPy number type under construction: a pickle gives its byte order afterwards."""

    code: str
    order: str = "="

    def numpy(self):
        return np.dtype(self.code).newbyteorder(self.order)


@dataclass(frozen=True, slots=True)
class Storage:
    """Where PyTorch keeps numbers: `count` of them from number `start` of the storage `key`, which has `total`.

    `kind` is a NumPy code, or bf16.
    """

    key: str
    kind: str
    total: int
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A PyTorch tensor that has not been read: a window, within bounds, of a storage. Strides count elements."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple


def load(stream, size, storage=None):
    """The object of the pickle that starts at the stream's position.

    Args:
        stream: a binary stream with `read`, `readline` and `tell`.
        size (int): bytes of the whole stream.
        storage (function of a tuple): makes the object that a persistent id stands for; None refuses those.

    Returns:
        dictionaries, lists, tuples, numbers, text, bytes and arrays, and the classes above. It may hold itself, or one
        list a great many times: do not walk it without a limit.

    Raises:
        UserError: it asks for something that is refused; the message is a clause that starts with "it".
        Exception: of any other kind, when the pickle is damaged.
    """
    return _Machine(stream, size, storage).run()


class _Machine:
    def __init__(self, stream, size, storage):
        self.stream, self.size, self.storage = stream, size, storage
        self.stack, self.marks, self.memo = [], [], {}
        self.spent = 0

    def run(self):
        for _ in range(MAX_STEPS):
            opcode = self.take(1)
            if opcode == b".":
                return self.pop()
            if opcode in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode])
            elif opcode in _NUMBERS:
                layout = _NUMBERS[opcode]
                self.stack.append(struct.unpack(layout, self.take(struct.calcsize(layout)))[0])
            elif opcode in _SIZED:
                length_bytes, make = _SIZED[opcode]
                self.stack.append(make(self.take(int.from_bytes(self.take(length_bytes), "little"))))
            elif opcode in _ACTIONS:
                _ACTIONS[opcode](self)
            else:
                self.refuse_opcode(opcode)
        raise UserError(f"it has more than {MAX_STEPS:,} steps, which no weights need")

    def take(self, count):
        if count > 1 << 16 and count > self.size - self.stream.tell():
            raise EOFError(f"{count} bytes are announced, and fewer are left")
        content = self.stream.read(count)
        if len(content) < count:
            raise EOFError("it ends early")
        return content

    def line(self):
        content = self.stream.readline(1000)
        if not content.endswith(b"\n"):
            raise ValueError("a line without an end")
        return content[:-1].decode()

    def index(self, count):
        return int.from_bytes(self.take(count), "little")

    def pop(self):
        if not self.stack:
            raise ValueError("an opcode finds nothing to work on")
        return self.stack.pop()

    def pop_mark(self):
        """What was pushed since the last mark."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def top(self, kind):
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise ValueError(f"an opcode does not find the {kind.__name__} that it fills")
        return self.stack[-1]

    def refuse_opcode(self, opcode):
        if opcode == b"i":  # INST: a class and its call at once
            self.name(self.line(), self.line())
        known = pickletools.code2op.get(opcode.decode("latin1"))
        if known is None:
            raise ValueError(f"byte {opcode[0]:#04x} is no opcode")
        raise UserError(f"it uses the pickle opcode {known.name}, which neither Paddle nor PyTorch writes")

    # -- names and what may be done with them

    def name(self, module, name):
        known = f"{_RENAMED.get(module, module)}.{name}"
        if known not in _KNOWN:
            raise UserError(f"it asks for {_clean(f'{module}.{name}')}, which no weights need; the file is not trusted")
        return Name(known)

    def global_(self):
        self.stack.append(self.name(self.line(), self.line()))

    def stack_global(self):
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a name that is not text")
        self.stack.append(self.name(module, name))

    def reduce(self):
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise UserError(f"it calls a {type(function).__name__}, which no weights need; the file is not trusted")
        if function.text not in _CALLS:
            raise UserError(f"it calls {function.text}, which no weights need; the file is not trusted")
        self.charge(function.text, arguments)
        self.stack.append(_CALLS[function.text](function.text, arguments))

    def new_object(self):
        arguments, kind = self.pop(), self.pop()
        text = kind.text if isinstance(kind, Name) else type(kind).__name__
        if text not in _OPAQUE or not isinstance(arguments, tuple) or arguments:
            raise UserError(f"it makes a {text} in a way that no weights need; the file is not trusted")
        self.stack.append(Opaque(text))

    def build(self):
        state = self.pop()
        if isinstance(state, tuple):
            self.charge("__setstate__", state)
        _build(self.top(object), state)

    def charge(self, function, arguments):
        """Refuses a file that has the same long text, bytes or list copied again and again."""
        if len(arguments) > 16:
            _refuse(function)
        long = (a for a in arguments if isinstance(a, (str, bytes, bytearray, list, dict)) and len(a) > 1000)
        self.spent += sum(map(len, long))
        if self.spent > 2 * self.size:  # protocol 2 has an array's bytes copied from text, then into the array
            raise UserError(f"it has {function} copy the same data again and again; the file is not trusted")

    def persistent(self):
        identity = self.pop()
        if self.storage is None:
            raise UserError("it refers to data outside itself (a persistent id), which only PyTorch's files do")
        self.stack.append(self.storage(identity))

    # -- containers and the memo

    def mark(self):
        self.marks.append(self.stack)
        self.stack = []

    def pop_one(self):
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def make_tuple(self):
        items = self.pop_mark()
        self.stack.append(tuple(items))

    def short_tuple(self, count):
        if len(self.stack) < count:
            raise ValueError("a tuple of more than there is")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def append(self):
        value = self.pop()
        self.top(list).append(value)

    def appends(self):
        items = self.pop_mark()
        self.top(list).extend(items)

    def set_item(self):
        value, key = self.pop(), self.pop()
        _set(self.top(dict), key, value)

    def set_items(self):
        items = self.pop_mark()
        target = self.top(dict)
        if len(items) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(items[::2], items[1::2]):
            _set(target, key, value)

    def put(self, index):
        if index >= MAX_STEPS:  # Python's own unpickler, which may read the file next, would make room for them all
            raise UserError(f"it remembers something as number {index}, which no weights do; the file is not trusted")
        self.memo[index] = self.top(object)

    def get(self, index):
        if index not in self.memo:
            raise ValueError(f"nothing is remembered as number {index}")
        self.stack.append(self.memo[index])

    def protocol(self):
        if (version := self.index(1)) > 5:
            raise UserError(f"it is pickled with protocol {version}; protocols 2 to 5 are read")


def _clean(text):
    """Text of a file, fit for one line."""
    return ascii(text[:100])[1:-1]


def _refuse(function):
    raise UserError(f"it calls {function} with arguments that no weights have; the file is not trusted")


def _set(target, key, value):
    # text is hashed with a secret, and small numbers do not collide: other keys could make a dictionary crawl
    if type(key) not in (str, int, float) or (type(key) is int and abs(key) >= 1 << 60):
        raise UserError(f"it has a dictionary with a {type(key).__name__} as a key, which no weights have")
    target[key] = value


def _integer(content):
    if len(content) > 255:
        raise UserError("it holds a number of more than 255 bytes, which no weights have")
    return int.from_bytes(content, "little", signed=True)


def _is_flag(value):
    return type(value) in (bool, int) and value in (0, 1)


def _is_shape(shape):
    return (
        isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS
        and all(isinstance(n, int) and 0 <= n < 1 << 62 for n in shape)
    )  # fmt: skip


# -- the calls: each takes the name it is called under and the arguments, and returns plain data


def _ordered_dict(function, arguments):
    pairs = OrderedDict()
    match arguments:
        case ():
            return pairs
        case (list() as items,):  # as Python 2 wrote it
            for item in items:
                if not isinstance(item, (list, tuple)) or len(item) != 2:
                    _refuse(function)
                _set(pairs, *item)
            return pairs
    return _refuse(function)


def _counter(function, arguments):
    match arguments:
        case ():
            return {}
        case (dict() as counts,):
            return dict(counts)
    return _refuse(function)


def _default_dict(function, arguments):
    plain = all(a is None or (isinstance(a, Name) and a.text == "builtins.dict") for a in arguments)
    return {} if plain else _refuse(function)


def _tuple(function, arguments):  # Paddle's tensors: tuple((name, array))
    match arguments:
        case (tuple() as items,):
            return items
    return _refuse(function)


def _bytes(function, arguments):  # how protocol 2 writes no bytes
    return b"" if arguments == () else _refuse(function)


def _encode(function, arguments):  # how protocol 2 writes bytes
    match arguments:
        case (str() as text, str() as codec) if codec in ("latin1", "latin-1"):
            return text.encode("latin1")
    return _refuse(function)


def _dtype(function, arguments):
    match arguments:
        case (str() as code, *rest) if code in NUMBERS and len(rest) <= 2 and all(map(_is_flag, rest)):
            return Dtype(code)
        case (str() as code, *_):
            raise UserError(f"it has an array of the type {_clean(code)!r}; arrays of plain numbers are read")
    return _refuse(function)


def _reconstruct(function, arguments):
    match arguments:
        case (Name("numpy.ndarray"), (int() as size,), str() | bytes() as code) if not size and code in ("b", b"b"):
            return np.empty(0, "int8")
    return _refuse(function)


def _array_of(raw, dtype, shape, fortran):
    """The array of these bytes, after a check that they are as many as it needs."""
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise UserError(f"it has an array whose {len(raw)} bytes do not make {shape} numbers of {dtype.itemsize} bytes")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


def _from_buffer(function, arguments):  # how protocol 5 writes an array
    match arguments:
        case (bytes() | bytearray() as raw, Dtype() as dtype, shape, str() as order) if _is_shape(shape):
            if order not in ("C", "F"):
                _refuse(function)
            array = _array_of(raw, dtype.numpy(), shape, order == "F")
            return array if array.flags.writeable else array.copy(order="K")
    return _refuse(function)


def _scalar(function, arguments):
    match arguments:
        case (Dtype() as dtype, bytes() as raw):
            return _array_of(raw, dtype.numpy(), (), False)[()]
    return _refuse(function)


def _tensor(function, arguments):
    match arguments:
        case (Storage() as storage, int() as offset, shape, strides, *_) if _is_shape(shape) and _is_shape(strides):
            count = math.prod(shape)
            last = offset + sum((n - 1) * step for n, step in zip(shape, strides))
            if len(shape) != len(strides) or offset < 0 or count > storage.count or (count and last >= storage.count):
                raise UserError(f"it has a tensor {shape} that reaches beyond its storage of {storage.count}")
            return Tensor(storage, offset, shape, strides)
    return _refuse(function)


def _parameter(function, arguments):
    match arguments:
        case (Tensor() as tensor, *_):
            return tensor
    return _refuse(function)


def _size(function, arguments):
    match arguments:
        case (list() | tuple() as items,) if _is_shape(tuple(items)):
            return tuple(items)
    return _refuse(function)


def _device(function, arguments):
    known = len(arguments) in (1, 2) and all(type(a) in (str, int) for a in arguments)
    return Opaque(function) if known else _refuse(function)


def _build(target, state):
    """Completes an object that was just made; only those that real files complete so."""
    match target, state:
        case Dtype(), (int(), str() as order, None, None, None, *rest) if order in tuple("<>|=") and len(rest) <= 4:
            target.order = order
        case np.ndarray(), (int(), shape, Dtype() as dtype, fortran, bytes() | str() as raw) if _is_shape(shape):
            if target.shape != (0,) or target.dtype != "int8" or not _is_flag(fortran):
                _refuse("numpy.ndarray.__setstate__")
            raw = raw.encode("latin1") if isinstance(raw, str) else raw
            dtype = dtype.numpy()
            _array_of(raw, dtype, shape, fortran)
            target.__setstate__((1, shape, dtype, bool(fortran), raw))  # takes the bytes as they are, without a copy
        case OrderedDict(), {"_metadata": dict()} if len(state) == 1:  # of PyTorch's state dictionaries
            pass
        case Opaque(text="argparse.Namespace"), dict():
            pass
        case _:
            kind = "array" if isinstance(target, np.ndarray) else getattr(target, "text", type(target).__name__)
            raise UserError(f"it sets the state of a {kind} (opcode BUILD) as no weights do; the file is not trusted")


_CALLS = {
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
_OPAQUE = {"argparse.Namespace"}
_TYPES = "float64 double float32 float float16 half bfloat16 int64 long int32 int int16 short int8 uint8 bool"
_KNOWN = {*_CALLS, *_OPAQUE, *STORAGES, "numpy.ndarray", "builtins.dict", *(f"torch.{name}" for name in _TYPES.split())}

_RENAMED = {  # modules that moved with Python 3 and NumPy 2
    "__builtin__": "builtins",
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
}
_CONSTANTS = {b"N": None, b"\x88": True, b"\x89": False}
_NUMBERS = {b"J": "<i", b"K": "<B", b"M": "<H", b"G": ">d"}
_UTF8 = (lambda content: content.decode("utf-8", "surrogatepass"),)
_LATIN1 = (lambda content: content.decode("latin1"),)  # Python 2's text and bytes; Paddle reads it so too
_SIZED = {
    b"X": (4, *_UTF8), b"\x8c": (1, *_UTF8), b"\x8d": (8, *_UTF8), b"T": (4, *_LATIN1), b"U": (1, *_LATIN1),
    b"B": (4, bytes), b"C": (1, bytes), b"\x8e": (8, bytes), b"\x96": (8, bytearray),
    b"\x8a": (1, _integer), b"\x8b": (4, _integer),
}  # fmt: skip
_ACTIONS = {
    b"\x80": _Machine.protocol,
    b"\x95": lambda m: m.take(8),  # a frame's length: only a hint for buffering
    b"(": _Machine.mark,
    b"0": _Machine.pop_one,
    b"1": _Machine.pop_mark,
    b"2": lambda m: m.stack.append(m.top(object)),
    b"]": lambda m: m.stack.append([]),
    b"}": lambda m: m.stack.append({}),
    b")": lambda m: m.stack.append(()),
    b"t": _Machine.make_tuple,
    b"\x85": lambda m: m.short_tuple(1),
    b"\x86": lambda m: m.short_tuple(2),
    b"\x87": lambda m: m.short_tuple(3),
    b"a": _Machine.append,
    b"e": _Machine.appends,
    b"s": _Machine.set_item,
    b"u": _Machine.set_items,
    b"q": lambda m: m.put(m.index(1)),
    b"r": lambda m: m.put(m.index(4)),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"h": lambda m: m.get(m.index(1)),
    b"j": lambda m: m.get(m.index(4)),
    b"c": _Machine.global_,
    b"\x93": _Machine.stack_global,
    b"R": _Machine.reduce,
    b"\x81": _Machine.new_object,
    b"b": _Machine.build,
    b"Q": _Machine.persistent,
}
