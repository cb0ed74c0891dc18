"""The reader tells files apart by their content, and reads them or refuses them in one line. Traps: test_hostile.py."""

import argparse
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import paddle
import pytest
import torch_files
from safetensors.numpy import save_file

from densebone import UserError
from densebone.weights.reader import WRAPPERS, read_arrays, read_checkpoint, read_pickle

ARRAYS = {
    "a.weight": np.arange(24, dtype="float32").reshape(2, 3, 4),
    "a.bias": np.array([0.5, -2], "float16"),
    "steps": np.array(7, "int64"),
    "kept": np.array([True, False]),
    "none": np.zeros((0, 3), "float32"),
    "double": np.array([1e300]),
    "bytes": np.arange(4, dtype="uint8"),
}


def save_pickle(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def save_torch_zip(path, arrays):
    return torch_files.save_zip(path, torch_files.state_dict(arrays))


def save_torch_legacy(path, arrays):
    return torch_files.save_legacy(path, torch_files.state_dict(arrays))


def save_safetensors(path, arrays):
    save_file(arrays, path)
    return path


def save_npz(path, arrays):
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    return path


CONTAINERS = {
    "torch zip": save_torch_zip,
    "torch legacy": save_torch_legacy,
    "Paddle pickle": save_pickle,
    "safetensors": save_safetensors,
    "npz": save_npz,
}


@pytest.fixture(params=CONTAINERS)
def container(request):
    return request.param


def assert_same(arrays, expected=ARRAYS):
    assert list(arrays) == list(expected) or set(arrays) == set(expected)
    for key, value in expected.items():
        assert arrays[key].dtype == value.dtype.newbyteorder("=") and arrays[key].shape == value.shape
        assert np.array_equal(arrays[key], value)


@pytest.mark.parametrize("suffix", [".pth", ".pth.tar", ".pkl", ".pd", ".pdparams", ".npz", ".safetensors", ""])
def test_what_was_written_is_read_whatever_its_ending(tmp_path, container, suffix):
    path = CONTAINERS[container](tmp_path / f"w{suffix}", ARRAYS)
    found = read_checkpoint(path)
    assert_same(found.arrays)
    assert (found.container, found.wrapper, found.prefix_stripped) == (container, None, False)
    assert_same(read_arrays(str(path)))


def test_arrays_can_be_written_to(tmp_path, container):
    for value in read_arrays(CONTAINERS[container](tmp_path / "w", ARRAYS)).values():
        value[...] = 1
        assert (value == 1).all()


def test_a_compressed_npz_is_read(tmp_path):
    np.savez_compressed(tmp_path / "w.npz", **ARRAYS, columns=np.asfortranarray(np.arange(6).reshape(2, 3)))
    assert np.array_equal(read_arrays(tmp_path / "w.npz")["columns"], np.arange(6).reshape(2, 3))


# -- PyTorch


@pytest.mark.parametrize("save", [torch_files.save_zip, torch_files.save_legacy])
@pytest.mark.parametrize("protocol", [2, 4])
def test_views_of_a_storage_and_bfloat16_of_pytorch(tmp_path, save, protocol):
    shared = torch_files.Storage(np.arange(24, dtype="float32"))
    bits = torch_files.Storage(np.array([0x3F80, 0xC020, 0x7F80], "uint16"), "bf16")
    content = {
        "transposed": torch_files.Tensor(shared, 0, (6, 4), (1, 6)),
        "row": torch_files.Tensor(shared, 6, (6,), (1,)),
        "steps": torch_files.Tensor(shared, 1, (2, 2), (12, 3)),
        "parameter": torch_files.Parameter(torch_files.Tensor(shared, 23, (), ())),
        "rounded": torch_files.Tensor(bits, 0, (3,), (1,)),
    }
    arrays = read_arrays(save(tmp_path / "w.pth", content, protocol=protocol))
    whole = np.arange(24, dtype="float32")
    assert np.array_equal(arrays["transposed"], whole.reshape(4, 6).T)
    assert np.array_equal(arrays["row"], whole[6:12])
    assert np.array_equal(arrays["steps"], [[1, 4], [13, 16]])
    assert np.array_equal(arrays["parameter"], np.float32(23)) and arrays["parameter"].shape == ()
    assert arrays["rounded"].dtype == "float32" and arrays["rounded"].tolist() == [1, -2.5, np.inf]
    assert np.shares_memory(arrays["row"], arrays["transposed"])


@pytest.mark.parametrize("save", [torch_files.save_zip, torch_files.save_legacy])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_training_checkpoint_of_pytorch(tmp_path, save, protocol):
    content = {
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, names=["a"]),
        "scheduler": {"milestones": Counter([3, 5, 5]), "rate": np.float64(0.5), "state": defaultdict(dict)},
        "optimizer": {"state": {0: torch_files.tensor(np.ones(3))}, "betas": (0.9, 0.99)},
        "state_dict": torch_files.state_dict(ARRAYS, "module."),
    }
    found = read_checkpoint(save(tmp_path / "w.pth.tar", content, protocol=protocol))
    assert_same(found.arrays)
    assert (found.wrapper, found.prefix_stripped) == ("state_dict", True)


