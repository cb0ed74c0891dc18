"""Hostile files do no harm: nothing in them runs, and the reader refuses them at once and names what they ask for."""

import contextlib
import io
import pickle
import re
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch_files

from densebone import UserError
from densebone.weights import pickle_calls, pickles
from densebone.weights.reader import read_arrays, read_pickle

SECONDS = 5  # a refusal takes milliseconds; this leaves room for a busy machine
BYTES = 256 << 20  # of memory on top of what the process uses; every bomb needs more

# -- pickles, written by hand


def text(content):
    encoded = content.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def data(content):
    return b"B" + struct.pack("<I", len(content)) + content


def number(value):
    encoded = value.to_bytes(16, "little", signed=True)
    return b"\x8a\x10" + encoded


def name(path):
    module, _, attribute = path.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def several(*items):
    return b"(" + b"".join(items) + b"t"


def call(path, *arguments):
    return name(path) + several(*arguments) + b"R"


def table(**items):
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def ordered(**items):
    return call("collections.OrderedDict") + b"(" + b"".join(text(k) + v for k, v in items.items()) + b"u"


def whole(body):
    return b"\x80\x02" + body + b"."


RECONSTRUCT = "numpy.core.multiarray._reconstruct"
FRESH = call(RECONSTRUCT, name("numpy.ndarray"), several(b"K\0"), data(b"b"))
FLOAT = call("numpy.dtype", text("f4"), b"K\0", b"K\1")
LITTLE = FLOAT + several(b"K\3", text("<"), b"N", b"N", b"N", b"K\0", b"K\0", b"K\0") + b"b"
ENCODE = "_codecs.encode"
LAUGHS = b"](K\1K\1e" + b"".join(
    b"q" + bytes([i]) + b"0](" + (b"h" + bytes([i])) * 10 + b"e" for i in range(40)
)  # 10 ** 40 numbers in 40 lists
DEEP = b"]" * 300_000 + b"a" * 299_999


def array(shape, dtype=LITTLE, raw=b"\0" * 8):
    return FRESH + several(b"K\1", several(*map(number, shape)), dtype, b"\x89", data(raw)) + b"b"


