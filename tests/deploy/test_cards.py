"""Model cards."""

import hashlib
import json

import paddle
import pytest

from densebone.deploy.cards import FILE, model_card, read_card, write_card
from densebone.errors import UserError
from densebone.weights import catalog

RECIPE = catalog.find("hardnet68.official").preprocessing


def _card(tmp_path, **changes):
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    layer = paddle.nn.Sequential(paddle.nn.Linear(3, 2), paddle.nn.BatchNorm1D(2))
    card = model_card("flowers", "hardnet68", layer, tmp_path / "w.safetensors", RECIPE, (-1, 3, 224, 224), ["a", "ä"])
    return {**card, **changes}


def test_a_card_says_what_the_model_is(tmp_path):
    card = _card(tmp_path)
    write_card(card, tmp_path)
    assert json.loads((tmp_path / FILE).read_text())["classes"] == ["a", "ä"]
    read = read_card(tmp_path)
    assert read["preprocessing"] == RECIPE
    assert read["parameters"] == 3 * 2 + 2 + 2 * 2  # weight and bias of both; mean and variance do not count
    assert read["weights"] == {"source": "w.safetensors", "sha256": hashlib.sha256(b"weights").hexdigest()}
    assert (read["paddle"], read["options"], read["task"]) == (paddle.__version__, {}, None)


def test_no_card(tmp_path):
    with pytest.raises(UserError, match=r"holds no model_card\.json"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"preprocessing": {"resize": 3}},
        {"input_shape": [3, 4]},
        {"input_shape": None},
        {"classes": [1, 2]},
        {"name": None},
    ],
)
def test_a_spoilt_card(tmp_path, changes):
    (tmp_path / FILE).write_text(json.dumps(_card(tmp_path) | {"preprocessing": {**vars(RECIPE)}} | changes))
    with pytest.raises(UserError, match=r"model_card\.json is no model card .*again"):
        read_card(tmp_path)
    (tmp_path / FILE).write_text("{")
    with pytest.raises(UserError, match="no model card"):
        read_card(tmp_path)