def test_storages_that_are_not_asked_for_are_not_read(tmp_path):
    content = {"state_dict": {"a": torch_files.tensor(np.ones(3))}, "optimizer": torch_files.tensor(np.ones(5))}
    path = torch_files.save_zip(tmp_path / "w.pth", content, members=[("archive/data/1", b"short")])
    assert list(read_arrays(path)) == ["a"]
    path = torch_files.save_zip(tmp_path / "w.pth", content, members=[("archive/data/0", b"short")])
    with pytest.raises(UserError, match=r"w\.pth is damaged or half written \(storage 0 has 5 bytes for 3 numbers"):
        read_arrays(path)


def test_the_byte_order_of_a_torch_zip_is_obeyed(tmp_path):
    swapped = np.arange(3, dtype="<f4").byteswap().tobytes()
    members = [("archive/byteorder", b"big"), ("archive/data/0", swapped)]
    content = {"a": torch_files.tensor(np.arange(3, dtype="float32"))}
    path = torch_files.save_zip(tmp_path / "w.pth", content, members=members)
    assert read_arrays(path)["a"].tolist() == [0, 1, 2]
    path = torch_files.save_zip(tmp_path / "w.pth", content, members=[("archive/byteorder", b"middle")])
    with pytest.raises(UserError, match="its byte order is b'middle'"):
        read_arrays(path)


def test_a_compressed_torch_zip_and_a_program_are_refused(tmp_path):
    content = torch_files.state_dict(ARRAYS)
    path = torch_files.save_zip(tmp_path / "w.pth", content, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match=r"w\.pth is refused: its member 'archive/data\.pkl' is compressed"):
        read_arrays(path)
    path = torch_files.save_zip(tmp_path / "w.pth", content, members=[("archive/constants.pkl", b"")])
    with pytest.raises(UserError, match="it is a TorchScript program, not weights; save the state_dict"):
        read_arrays(path)