#: hostile values: a function of a command that creates a file, and the words that the refusal must contain
VALUES = {
    "os.system": (lambda do: call("os.system", text(do)), "os.system"),
    "posix.system by stack": (
        lambda do: text("posix") + text("system") + b"\x93" + several(text(do)) + b"R",
        "posix.system",
    ),
    "subprocess": (lambda do: call("subprocess.getoutput", text(do)), "subprocess.getoutput"),
    "eval": (lambda do: call("builtins.eval", text(f"__import__('os').system({do!r})")), "builtins.eval"),
    "exec of Python 2": (lambda do: call("__builtin__.exec", text("import os")), "__builtin__.exec"),
    "eval as Paddle's DenseTensor": (
        lambda do: call("builtins.eval", text("data"), table(data=array([2]))),
        "builtins.eval",
    ),
    "getattr": (lambda do: call("builtins.getattr", name("collections.OrderedDict"), text("mro")), "builtins.getattr"),
    "a dotted name": (
        lambda do: text("collections") + text("OrderedDict.__reduce_ex__.__globals__") + b"\x93",
        "collections.OrderedDict.__reduce_ex__.__globals__",
    ),
    "attrgetter": (lambda do: call("operator.attrgetter", text("system")), "operator.attrgetter"),
    "partial": (lambda do: call("functools.partial", name("os.system"), text(do)), "functools.partial"),
    "a call in a call": (lambda do: call("builtins.tuple", several(call("os.system", text(do)))), "os.system"),
    "as a key": (lambda do: b"}" + call("os.popen", text(do)) + b"Ns", "os.popen"),
    "in an attribute": (lambda do: ordered() + table(_metadata=call("os.system", text(do))) + b"b", "os.system"),
    "as a default": (lambda do: call("collections.defaultdict", name("os.abort")), "os.abort"),
    "a default that is no dictionary": (
        lambda do: call("collections.defaultdict", name("builtins.tuple")),
        "collections.defaultdict",
    ),
    "a model": (lambda do: call("torch.nn.modules.conv.Conv2d", b"K\1"), "torch.nn.modules.conv.Conv2d"),
    "torch.load": (lambda do: call("torch.serialization.load", text("/tmp/x")), "torch.serialization.load"),
    "numpy.load": (lambda do: call("numpy.load", text("x"), b"N", b"\x88"), "numpy.load"),
    "INST": (lambda do: b"(" + text(do) + b"ios\nsystem\n", "os.system"),
    "INST of a name that is known": (lambda do: b"(icollections\nOrderedDict\n", "INST"),
    "OBJ": (lambda do: b"(" + name("os.system") + text(do) + b"o", "os.system"),
    "OBJ of a name that is known": (lambda do: b"(" + name("collections.OrderedDict") + b"o", "OBJ"),
    "EXT1": (lambda do: b"\x82\1", "EXT1"),
    "EXT4": (lambda do: b"\x84\1\0\0\0", "EXT4"),
    "PERSID": (lambda do: b"Pname\n", "PERSID"),
    "NEXT_BUFFER": (lambda do: b"\x97", "NEXT_BUFFER"),
    "NEWOBJ": (lambda do: name("builtins.tuple") + several(several()) + b"\x81", "builtins.tuple"),
    "NEWOBJ_EX": (lambda do: name("argparse.Namespace") + b")}\x92", "NEWOBJ_EX"),
    "NEWOBJ of a number": (lambda do: b"K\1)\x81", "int"),
    "a call of text": (lambda do: text("print") + b")R", "str"),
    "a call of a type": (lambda do: name("numpy.ndarray") + several(several(number(1 << 40))) + b"R", "numpy.ndarray"),
    "BUILD on a function": (lambda do: name(ENCODE) + table(__code__=b"N") + b"b", ENCODE),
    "BUILD on a class": (lambda do: name("collections.OrderedDict") + b"N" + table(get=b"N") + b"\x86b", "OrderedDict"),
    "BUILD that hides a method": (lambda do: ordered() + table(items=name("builtins.tuple")) + b"b", "OrderedDict"),
    "BUILD on a dictionary": (lambda do: b"}" + table(get=b"N") + b"b", "dict"),
    "BUILD with slots": (
        lambda do: name("argparse.Namespace") + b")\x81N" + table(a=b"N") + b"\x86b",
        "argparse.Namespace",
    ),
    "BUILD twice": (lambda do: array([2]) + several(b"K\1", several(b"K\2"), LITTLE, b"\x89", data(b"\0" * 8)) + b"b",
                    "numpy.ndarray.__setstate__"),
    "BUILD with objects": (
        lambda do: FRESH + several(b"K\1", several(b"K\1"), LITTLE, b"\x89", b"]" + call("os.system", text(do)) + b"a")
        + b"b",
        "os.system",
    ),
    "BUILD with a list": (lambda do: FRESH + several(b"K\1", several(b"K\1"), LITTLE, b"\x89", b"]Na") + b"b", "array"),
    "BUILD of fields": (
        lambda do: FLOAT + several(b"K\3", text("<"), b"N", several(text("a")), table(a=b"N"), b"K\0", b"K\0") + b"b",
        "Dtype",
    ),
    "an array of objects": (lambda do: array([1], call("numpy.dtype", text("O8"), b"K\0", b"K\1")), "'O8'"),
    "an array of records": (lambda do: array([1], call("numpy.dtype", text("f4,O"), b"K\0", b"K\1")), "'f4,O'"),
    "a type from a list": (lambda do: call("numpy.dtype", b"]"), "numpy.dtype"),
    "a scalar object": (
        lambda do: call("numpy.core.multiarray.scalar", call("numpy.dtype", text("O")), data(b"")),
        "'O'",
    ),
    "a huge array": (lambda do: call(RECONSTRUCT, name("numpy.ndarray"), several(number(1 << 40)), data(b"b")),
                     RECONSTRUCT),
    "another array class": (lambda do: call(RECONSTRUCT, name("collections.Counter"), several(b"K\0"), data(b"b")),
                            RECONSTRUCT),
    "a huge shape": (lambda do: array([1 << 40]), "8 bytes do not make (1099511627776,)"),
    "a shape that overflows": (lambda do: array([1 << 33, 1 << 33]), "8 bytes do not make"),
    "a negative shape": (lambda do: array([-1, -2]), "array"),
    "a huge buffer": (
        lambda do: call("numpy.core.numeric._frombuffer", data(b"abcd"), LITTLE, several(number(1 << 40)), text("C")),
        "4 bytes do not make",
    ),
    "a codec that runs": (lambda do: call(ENCODE, text("abc"), text("rot13")), ENCODE),
    "a codec that unpacks": (lambda do: call(ENCODE, data(b"x\x9c"), text("zlib")), ENCODE),
    "bytes of a size": (lambda do: call("builtins.bytes", number(1 << 40)), "builtins.bytes"),
    "a bytearray of a size": (lambda do: call("builtins.bytearray", number(1 << 40)), "builtins.bytearray"),
    "a range as a tuple": (lambda do: call("builtins.tuple", call("builtins.range", b"J" * 5)), "builtins.range"),
    "an iterator as pairs": (lambda do: call("collections.OrderedDict", call("itertools.count")), "itertools.count"),
    "a text many times": (
        lambda do: text("a" * 1_000_000) + b"q\0" + name(ENCODE) + b"q\1" + text("latin1") + b"q\x02000"
        + b"h\1h\0h\2\x86R" * 10_000,
        "the same data again and again",
    ),
    "a list many times": (
        lambda do: b"](" + text("a") + b"N\x86q\1" + b"h\1" * 100_000 + b"eq\2" + name("collections.OrderedDict")
        + b"q\x030" + b"h\3h\2\x85R" * 100_000,
        "the same data again and again",
    ),
    "a giant number": (lambda do: b"\x8b" + struct.pack("<I", 100_000) + b"\xff" * 100_000, "more than 255 bytes"),
    "a giant memo": (lambda do: b"]r\xff\xff\xff\xff", "number 4294967295"),
    "keys that collide": (lambda do: b"}(" + b"".join(number(i * (2**61 - 1)) + b"N" for i in range(9)) + b"u", "int"),
    "a key that is deep": (lambda do: b"}" + b")" + b"\x85" * 100_000 + b"Ns", "tuple"),
    "a device that is not": (lambda do: call("torch.device", b"]"), "torch.device"),
    "a size that is not": (lambda do: call("torch.Size", several(b"N")), "torch.Size"),
    "a parameter that is not": (lambda do: call("torch._utils._rebuild_parameter", b"]"), "_rebuild_parameter"),
    "a tensor of nothing": (
        lambda do: call("torch._utils._rebuild_tensor_v2", b"N", b"K\0", b")", b")"),
        "torch._utils._rebuild_tensor_v2",
    ),
    "many arguments": (lambda do: name("builtins.tuple") + several(*[b"N"] * 100) + b"R", "builtins.tuple"),
    "a list of ten to the fortieth": (lambda do: LAUGHS, "holds a list under 'a'"),
    "a list of lists of lists": (lambda do: DEEP, "holds a list under 'a'"),
    "a list in itself": (lambda do: b"]q\0h\0a", "holds a list under 'a'"),
    "a length beyond the file": (lambda do: b"\x8e" + struct.pack("<Q", 1 << 40), "1099511627776 bytes are announced"),
    "a text beyond the file": (lambda do: b"X\xff\xff\xff\x7f", "2147483647 bytes are announced"),
}  # fmt: skip


