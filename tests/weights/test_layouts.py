"""Each layout is recognised by its keys and turned into ours."""

import numpy as np
import pytest

from densebone import UserError
from densebone.weights.layouts import from_pytorch, to_ours


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
    layout, ours = to_ours(theirs)
    assert layout == "official PyTorch"
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
    layout, again = to_ours(ours)
    assert layout == "Paddle"
    assert list(again) == list(ours) and all(again[key] is ours[key] for key in ours)
    again.clear()
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
        to_ours(arrays)