@pytest.mark.parametrize("save", [save_torch_zip, save_torch_legacy, save_pickle])
def test_one_file_in_a_zip(tmp_path, save):
    inner = save(tmp_path / "w.pth", ARRAYS)
    with zipfile.ZipFile(tmp_path / "w.pth.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(inner, "folder/w.pth")
    found = read_checkpoint(tmp_path / "w.pth.zip")
    assert_same(found.arrays)
    assert found.container == read_checkpoint(inner).container + " in a zip"


@pytest.mark.parametrize("names", [["a.pth", "b.pth"], ["readme.txt"], ["a.zip"], []])
def test_another_zip_is_refused(tmp_path, names):
    content = torch_files.save_zip(tmp_path / "in.zip", {}).read_bytes()
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as archive:
        archive.writestr("w.pth", content)
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        for name in names:
            archive.write(tmp_path / "inner.zip", name)
    with pytest.raises(UserError, match=r"w\.zip (is a zip archive of \d files|holds no arrays)"):
        read_arrays(tmp_path / "w.zip")


# -- Paddle


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_file_that_paddle_saved_is_read(tmp_path, protocol):
    state = {**paddle.nn.BatchNorm2D(2).state_dict(), "half": paddle.ones([2, 3], "float16"), "no": paddle.ones([0, 3])}
    big = {"weight": paddle.to_tensor(np.arange(3000, dtype="float32").reshape(2, 1500)), "rounded": paddle.ones([2])}
    for name, content in (("plain", {**state, **big}), ("nested", {"model": {**state, **big}, "epoch": 3})):
        content.get("model", content)["rounded"] = paddle.full([2], 2.5, "bfloat16")
        paddle.save(content, str(tmp_path / name), protocol=protocol)
        found = read_checkpoint(tmp_path / name)
        assert (found.container, found.wrapper) == ("Paddle pickle", "model" if name == "nested" else None)
        assert found.arrays["rounded"].dtype == "float32" and found.arrays.pop("rounded").tolist() == [2.5, 2.5]
        assert_same(found.arrays, {key: value.numpy() for key, value in {**state, "weight": big["weight"]}.items()})


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_and_order_of_numpy(tmp_path, protocol):
    arrays = {
        **ARRAYS,
        "columns": np.asfortranarray(np.arange(3000.0).reshape(3, 1000)),
        "big": np.arange(3, dtype=">i4"),
    }
    assert_same(read_arrays(save_pickle(tmp_path / "w.pkl", arrays, protocol)), arrays)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_an_optimizer_that_paddle_saved_is_read(tmp_path, protocol):
    rate = paddle.optimizer.lr.PiecewiseDecay([1, 2], [0.1, 0.01, 0.001])
    net = paddle.nn.Linear(2, 3)
    optimizer = paddle.optimizer.Momentum(rate, parameters=net.parameters())
    net(paddle.ones([1, 2])).sum().backward()
    optimizer.step()
    paddle.save({**optimizer.state_dict(), "master_weights": {"w": net.weight}}, str(tmp_path / "w"), protocol=protocol)
    found = read_pickle(tmp_path / "w")
    assert found["LR_Scheduler"] == rate.state_dict()
    assert np.array_equal(found["master_weights"]["w"][1], net.weight.numpy())


def test_large_arrays_that_paddle_cut_are_put_together(tmp_path):
    table = {"a": {"OriginShape": (2, 3), "slices": ["a@@.0", "a@@.1"]}}
    content = {"b": np.ones(2), "a@@.0": np.arange(4.0), "a@@.1": np.arange(4.0, 6), "UnpackBigParamInfor@@": table}
    arrays = read_arrays(save_pickle(tmp_path / "w.pdparams", content, 2))
    assert_same(arrays, {"b": np.ones(2), "a": np.arange(6.0).reshape(2, 3)})
    for wrong in (
        {**content, "a@@.1": np.ones(3)},
        {**content, "a@@.1": "text"},
        {key: value for key, value in content.items() if key != "a@@.1"},
        {**content, "a": np.ones(1)},
        {**content, "UnpackBigParamInfor@@": {"a": 3}},
        {**content, "UnpackBigParamInfor@@": 3},
    ):
        with pytest.raises(UserError, match=r"w\.pdparams is damaged"):
            read_arrays(save_pickle(tmp_path / "w.pdparams", wrong, 2))


def test_paddle_cuts_as_the_reader_puts_together(tmp_path, monkeypatch):
    from paddle.framework import io_utils

    # 2**30 - 1 bytes are too many for a test: cut after 100 numbers instead
    monkeypatch.setattr(io_utils, "int", lambda value: 100 if value > 1e6 else int(value), raising=False)
    whole = np.arange(250, dtype="float32").reshape(5, 50)
    saved = io_utils._unpack_saved_dict({"w": whole.copy(), "b": np.ones(2)}, 2)
    assert "w@@.2" in saved
    assert_same(read_arrays(save_pickle(tmp_path / "w", saved, 2)), {"w": whole, "b": np.ones(2)})


# -- wrappers and prefixes


def test_the_best_wrapper_is_taken(tmp_path):
    for position, key in enumerate(WRAPPERS):
        content = {name: {"a": np.full(1, i)} for i, name in enumerate(WRAPPERS) if i >= position}
        found = read_checkpoint(save_pickle(tmp_path / "w.pd", {"epoch": 1, **dict(reversed(content.items()))}))
        assert found.wrapper == key and found.arrays["a"] == position


def test_a_wrapper_that_is_empty_or_a_tensor_is_none(tmp_path):
    content = {"state_dict_ema": None, "model_ema": {}, "state_dict": {"a": np.ones(1)}}
    assert read_checkpoint(save_pickle(tmp_path / "w.pd", content)).wrapper == "state_dict"
    found = read_checkpoint(save_pickle(tmp_path / "w.pd", {"model": np.ones(1), "b": np.ones(1)}))
    assert found.wrapper is None and list(found.arrays) == ["model", "b"]


def test_a_prefix_is_stripped_only_when_every_key_has_it(tmp_path, container):
    save = CONTAINERS[container]
    both = read_checkpoint(save(tmp_path / "w", {"module.a": np.ones(1), "module.b": np.ones(1)}))
    assert (sorted(both.arrays), both.prefix_stripped) == (["a", "b"], True)
    for keys in (["module.a", "b"], ["modules.a", "modules.b"], ["module.", "module.b"]):
        kept = read_checkpoint(save(tmp_path / "w", {key: np.ones(1) for key in keys}))
        assert (sorted(kept.arrays), kept.prefix_stripped) == (sorted(keys), False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "holds a list, not a dictionary of tensors"),
        (("name", np.ones(1)), "holds a tuple, not a dictionary of tensors"),
        ({"a": "text"}, "holds a str under 'a', not an array"),
        ({"a": np.ones(1), "epoch": 3}, "holds a int under 'epoch', not an array"),
        ({"epoch": 3, "net": {"a": np.ones(1)}}, "holds a int under 'epoch', not an array"),
        ({"state_dict": {"a": np.ones(1), "lr": 0.1}}, "holds a float under 'lr', not an array"),
        ({"state_dict": {3: np.ones(1)}}, "holds something under 3, which is no name of a tensor"),
        ({"args": argparse.Namespace(a=1)}, "holds a argparse.Namespace under 'args', not an array"),
        ({"StructuredToParameterName@@": {}}, "holds no arrays"),
        ({"a" * 1000: 3}, "holds a int under 'aaaa"),
        (OrderedDict(), "holds no arrays"),
    ],
    ids=str,
)
def test_what_is_not_a_dictionary_of_arrays_is_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=rf"weights file .*w\.pdparams {message}") as error:
        read_arrays(save_pickle(tmp_path / "w.pdparams", content))
    assert len(str(error.value)) < 400 and "\n" not in str(error.value)