def plain(path, body):
    path.write_bytes(whole(body))


def in_a_torch_zip(path, body):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", whole(body))


def in_a_legacy_file(path, body):
    head = [torch_files.MAGIC, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in head) + whole(body) + pickle.dumps([], 2))


def in_a_zip(path, body):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.pth", whole(body))


@contextlib.contextmanager
def little_time_and_memory():
    """Fails when its body takes seconds. On Linux, a body that takes much memory raises a MemoryError."""
    resource = pytest.importorskip("resource") if sys.platform == "linux" else None
    if resource:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, before[1]))
    start = time.perf_counter()
    try:
        yield
    finally:
        if resource:
            resource.setrlimit(resource.RLIMIT_AS, before)
    assert time.perf_counter() - start < SECONDS


def assert_refused(read, path, named):
    with little_time_and_memory(), pytest.raises(UserError, match=re.escape(named)) as error:
        read(path)
    message = str(error.value)
    assert str(path) in message and len(message) < 600 and "\n" not in message


@pytest.mark.parametrize("save", [plain, in_a_torch_zip, in_a_legacy_file, in_a_zip])
@pytest.mark.parametrize("value", VALUES)
def test_a_hostile_value_is_refused_by_name(tmp_path, value, save):
    make, named = VALUES[value]
    marker, path = tmp_path / "sprung", tmp_path / "w.pth"
    save(path, table(a=make(f"touch {marker}")))
    assert_refused(read_arrays, path, named)
    if save is plain and "holds a" not in named:
        assert_refused(read_pickle, path, named)
    assert not marker.exists()


