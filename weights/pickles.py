"""Reads a pickle of weights without executing it.

Python's unpickler imports what a file names and calls it. The machine below knows the opcodes of protocols 2 to 5, and
the names listed in `pickle_calls.py`. It imports none of them: a name becomes a `Name`, and a call of it runs a
function of `pickle_calls.py`, which checks its arguments. The machine refuses every other opcode, name or argument, and
says which. It compares lengths with what is left of the file before it allocates memory, and it never walks a result,
so a small file needs little memory.
"""

import pickletools
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

from ..errors import UserError
from .pickle_calls import CALLS, OPAQUE, Name, Opaque, Storage, allowed_name, assign, refuse_call, set_state

MAX_STEPS = 2_000_000  # opcodes; a checkpoint of 2000 tensors with its optimizer takes 200,000


def load(stream: BinaryIO, size: int, storage: Callable[[Any], Storage] | None = None) -> Any:
    """The object in the pickle that starts at the stream's position.

    Args:
        stream: a binary stream with `read`, `readline` and `tell`.
        size: bytes in the whole stream.
        storage: turns a persistent id into the `Storage` it describes. None refuses persistent ids.

    Returns:
        Dictionaries, lists, tuples, numbers, text, bytes and arrays, and the classes of `pickle_calls.py`. The object
        may contain itself, or the same list a great many times: do not walk it without a limit.

    Raises:
        UserError: the file asks for something that is refused. The message is a clause that starts with "it".
        Exception: any other kind, when the pickle is damaged.
    """
    return _Machine(stream, size, storage).run()


class _Machine:
    """Pickle's stack machine: the stack, the marks that set items apart, and the memo of things to use again."""

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
            allowed_name(self.line(), self.line())
        known = pickletools.code2op.get(opcode.decode("latin1"))
        if known is None:
            raise ValueError(f"byte {opcode[0]:#04x} is no opcode")
        raise UserError(f"it uses the pickle opcode {known.name}, which neither Paddle nor PyTorch writes")

    # -- names and calls

    def global_(self):
        self.stack.append(allowed_name(self.line(), self.line()))

    def stack_global(self):
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a name that is not text")
        self.stack.append(allowed_name(module, name))

    def reduce(self):
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise UserError(f"it calls a {type(function).__name__}, which no weights need; the file is not trusted")
        if function.text not in CALLS:
            raise UserError(f"it calls {function.text}, which no weights need; the file is not trusted")
        self.charge(function.text, arguments)
        self.stack.append(CALLS[function.text](function.text, arguments))

    def new_object(self):
        arguments, kind = self.pop(), self.pop()
        text = kind.text if isinstance(kind, Name) else type(kind).__name__
        if text not in OPAQUE or not isinstance(arguments, tuple) or arguments:
            raise UserError(f"it makes a {text} in a way that no weights need; the file is not trusted")
        self.stack.append(Opaque(text))

    def build(self):
        state = self.pop()
        if isinstance(state, tuple):
            self.charge("__setstate__", state)
        set_state(self.top(object), state)

    def charge(self, function, arguments):
        """Counts the bytes and items that calls copy, and refuses a file that copies the same ones again and again."""
        if len(arguments) > 16:
            refuse_call(function)
        long = (a for a in arguments if isinstance(a, (str, bytes, bytearray, list, dict)) and len(a) > 1000)
        self.spent += sum(map(len, long))
        if self.spent > 2 * self.size:  # protocol 2 copies an array's bytes twice: from text, then into the array
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
        assign(self.top(dict), key, value)

    def set_items(self):
        items = self.pop_mark()
        target = self.top(dict)
        if len(items) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(items[::2], items[1::2]):
            assign(target, key, value)

    def put(self, index):
        if index >= MAX_STEPS:  # Python's unpickler, which may read the file next, would allocate that many places
            raise UserError(f"it remembers something as number {index}, which no weights do; the file is not trusted")
        self.memo[index] = self.top(object)

    def get(self, index):
        if index not in self.memo:
            raise ValueError(f"nothing is remembered as number {index}")
        self.stack.append(self.memo[index])

    def protocol(self):
        if (version := self.index(1)) > 5:
            raise UserError(f"it is pickled with protocol {version}; protocols 2 to 5 are read")


def _integer(content):
    if len(content) > 255:
        raise UserError("it holds a number of more than 255 bytes, which no weights have")
    return int.from_bytes(content, "little", signed=True)


_CONSTANTS = {b"N": None, b"\x88": True, b"\x89": False}
_NUMBERS = {b"J": "<i", b"K": "<B", b"M": "<H", b"G": ">d"}
_UTF8 = (lambda content: content.decode("utf-8", "surrogatepass"),)
_LATIN1 = (lambda content: content.decode("latin1"),)  # text and bytes of Python 2; Paddle decodes them the same way
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