# -- other files


@pytest.mark.parametrize("suffix", [".pth", ".pdparams", ".npz", ".safetensors", ".zip", ".html"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; fetch it again"),
        (b"\n <!DOCTYPE html><html>", "is a web page, not weights: .* use the direct link"),
        (b"\xef\xbb\xbf<HTML lang='en'>", "is a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a Git LFS pointer.*git lfs pull"),
        (b"\0" * 257 + b"ustar\0", "is a tar archive, as PyTorch wrote before 0.1.10"),
        (b"\x1f\x8b\x08", "is compressed with gzip"),
        (b"\x93NUMPY\1\0", "is a single-array .npy file, which is not a kind that is read"),
        (b"\x89HDF\r\n\x1a\n", r"is a Keras \(HDF5\) file"),
        (b"\x12\1\0\0\0\0\0\0\0", "is a MXNet file, which is not a kind that is read"),
        (bytes(range(255, 0, -1)), "is not of a kind that is read, or is damaged"),
    ],
    ids=str,
)
def test_other_files_are_told_by_their_content(tmp_path, suffix, content, message):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"weights file .*w\{suffix} {message}"):
        read_arrays(path)
    with pytest.raises(UserError, match=message):
        read_pickle(path)


@pytest.mark.parametrize(("suffix", "whose"), [(".caffemodel", "Caffe"), (".pb", "TensorFlow"), (".onnx", "ONNX")])
def test_files_without_a_mark_are_told_by_their_ending(tmp_path, suffix, whose):
    (tmp_path / f"w{suffix}").write_bytes(b"\n\x05model")
    with pytest.raises(UserError, match=f"is a {whose} file, which is not a kind that is read; PyTorch's"):
        read_arrays(tmp_path / f"w{suffix}")


