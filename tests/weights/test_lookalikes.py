"""Equal shapes prove nothing: a look-alike's weights are refused, or loaded with the options that they need."""

import functools
import json

import numpy as np
import paddle
import pytest
import recipe
import tiny

import densebone as db
from densebone.backbones.hardnet import links
from densebone.weights.array_conversion import from_pytorch
from densebone.weights.layouts import LAYOUTS, recognise

FOREIGN = {
    "fchardnet70": "FC-HarDNet",
    "paddleseg_hardnet": "PaddleSeg HarDNet",
    "centernet_hardnet85": "CenterNet-HarDNet",
    "paddledetection_hardnet68": "PaddleDetection HarDNet",
    "paddledetection_hardnet85": "PaddleDetection HarDNet",
}


def stored(name):
    return json.loads((recipe.DATA / "layouts" / f"{name}.json").read_text())


def zeros(name):
    """Arrays with the keys and shapes of another network's file."""
    return {key: np.zeros(shape, "float32") for key, shape in stored(name)["state_dict"]}


@pytest.mark.parametrize("name, layout", FOREIGN.items())
def test_relatives_are_recognised(name, layout):
    found = recognise(zeros(name))
    ours = {
        "FC-HarDNet": "fchardnet70", "PaddleSeg HarDNet": "fchardnet70", "CenterNet-HarDNet": "centernet_hardnet85"
    }  # fmt: skip
    assert found.layout == layout and found.model == ours.get(layout)
    assert bool(found.apart) == (layout in ours) and bool(found.foreign) != (layout in ours)


@functools.lru_cache(maxsize=1)  # the test checks that a refusal changes nothing, so it can use one network again
def network(model, out_indices):
    return db.create_backbone(model, out_indices=out_indices) if out_indices else db.create_model(model)


@pytest.mark.parametrize("model", ["hardnet68", "hardnet85"])
@pytest.mark.parametrize("out_indices", [None, (0,), (1, 2)], ids=str)
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", FOREIGN)
def test_relatives_are_refused_whatever_fits(model, name, strict, out_indices):
    net = network(model, out_indices)
    before = tiny.snapshot(net)
    with pytest.raises(db.UserError, match=r"^given arrays holds weights of .*; they are not for this HarDNet$"):
        db.load_weights(net, zeros(name), strict=strict)
    assert tiny.changed(before, net) == set()


def test_an_encoder_of_fchardnet_alone():
    base = {key.removeprefix("base."): value for key, value in zeros("fchardnet70").items() if key.startswith("base.")}
    found = recognise(base)
    assert (found.layout, found.model) == ("FC-HarDNet's encoder", "hardnet70")
    for name in ("hardnet68", "fchardnet70"):
        with pytest.raises(db.UserError, match="holds weights of HarDNet-70, the encoder of FC-HarDNet-70"):
            db.create_model(name, pretrained=base)


def test_paddlesegs_links_are_turned_round_and_nothing_else():
    """Converted PaddleSeg tensors have the authors' shapes, and each layer reads its links in the authors' order."""
    rng = np.random.default_rng(0)
    theirs = {
        key: rng.standard_normal(shape).astype("float32") for key, shape in stored("paddleseg_hardnet")["state_dict"]
    }
    ours = recognise(theirs).arrays
    names = {"running_mean": "_mean", "running_var": "_variance"}
    official = {}
    for key, shape in stored("fchardnet70")["state_dict"]:
        prefix, _, leaf = key.rpartition(".")
        if leaf != "num_batches_tracked":
            official[f"{prefix}.{names.get(leaf, leaf)}"] = tuple(shape)
    official = {
        key: value.shape for key, value in recognise({k: np.zeros(s) for k, s in official.items()}).arrays.items()
    }
    assert {key: value.shape for key, value in ours.items()} == official
    assert np.array_equal(ours["backbone.base.2.conv.weight"], theirs["stem.2._conv.weight"])
    block = "encoder.blks.6.layers"  # its eighth layer reads layers 7, 6, 4 and the input, 18 + 30 + 52 + 96 channels
    assert links(8) == [7, 6, 4, 0]
    given = theirs[f"{block}.7._conv.weight"]
    want = np.concatenate([given[:, 178:], given[:, 148:178], given[:, 96:148], given[:, :96]], 1)
    assert np.array_equal(ours["backbone.base.10.layers.7.conv.weight"], want)
    assert np.array_equal(ours["backbone.base.10.layers.0.conv.weight"], theirs[f"{block}.0._conv.weight"])
    assert np.array_equal(
        ours["decoder.blocks.3.layers.1.conv.weight"][:, :10],
        theirs["decoder.dense_blocks_up.3.layers.1._conv.weight"][:, 63:],
    )


