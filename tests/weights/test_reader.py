"""Files are read as arrays, or refused in one line; nothing in them is ever executed."""

import pickle
import zipfile

import numpy as np
import paddle
import pytest
from safetensors.numpy import save_file

from densebone import UserError
from densebone.weights.reader import read_arrays

ARRAYS = {
    "a.weight": np.arange(24, dtype="float32").reshape(2, 3, 4),
    "a.bias": np.array([0.5, -2], "float16"),
    "steps": np.array(7, "int64"),
}


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture(params=[".safetensors", ".npz"])
def saved(request, tmp_path):
    path = tmp_path / f"weights{request.param}"
    if request.param == ".npz":
        np.savez(path, **ARRAYS)
    else:
        save_file(ARRAYS, path)
    return path


def test_what_was_written_is_read(saved):
    for path in (saved, str(saved)):
        arrays = read_arrays(path)
        assert set(arrays) == set(ARRAYS)
        for key, value in ARRAYS.items():
            assert arrays[key].dtype == value.dtype and arrays[key].shape == value.shape
            assert np.array_equal(arrays[key], value)


def test_a_compressed_npz_is_read(tmp_path):
    np.savez_compressed(tmp_path / "w.npz", **ARRAYS)
    assert set(read_arrays(tmp_path / "w.npz")) == set(ARRAYS)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(UserError, match=rf"weights{saved.suffix} cannot be read as {saved.suffix} \(.*fetch it again"):
        read_arrays(saved)


def test_a_damaged_npz_is_refused(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, a=np.arange(1000.0))
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="CRC"):
        read_arrays(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"none\.npz does not exist"):
        read_arrays(tmp_path / "none.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(UserError, match=r"folder\.npz does not exist"):
        read_arrays(tmp_path / "folder.npz")


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".pd", ".npy", ""])
def test_other_kinds_are_refused_and_not_opened(tmp_path, suffix):
    path, sprung = tmp_path / f"weights{suffix}", tmp_path / "sprung"
    path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(UserError, match=f"is of kind '{suffix or 'unknown'}'; .safetensors, .npz, .pdparams files"):
        read_arrays(path)
    assert not sprung.exists()


def test_a_file_that_paddle_saved_is_read(tmp_path):
    path = tmp_path / "net.pdparams"
    state = {**paddle.nn.BatchNorm2D(2).state_dict(), "half": paddle.ones([2, 3], "float16")}
    paddle.save(state, str(path))
    arrays = read_arrays(path)
    assert set(arrays) == {"weight", "bias", "_mean", "_variance", "half"}
    for key, value in state.items():
        assert arrays[key].dtype == value.numpy().dtype and np.array_equal(arrays[key], value.numpy())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda trap: trap,
        lambda trap: {"a.weight": trap},
        lambda trap: {"a.weight": np.array([trap], dtype=object)},
    ],
    ids=["alone", "as a value", "in an array"],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pdparams_file_that_asks_for_code_is_refused(tmp_path, wrap, protocol):
    path, sprung = tmp_path / "w.pdparams", tmp_path / "sprung"
    path.write_bytes(pickle.dumps(wrap(Trap(sprung)), protocol=protocol))
    with pytest.raises(UserError, match=r"w\.pdparams is refused: it asks for (_?io|builtins|__builtin__)\.open"):
        read_arrays(path)
    assert not sprung.exists()


@pytest.mark.parametrize("content", [[1], {"a": "text"}, {"epoch": 3}], ids=str)
def test_a_pdparams_file_without_arrays_is_refused(tmp_path, content):
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"w\.pdparams holds a (list|str|int)"):
        read_arrays(tmp_path / "w.pdparams")


def test_a_truncated_pdparams_file_is_refused(tmp_path):
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps(ARRAYS)[:-20])
    with pytest.raises(UserError, match=r"w\.pdparams is damaged or half written"):
        read_arrays(path)


def test_the_trap_works(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung"))).close()
    assert (tmp_path / "sprung").exists()


def test_an_object_array_is_refused_and_not_unpickled(tmp_path):
    sprung = tmp_path / "sprung"
    np.savez(tmp_path / "w.npz", good=np.zeros(2), bad=np.array([Trap(sprung)], dtype=object))
    with pytest.raises(UserError, match=r"cannot be read as .npz .*allow_pickle=False"):
        read_arrays(tmp_path / "w.npz")
    assert not sprung.exists()


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_pickle_under_another_name_is_refused_and_not_unpickled(tmp_path, suffix):
    path, sprung = tmp_path / f"w{suffix}", tmp_path / "sprung"
    path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(UserError, match="cannot be read"):
        read_arrays(path)
    assert not sprung.exists()


def test_a_pickle_inside_an_npz_is_refused_and_not_unpickled(tmp_path):
    sprung = tmp_path / "sprung"
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("weight.npy", pickle.dumps(Trap(sprung)))
    with pytest.raises(UserError, match=r"holds 'weight', which is not an array|cannot be read"):
        read_arrays(tmp_path / "w.npz")
    assert not sprung.exists()


def test_a_single_array_under_the_name_of_an_npz_is_refused(tmp_path):
    with open(tmp_path / "w.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(UserError, match="cannot be read"):
        read_arrays(tmp_path / "w.npz")