@pytest.mark.parametrize("kept", [1, 4, 9, 100, 0.5, -300, -20, -1])
def test_a_truncated_file_is_refused(tmp_path, container, kept):
    path = CONTAINERS[container](tmp_path / "w.pth", {**ARRAYS, "b": np.ones(1000)})
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(
        UserError, match=r"w\.pth is (damaged or half written \(.*fetch it again|not of a kind that is)"
    ):
        read_arrays(path)


def test_a_file_that_goes_on_is_refused(tmp_path):
    for save in (save_torch_legacy, save_pickle):
        path = save(tmp_path / "w.pth", ARRAYS)
        path.write_bytes(path.read_bytes() + b"more")
        with pytest.raises(UserError, match=r"is damaged or half written \(it goes on"):
            read_arrays(path)


@pytest.mark.parametrize("save", [save_npz, save_torch_zip])
def test_a_damaged_archive_is_refused(tmp_path, save):
    path = save(tmp_path / "w", {"a": np.arange(1000.0)})
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="CRC"):
        read_arrays(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    for read in (read_arrays, read_pickle):
        with pytest.raises(UserError, match=r"none\.npz does not exist"):
            read(tmp_path / "none.npz")
        with pytest.raises(UserError, match=r"folder\.npz does not exist"):
            read(tmp_path / "folder.npz")


@pytest.mark.parametrize("save", [save_torch_zip, save_npz, save_safetensors])
def test_only_a_pickle_is_read_as_one(tmp_path, save):
    with pytest.raises(UserError, match=r"w is a (zip|safetensors) file, where a pickle of Paddle's is expected"):
        read_pickle(save(tmp_path / "w", ARRAYS))


def test_bfloat16_of_safetensors_is_read(tmp_path):
    header = {
        "a": {"dtype": "BF16", "shape": [2, 1], "data_offsets": [0, 4]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        "c": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [8, 9]},
    }
    content = struct.pack("<HHfB", 0x3F80, 0x4020, 7, 0)
    for kept in (["a", "b"], ["a", "b", "c"]):
        encoded = json.dumps({key: header[key] for key in kept}).encode()
        data = content[: header[kept[-1]]["data_offsets"][1]]
        (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
        if "c" in kept:
            with pytest.raises(UserError, match="it holds numbers of the type F8_E4M3 under 'c', which is not read"):
                read_arrays(tmp_path / "w.safetensors")
        else:
            expected = {"a": np.array([[1], [2.5]], "float32"), "b": np.array([7], "float32")}
            assert_same(read_arrays(tmp_path / "w.safetensors"), expected)


# -- memory

# Not getrusage: its maximum is at least that of the parent process.
MEASURE = """
import re, sys
import densebone.weights.reader as reader
from pathlib import Path
def highest():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
small, large = map(Path, sys.argv[1:])
reader.read_arrays(small)
before = highest()
arrays = reader.read_arrays(large)
assert sum(a.nbytes for a in arrays.values()) == 200_000_000
print((highest() - before) / large.stat().st_size)
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the system does not tell a process's highest memory"
)
@pytest.mark.parametrize("name", [*CONTAINERS, "Paddle pickle 2"])
def test_memory_is_about_twice_the_file(tmp_path, name):
    save = CONTAINERS.get(name, lambda path, arrays: save_pickle(path, arrays, 2))
    small = save(tmp_path / "small", {"a": np.ones(3, "float32")})
    noise = np.random.default_rng(0).standard_normal(5_000_000, "float32")
    large = save(tmp_path / "large", {f"layer{i}.weight": noise + i for i in range(10)})
    run = [sys.executable, "-c", MEASURE, str(small), str(large)]
    growth = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert float(growth) < 2.2