def pytorchcv(model):
    weights, key_map = recipe.weights(model), stored(f"pytorchcv_{model}")["key_map"]
    return {theirs: weights[official] for theirs, official in key_map.items()}


def test_pytorchcvs_activation_must_be_asked_for(model="hardnet68"):
    arrays = pytorchcv(model)
    net = db.create_model(model)
    before = tiny.snapshot(net)
    with pytest.raises(db.UserError, match=r"build yours with block_activation='relu' to load it .it has 'relu6'.$"):
        db.load_weights(net, arrays)
    assert tiny.changed(before, net) == set()
    relu = db.create_model(model, block_activation="relu", pretrained=arrays)
    kinds = [type(layer).__name__ for block in relu.base for layer in block.sublayers() if hasattr(block, "layers")]
    assert "ReLU" in kinds and "ReLU6" not in kinds
    assert tiny.changed(tiny.snapshot(db.create_model(model, pretrained=recipe.weights(model))), relu) == set()


def test_depthwise_variants_have_one_activation():
    with pytest.raises(db.UserError, match=r"^block_activation is 'relu'; here it must be 'relu6'$"):
        db.create_model("hardnet39ds", block_activation="relu")
    with pytest.raises(db.UserError, match=r"^stride_padding is 'after'; here it must be 'both' or 'before' or"):
        db.create_model("hardnet68", stride_padding="after")


def notebook():
    """HarDNet68 under the keys of the `conv_bn` notebook."""
    arrays = {}
    for key, value in from_pytorch(recipe.weights("hardnet68")).items():
        key = key.replace("base.16.3.", "base.19.").replace(".conv.", ".conv_bn.0.").replace(".norm.", ".conv_bn.1.")
        arrays[key] = value
    return arrays


def test_the_notebooks_padding_must_be_asked_for():
    arrays = notebook()
    assert {key: list(v.shape) for key, v in arrays.items()} == dict(stored("notebook_hardnet68")["state_dict"])
    with pytest.raises(db.UserError, match="build yours with stride_padding='before' to load it"):
        db.create_model("hardnet68", pretrained=arrays)
    net = db.create_model("hardnet68", stride_padding="before", pretrained=arrays)
    net.eval()
    for size in ("224x224", "256x320", "235x301"):
        about, official = recipe.outputs("hardnet68", size)
        expected = np.load(recipe.DATA / "layouts" / f"notebook_hardnet68_{size}.npz")["logits"]
        with paddle.no_grad():
            logits = net(paddle.to_tensor(recipe.image(about["input_shape"]))).numpy()
        assert np.abs(logits - expected).max() <= recipe.TOLERANCE * expected.std()
        differs = np.abs(logits - official["logits"]).max() > 0.05 * expected.std()
        assert differs == (size == "235x301")  # the paddings differ where a side is odd


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_can_be_insisted_on(layout):
    weights = tiny.snapshot(tiny.build())
    if layout == "official":
        assert recognise(weights, layout).layout == "official, Paddle"
    else:
        with pytest.raises(db.UserError, match=f"layout of these weights is not of the layout {layout!r}"):
            recognise(weights, layout)
    with pytest.raises(db.UserError, match="there is no layout 'pytorchvc'; the nearest names are pytorchcv"):
        recognise(weights, "pytorchvc")
