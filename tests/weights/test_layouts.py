"""Each layout is recognised by its keys and converted to ours."""

import numpy as np
import pytest

from densebone import UserError
from densebone.weights.array_conversion import from_pytorch, integer_indices
from densebone.weights.layouts import one_framework, recognise


def pytorch():
    """A convolution, a batch norm and a linear layer as PyTorch names them."""
    return {
        "base.0.conv.weight": np.zeros((4, 3, 3, 3), "float32"),
        "base.0.norm.weight": np.ones(4, "float32"),
        "base.0.norm.bias": np.full(4, 2, "float32"),
        "base.0.norm.running_mean": np.full(4, 3, "float32"),
        "base.0.norm.running_var": np.full(4, 4, "float32"),
        "base.0.norm.num_batches_tracked": np.array(9),
        "base.1.weight": np.arange(20, dtype="float32").reshape(5, 4),
        "base.1.bias": np.zeros(5, "float32"),
    }


def test_pytorch_keys_and_linear_axes():
    theirs = pytorch()
    found = recognise(theirs)
    ours = found.arrays
    assert (found.layout, found.needs, found.foreign) == ("official, PyTorch", {}, "")
    assert list(ours) == [
        "base.0.conv.weight",
        "base.0.norm.weight",
        "base.0.norm.bias",
        "base.0.norm._mean",
        "base.0.norm._variance",
        "base.1.weight",
        "base.1.bias",
    ]
    assert (ours["base.0.norm._mean"] == 3).all() and (ours["base.0.norm._variance"] == 4).all()
    assert ours["base.1.weight"].shape == (4, 5)
    assert ours["base.1.weight"][1, 2] == theirs["base.1.weight"][2, 1]
    assert ours["base.0.conv.weight"] is theirs["base.0.conv.weight"]
    assert list(theirs) == list(pytorch())


def test_a_square_linear_weight_is_turned_too():
    weight = np.arange(9.0).reshape(3, 3)
    assert np.array_equal(from_pytorch({"fc.weight": weight})["fc.weight"], weight.T)


def test_keys_without_a_prefix():
    assert list(from_pytorch({"weight": np.ones(2), "running_mean": np.ones(2)})) == ["weight", "_mean"]


def test_paddle_is_left_as_it_is():
    ours = from_pytorch(pytorch())
    found = recognise(ours)
    assert found.layout == "official, Paddle"
    assert list(found.arrays) == list(ours) and all(found.arrays[key] is ours[key] for key in ours)
    found.arrays.clear()
    assert ours


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"fc.weight": np.ones((2, 3))},
        {"state_dict": np.array(1)},
        {"a.running_mean": np.ones(1), "b._mean": np.ones(1)},
    ],
    ids=["nothing", "no batch norm", "nested", "both"],
)
def test_an_unknown_layout_is_refused(arrays):
    with pytest.raises(UserError, match=rf"layout of these weights is not recognised \({len(arrays)} tensors.*_mean"):
        recognise(arrays)


def test_another_network_is_refused():
    with pytest.raises(UserError, match=r"layout of these weights is not recognised .* known are those of HarDNet"):
        recognise({"layer1.0.conv1.weight": np.ones((1, 1, 1, 1)), "bn1.running_mean": np.ones(1)})


SFR = "features.denseblock_1.denselayer_1.sfr.index"


def converted(index):
    return {SFR: index, "norm._mean": np.ones(1)}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
def test_a_matrix_of_channels_becomes_their_numbers(dtype):
    matrix = np.zeros((4, 4), dtype)
    matrix[np.arange(4), [2, 0, 2, 3]] = 1  # places 0 and 2 both add to channel 2
    for layout in (converted(matrix), {SFR: matrix, "norm.running_mean": np.ones(1)}):
        index = integer_indices(one_framework(layout)[1])[SFR]
        assert index.dtype == np.int64 and index.tolist() == [2, 0, 2, 3]


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "uint16"])
def test_numbers_of_channels_become_integers(dtype):
    index = integer_indices(converted(np.array([3, 0, 1, 0], dtype)))[SFR]
    assert index.dtype == np.int64 and index.tolist() == [3, 0, 1, 0]


@pytest.mark.parametrize(
    "index",
    [
        np.array([0, 4, 1, 2]),
        np.array([0, -1, 1, 2]),
        np.array([0.0, 1.5, 1.0, 2.0]),
        np.array([0.0, np.nan, 1.0, 2.0]),
        np.array(["a", "b"]),
        np.zeros((2, 3)),
    ],
    ids=["too large", "negative", "a half", "nan", "text", "not square"],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_what_numbers_no_channels_is_refused(index):
    with pytest.raises(UserError, match=rf"{SFR} does not hold channel numbers from 0 to {index.size - 1}"):
        integer_indices(converted(index))


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.ones((3, 3)), np.eye(3) * 2, np.full((3, 3), 1 / 3)])
def test_a_matrix_that_names_no_channels_is_refused(matrix):
    with pytest.raises(UserError, match=rf"{SFR} is a matrix whose rows are not all a single 1"):
        integer_indices(converted(matrix))