@pytest.mark.parametrize("value", ["os.system", "posix.system by stack", "eval", "INST", "OBJ", "a call in a call"])
def test_the_traps_work(tmp_path, value):
    marker = tmp_path / "sprung"
    with contextlib.suppress(TypeError):
        pickle.loads(whole(table(a=VALUES[value][0](f"touch {marker}"))))
    assert marker.exists()


@pytest.mark.parametrize("value", ["a list of ten to the fortieth", "a list of lists of lists", "a list in itself"])
def test_lists_that_are_large_only_when_walked_are_read_and_dropped(tmp_path, value):
    plain(tmp_path / "w.pdopt", table(state=VALUES[value][0]("")))
    with little_time_and_memory():
        assert list(read_pickle(tmp_path / "w.pdopt")) == ["state"]


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda trap: trap,
        lambda trap: {"a.weight": trap},
        lambda trap: {"a.weight": np.array([trap], dtype=object)},
        lambda trap: {"state_dict": {"a": np.ones(2)}, "args": [trap]},
    ],
    ids=["alone", "as a value", "in an array", "beside the weights"],
)
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("suffix", [".pdparams", ".pkl", ".npz", ".safetensors"])
def test_a_trap_of_every_protocol_is_refused(tmp_path, wrap, protocol, suffix):
    path, sprung = tmp_path / f"w{suffix}", tmp_path / "sprung"
    path.write_bytes(pickle.dumps(wrap(Trap(sprung)), protocol=protocol))
    with pytest.raises(UserError) as error:
        read_arrays(path)
    assert not sprung.exists()
    if protocol >= 2:
        assert re.search(r"is refused: it (asks for (_?io|builtins|__builtin__)\.open|has an array of the type 'O8')",
                         str(error.value))  # fmt: skip
    pickle.loads(pickle.dumps(Trap(sprung), protocol)).close()
    assert sprung.exists()


def test_too_many_steps_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MAX_STEPS", 10_000)
    plain(tmp_path / "w.pkl", b"]0" * 5_000 + b"}")
    assert_refused(read_arrays, tmp_path / "w.pkl", "it has more than 10,000 steps")


# -- tensors and storages of PyTorch


def storage(key=b"X\1\0\0\x000", kind="torch.FloatStorage", total=4, first="storage", more=b""):
    return several(text(first), name(kind), key, text("cpu"), number(total), more) + b"Q"


def tensor(shape, strides, offset=0, of=None):
    shape, strides = several(*map(number, shape)), several(*map(number, strides))
    return call("torch._utils._rebuild_tensor_v2", of or storage(), number(offset), shape, strides, b"\x89", b"N")


