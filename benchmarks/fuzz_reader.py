"""Feeds damaged files to the checkpoint reader, which must read each one or raise UserError, in little time and memory.

    python benchmarks/fuzz_reader.py --files 20000 --seed 0

The script changes valid small files of every container at random: it flips bits, cuts off ends, joins pieces of two
files, doubles or removes chunks, swaps pickle opcodes and makes lengths huge. It also changes members inside archives
and packs them again with correct checksums. A child process with limited address space reads the files one after the
other. The exit status is 1 if a file raises anything but UserError, takes more than 5 s, or ends the child. Linux only.
"""

import argparse
import io
import multiprocessing
import pickle
import pickletools
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors.numpy import save as safetensors_bytes
from worker import memory_mib

from densebone import UserError
from densebone.weights.reader import read_checkpoint, read_pickle

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))
import torch_files

MEMORY = 256 << 20  # bytes of address space that the child may use beyond its size at the start
SLOW = 5.0  # seconds
OPCODES = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]
LENGTHS = [struct.pack(f, v) for f in ("<I", "<Q", "<H") for v in (0, 1, 0x7FFF, 0xFFFF)] + [
    b"\xff" * 4, b"\xff" * 8, b"\xff\xff\xff\x7f", struct.pack("<Q", 1 << 40),
]  # fmt: skip
ARRAYS = {
    "module.conv.weight": np.arange(24, dtype="float32").reshape(2, 3, 2, 2),
    "module.norm.bias": np.array([0.5, -2], "float16"),
    "module.norm.steps": np.array(7, "int64"),
    "module.long": np.arange(600, dtype="float32"),
    "module.none": np.zeros((0, 3), "float32"),
}


def genuine(folder):
    """Valid small files of every container, as (name, bytes)."""
    files = []
    shared = torch_files.Storage(np.arange(12, dtype="float32"))
    bits = torch_files.Storage(np.array([0x3F80, 0x4000], "uint16"), "bf16")
    training = {
        "epoch": 3,
        "state_dict": torch_files.state_dict(ARRAYS),
        "model": {"t": torch_files.Tensor(shared, 1, (2, 2), (1, 2)), "b": torch_files.Tensor(bits, 0, (2,), (1,))},
        "args": argparse.Namespace(rate=0.1, names=["a", "b"]),
        "milestones": Counter([3, 5]),
    }
    for label, save in (("zip", torch_files.save_zip), ("legacy", torch_files.save_legacy)):
        for protocol in (2, 4):
            path = save(folder / f"{label}{protocol}.pth", training, protocol=protocol)
            files.append((path.name, path.read_bytes()))
        path = save(folder / f"{label}.pth", torch_files.state_dict(ARRAYS))
        files.append((path.name, path.read_bytes()))
    paddle = {**ARRAYS, "bf": np.array([0x3F80], "uint16"), "t": ("name", np.ones(3)), "f": np.ones((2, 3), order="F")}
    paddle["StructuredToParameterName@@"] = dict.fromkeys(ARRAYS, "name")
    cut = {"w@@.0": np.ones(4), "w@@.1": np.ones(2)}
    cut["UnpackBigParamInfor@@"] = {"w": {"OriginShape": (2, 3), "slices": list(cut)}}
    for protocol in (2, 3, 4, 5):
        files.append((f"paddle{protocol}.pdparams", pickle.dumps(paddle, protocol)))
        files.append((f"cut{protocol}.pdparams", pickle.dumps({"model": cut, "rate": np.float64(0.1)}, protocol)))
    files.append(("w.safetensors", safetensors_bytes(ARRAYS)))
    header = (
        b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
    )
    files.append(("bf16.safetensors", struct.pack("<Q", len(header)) + header + bytes(8)))
    for label, save in (("stored", np.savez), ("packed", np.savez_compressed)):
        stream = io.BytesIO()
        save(stream, **ARRAYS)
        files.append((f"{label}.npz", stream.getvalue()))
    files.append(("w.pth.zip", packed([("w.pth", files[0][1])], zipfile.ZIP_DEFLATED)))
    return files