TENSORS = {
    "beyond the end": (tensor([5], [1]), "reaches beyond its storage of 4"),
    "beyond the end by its offset": (tensor([4], [1], 1), "reaches beyond its storage"),
    "beyond the end by its strides": (tensor([2, 2], [3, 1]), "reaches beyond its storage"),
    "before the start": (tensor([2], [1], -1), "reaches beyond its storage"),
    "backwards": (tensor([2], [-1], 1), "torch._utils._rebuild_tensor_v2"),
    "one number a great many times": (tensor([1 << 40], [0]), "reaches beyond its storage"),
    "of more strides than dimensions": (tensor([1], [1, 1]), "reaches beyond its storage"),
    "of a thousand dimensions": (tensor([1] * 1000, [1] * 1000), "torch._utils._rebuild_tensor_v2"),
    "of a huge storage": (tensor([1], [1], of=storage(total=1 << 40)), "damaged"),
    "of a missing storage": (tensor([1], [1], of=storage(text("../../etc/passwd"))), "damaged"),
    "of a storage of another type": (tensor([1], [1], of=storage(kind="torch.DoubleStorage")), "damaged"),
    "of a type that is none": (tensor([1], [1], of=storage(kind="torch.Size")), "a storage as PyTorch does not"),
    "of a storage class that is unknown": (tensor([1], [1], of=storage(kind="os.system")), "os.system"),
    "of a view beyond its storage": (
        tensor([1], [1], of=storage(more=several(text("v"), b"K\2", b"K\3"))),
        "a storage as PyTorch does not",
    ),
    "of a storage in two ways": (
        several(storage(), storage(kind="torch.IntStorage")),
        "the storage '0' in two ways",
    ),
    "of a source file": (storage(first="module"), "a whole model with its source code"),
    "of a storage that is text": (text("storage") + b"Q", "a storage as PyTorch does not"),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", TENSORS)
def test_a_tensor_that_does_not_fit_its_storage_is_refused(tmp_path, kind, legacy):
    body, named = TENSORS[kind]
    path = tmp_path / "w.pth"
    if legacy:
        in_a_legacy_file(path, table(a=body))
        raw = pickle.dumps(["0"], 2) + struct.pack("<q4f", 4, 1, 2, 3, 4)
        path.write_bytes(path.read_bytes()[: -len(pickle.dumps([], 2))] + raw)
    else:
        in_a_torch_zip(path, table(a=body))
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("archive/data/0", struct.pack("<4f", 1, 2, 3, 4))
    assert_refused(read_arrays, path, named)


@pytest.mark.parametrize("part", range(4))
def test_a_trap_in_any_pickle_of_a_legacy_file(tmp_path, part):
    path, sprung = tmp_path / "w.pth", tmp_path / "sprung"
    parts = [torch_files.MAGIC, 1001, {"little_endian": True}, {"a": 3}, []]
    parts[part] = Trap(sprung)
    path.write_bytes(b"".join(pickle.dumps(content, 2) for content in parts))
    assert_refused(read_arrays, path, "open")
    assert not sprung.exists()


# -- archives


@pytest.mark.parametrize("member", ["../../etc/x", "/etc/x", "a/../../x", "C:/x", "..\\x", "\\x"])
@pytest.mark.parametrize("inside", ["archive/data.pkl", "a.npy", "w.pth"])
def test_a_member_that_leaves_its_folder_is_refused(tmp_path, member, inside):
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr(inside, b"")
        info = zipfile.ZipInfo("a")
        info.filename = member
        archive.writestr(info, b"")
    assert_refused(read_arrays, tmp_path / "w.zip", f"a member {member!a}")
    assert [path.name for path in tmp_path.iterdir()] == ["w.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    assert_refused(read_arrays, tmp_path / "w.pth", "two members 'archive/data.pkl'")


@pytest.mark.parametrize("inside", ["a.npy", "w.pth", "archive/data.pkl"])
def test_a_zip_bomb_is_refused(tmp_path, inside):
    with (
        zipfile.ZipFile(tmp_path / "w.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(inside, "w") as member,
    ):
        for _ in range(300):
            member.write(bytes(1 << 20))
    assert (tmp_path / "w.zip").stat().st_size < 2_000_000
    assert_refused(
        read_arrays, tmp_path / "w.zip", "zip bomb" if inside != "archive/data.pkl" else "more than the file"
    )


def test_members_that_overlap_are_refused(tmp_path):
    content = {f"t{i}": torch_files.tensor(np.ones(1000)) for i in range(20)}
    path = torch_files.save_zip(tmp_path / "w.pth", content)
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename: info for info in archive.infolist()}
    raw = bytearray(path.read_bytes())
    for i in range(20):  # all storages start where the first does, so their sum is many times the file
        for entry in re.finditer(rb"PK\x01\x02", bytes(raw)):
            start = entry.start()
            if raw[start + 46 :].startswith(f"archive/data/{i}".encode()):
                struct.pack_into("<II", raw, start + 20, len(raw) // 2, len(raw) // 2)
                struct.pack_into("<I", raw, start + 42, infos["archive/data/0"].header_offset)
    path.write_bytes(raw)
    assert_refused(read_arrays, path, "whose members are more than the file")


def test_a_member_that_is_larger_than_the_file_is_refused(tmp_path):
    path = torch_files.save_zip(tmp_path / "w.pth", {"a": torch_files.tensor(np.ones(3))})
    raw = bytearray(path.read_bytes())
    struct.pack_into("<I", raw, raw.index(b"PK\x01\x02") + 20, 0xFFFFFF00)
    path.write_bytes(raw)
    assert_refused(read_arrays, path, "'archive/data.pkl' is to have 4294967040 bytes, more than the file")


def npy(header):
    encoded = header.encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(encoded)) + encoded


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}\n"), "a.npy does not have the bytes"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1)}\n") + b"\0" * 4, "a.npy does not have"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n") + b"\x80\2N.", "object under 'a'"),
        (npy("{'descr': '<U4', 'fortran_order': False, 'shape': (1,)}\n") + b"\0" * 16, "str128 under 'a'"),
        (npy("__import__('os').abort()\n"), "damaged"),
        (npy("(" * 60_000), "damaged"),
        (b"\x80\2N.", "holds 'a', which is not an array"),
    ],
    ids=["huge", "negative", "objects", "text", "code", "deep", "pickle"],
)
def test_a_hostile_npz_is_refused(tmp_path, content, named):
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("a.npy", content)
    assert_refused(read_arrays, tmp_path / "w.npz", named)