def packed(members, compression):
    """The bytes of a zip archive of (name, bytes)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def changed(content, other, rng):
    """`content` with one random change, which may insert bytes of `other`."""
    data = bytearray(content)
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice([1, 4, 30, 300]))
    match rng.randrange(8):
        case 0:
            for _ in range(rng.choice([1, 2, 8])):
                if data:
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 1:
            del data[start:]
        case 2:
            data[start:] = other[rng.randrange(len(other) + 1) :]
        case 3:
            data[start:start] = data[start:end] * rng.choice([1, 2, 1000])
        case 4:
            del data[start:end]
        case 5:  # replace by opcodes: most bytes of a pickle's frame are opcodes themselves
            for _ in range(rng.choice([1, 2, 5])):
                if data:
                    data[rng.randrange(len(data))] = rng.choice(OPCODES)[0]
        case 6:
            length = rng.choice(LENGTHS)
            data[start : start + len(length)] = length
        case 7:  # insert opcodes
            data[start:start] = b"".join(rng.choice(OPCODES) for _ in range(rng.choice([1, 3, 10])))
    return bytes(data)


def mutant(files, rng):
    """(name, bytes) of one of the files after one to four random changes."""
    name, content = rng.choice(files)
    other = rng.choice(files)[1]
    for _ in range(rng.choice([1, 1, 2, 4])):
        if zipfile.is_zipfile(io.BytesIO(content)) and rng.random() < 0.7:
            try:
                content = changed_inside(content, other, rng)
            except Exception:  # an earlier change broke the archive
                content = changed(content, other, rng)
        else:
            content = changed(content, other, rng)
    return name, content


def changed_inside(content, other, rng):
    """An archive with one changed member, most often the pickle, and correct checksums."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
        compression = archive.infolist()[0].compress_type
    picked = 0 if rng.random() < 0.6 else rng.randrange(len(members))
    name, data = members[picked]
    if rng.random() < 0.1:
        name = changed(name.encode(), b"../data/9", rng).decode("latin1").replace("\0", "")
    members[picked] = name, changed(data, other, rng)
    return packed(members, compression)


def read_all(count, seed, at, results):
    """Reads changed files, in the child process.

    Args:
        count (int): how many.
        seed (int): decides the changes.
        at (multiprocessing.Value): is set to the number of the file that is being read.
        results (multiprocessing.SimpleQueue): receives (counts of outcomes, (seconds, name) of the slowest file, MiB
            that the peak grew), or a str that tells of the failure.
    """
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    with tempfile.TemporaryDirectory() as folder:
        files = genuine(Path(folder))
        for name, content in files:
            (Path(folder) / name).write_bytes(content)
            read_checkpoint(Path(folder) / name)
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        before, outcomes, slowest = memory_mib("VmHWM"), Counter(), (0.0, "")
        for number in range(count):
            at.value = number
            name, content = mutant(files, random.Random(f"{seed} {number}"))
            path = Path(folder) / name
            path.write_bytes(content)
            start = time.perf_counter()
            for read in (read_checkpoint, read_pickle):
                try:
                    read(path)
                    outcome = "read"
                except UserError as error:
                    outcome = kind_of(str(error))
                except BaseException:
                    results.put(f"file {number} ({name}): {traceback.format_exc()}")
                    return
                if read is read_checkpoint:
                    outcomes[outcome] += 1
            slowest = max(slowest, (time.perf_counter() - start, f"file {number}, {name}"))
        results.put((outcomes, slowest, memory_mib("VmHWM") - before))


def kind_of(message):
    """The kind of a refusal in a few words, for the counts."""
    for words in ("is refused", "damaged or half written", "more memory"):
        if words in message:
            return words
    return "is not weights"


def main(argv=None):
    """Returns the exit status: 1 when a file ended the reader, took too long or took too much memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20000, help="how many files")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same files")
    arguments = parser.parse_args(argv)
    context = multiprocessing.get_context("fork")
    at, results = context.Value("q", -1), context.SimpleQueue()
    start = time.perf_counter()
    child = context.Process(target=read_all, args=(arguments.files, arguments.seed, at, results))
    child.start()
    child.join()
    if child.exitcode or results.empty():
        print(f"the reader ended its process (exit status {child.exitcode}) at file {at.value}")
        return 1
    result = results.get()
    if isinstance(result, str):
        print(result)
        return 1
    outcomes, (slowest, which), memory = result
    print(f"{arguments.files} files, seed {arguments.seed}, {time.perf_counter() - start:.0f} s")
    print(", ".join(f"{count} {words}" for words, count in outcomes.most_common()))
    print(f"slowest {slowest * 1000:.0f} ms ({which}); peak memory {memory:.0f} MiB above the start")
    return 1 if slowest > SLOW or outcomes["more memory"] else 0


if __name__ == "__main__":
    sys.exit(main())