def test_objects_that_numpy_saved_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", good=np.zeros(2), bad=np.array([Trap(tmp_path / "sprung")], dtype=object))
    assert_refused(read_arrays, tmp_path / "w.npz", "object under 'bad'")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}',
        b'{"a":{"dtype":"BF16","shape":[1099511627776],"data_offsets":[0,8]}}',
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}',
        b'{"a":' + b"[" * 100_000,
    ],
    ids=["huge", "short", "negative", "deep"],
)
def test_a_hostile_safetensors_is_refused(tmp_path, header):
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    assert_refused(read_arrays, tmp_path / "w.safetensors", "damaged")


def test_names_of_the_file_do_not_break_the_line(tmp_path):
    plain(tmp_path / "w.pkl", text("os\n\x1b[2J") + text("a" * 5000) + b"\x93")
    assert_refused(read_arrays, tmp_path / "w.pkl", r"os\n\x1b[2J.aaaa")
    plain(tmp_path / "w.pkl", b"}" + text("a\n\ud7ff" + "b" * 5000) + b"Ns")
    assert_refused(read_arrays, tmp_path / "w.pkl", r"under 'a\n\ud7ffbbb")


def test_the_allow_list_is_what_it_is():
    """Adding a name takes a decision: no call in this list may run code of the file."""
    assert set(pickle_calls.CALLS) == {
        "collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.tuple", "builtins.bytes",
        "_codecs.encode", "numpy.dtype", "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
        "numpy.core.numeric._frombuffer", "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
        "torch.nn.parameter.Parameter", "torch.Size", "torch.device",
    }  # fmt: skip
    for module in (pickles, pickle_calls):
        source = Path(module.__file__).read_text()
        assert not any(word in source for word in ("Unpickler", "pickle.load", "__import__"))


def test_the_machine_reads_what_python_reads():
    """Every opcode that the machine knows, against Python's own unpickler."""
    content = [
        None, True, False, 0, 255, 256, 65536, -1, 1 << 40, -(1 << 100), 0.5, float("inf"), "text", "\ud800", "é" * 300,
        b"", b"bytes", b"b" * 300, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1], list(range(3000)), {}, {"a": 1},
        {str(i): i for i in range(3000)}, {1: 2, 0.5: 3}, [["shared"]] * 3,
    ]  # fmt: skip
    for protocol in (2, 3, 4, 5):
        raw = pickle.dumps(content, protocol)
        assert pickles.load(io.BytesIO(raw), len(raw)) == pickle.loads(raw) == content
    for raw in (b"\x80\x02(K\x01K\x022000](K\x01K\x021K\x05a.", b"\x80\x02U\x02a\xe9.", b"\x80\x02T\x01\0\0\0\xe9."):
        assert pickles.load(io.BytesIO(raw), len(raw)) == pickle.loads(raw, encoding="latin1")


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
def test_damaged_files_of_every_container():
    """A short run of `python benchmarks/fuzz_reader.py --files 20000`."""
    script = Path(__file__).parents[2] / "benchmarks" / "fuzz_reader.py"
    run = subprocess.run([sys.executable, str(script), "--files", "500", "--seed", "7"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.startswith("500 files")
