"""Folding for an engine changes the layers but not the outputs."""

import numpy as np
import paddle
import pytest
import tiny
import tiny_condense
from paddle import nn
from tiny_condense import arrays, build, counts, pruned, randomise, run

import densebone as db
from densebone.backbones.base import ENGINES
from densebone.backbones.condensed_layers import CondensedGroupConv, CondensedReactivation, NormConv
from densebone.backbones.folding import DENSE_BLOCKS, PickingGroupConv
from densebone.backbones.pruning import LearnedConv

FIRST = "features.denseblock_1.denselayer_1.conv_1"
ALL = (0, 1, 2, 3, 4)


def networks(**options):
    """{name: a tiny network in eval mode}: condensed; learned and pruned; learned and not pruned."""
    learned = pruned(**options)
    dense = randomise(build("learned", **options))
    dense.eval()
    return {"condensed": db.condense(learned), "learned": learned, "unpruned": dense}


def check_deployed(net, engine):
    """Deploys the network. The copy is in eval mode and computes the same; the network itself does not change."""
    before, kinds = arrays(net), [type(layer) for layer in net.sublayers()]
    x = tiny.images()
    expected = run(net, x)
    net.train()
    copy = net.deploy(engine)
    assert copy is not net and type(copy) is type(net)
    assert {layer.training for layer in copy.sublayers(include_self=True)} == {False}
    got = run(copy, x)
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max()
    assert all(layer.training for layer in net.sublayers(include_self=True))
    assert [type(layer) for layer in net.sublayers()] == kinds and tiny.changed(before, net) == set()
    return copy


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [{}, {"out_indices": ALL, "out_norm": True}, {"freeze_norm": True}], ids=str)
@pytest.mark.parametrize("name", ["condensed", "learned", "unpruned"])
def test_deployed_networks_compute_the_same(name, options, engine):
    net = networks(**options)[name]
    copy = check_deployed(net, engine)
    condensed = name == "condensed"
    dense_layers = [sum(1 for _ in net.stage(number)[1].children()) for number in range(5)]
    folded = sum(dense_layers[number] for number in DENSE_BLOCKS.get(engine, ()))
    kind = CondensedGroupConv if engine == "eager" else PickingGroupConv
    group_convs, reactivations, learned = counts(copy, kind, CondensedReactivation, LearnedConv)
    assert group_convs == (sum(dense_layers) - folded if condensed else 0)
    assert reactivations == (sum(dense_layers) if condensed and engine == "eager" else 0)
    assert learned == 0
    grouped = sum(layer._groups > 1 for layer in copy.sublayers() if isinstance(layer, nn.Conv2D))
    assert grouped == (0 if engine == "paddle" else sum(dense_layers) + group_convs + reactivations)


@pytest.mark.parametrize("name", ["weight", "bias", "_mean", "_variance"])
def test_a_layer_whose_places_differ_keeps_its_gather(name):
    net = networks()["condensed"]
    first = net.features.denseblock_3.denselayer_2.conv_1
    index = first.index.numpy()
    place = next(i for i in range(index.size) if (index == index[i]).sum() > 1)
    tensor = getattr(first.norm, name)
    values = tensor.numpy().copy()
    values[place] += 0.25
    tensor.set_value(values)
    copy = check_deployed(net, "paddle")
    kept = [key for key, layer in copy.named_sublayers() if isinstance(layer, PickingGroupConv)]
    assert kept == ["features.denseblock_3.denselayer_2.conv_1"]
    assert isinstance(copy.features.denseblock_3.denselayer_1.conv_1, NormConv)


@pytest.mark.parametrize("engine", ENGINES)
def test_places_that_several_groups_share_are_added(engine):
    """With random indices several groups read or write the same channel, one group twice, or none at all."""
    net = randomise(build(out_indices=ALL))
    net.eval()
    check_deployed(net, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", ["hardnet39ds", "peleenet"])
def test_the_other_families_deploy_as_they_are(model, engine):
    paddle.seed(0)
    net = db.create_backbone(model, out_indices=(1, 2))
    net.eval()
    copy = check_deployed(net, engine)
    x = tiny.images()
    for a, b in zip(run(copy, x), run(db.create_backbone(model, out_indices=(1, 2)).deploy(engine), x)):
        assert a.shape == b.shape and not np.array_equal(a, b)  # the copy has this network's weights


@pytest.mark.parametrize("engine", ["tensorrt", "", None, "Paddle"])
def test_an_unknown_engine_is_refused(engine):
    with pytest.raises(db.UserError, match=f"^engine is {engine!r}; give one of openvino, onnxruntime, paddle, eager$"):
        build().deploy(engine)


def test_every_engine_has_its_row():
    assert {"eager", *DENSE_BLOCKS} == set(ENGINES)


def test_a_deployed_network_in_a_static_graph():
    copy = networks(out_indices=(2, 4))["condensed"].deploy("paddle")
    x = tiny.images()
    expected = run(copy, x)
    spec = paddle.static.InputSpec([None, 3, None, None], "float32")
    for a, b in zip(run(paddle.jit.to_static(copy, input_spec=[spec], full_graph=True), x), expected):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", ["condensed", "learned"])
def test_channels_are_those_of_the_tiny_network(form):
    assert build(form, out_indices=ALL).channels == tiny_condense.CHANNELS


@pytest.mark.parametrize("engine", ENGINES)
def test_a_deployed_network_is_not_deployed_or_condensed_again(engine):
    for net in (build(), pruned()):
        copy = net.deploy(engine)
        with pytest.raises(db.UserError, match=f"this network is a copy for {engine} already; deploy the one"):
            copy.deploy("eager")
        with pytest.raises(db.UserError, match="there is nothing to condense"):
            db.condense(copy)
    with pytest.raises(db.UserError, match=f"this network is a copy for {engine}; prune the one"):
        copy.set_progress(1)


def test_other_floating_types():
    net = pruned()
    net.to(dtype="float64")
    x = tiny.images((1, 3, 64, 64)).astype("float64")
    with paddle.no_grad():
        expected = net(x).numpy()
        small = db.condense(net)
        for copy in (small, *(small.deploy(engine) for engine in ENGINES), net.deploy("paddle")):
            assert {str(p.dtype).split(".")[-1] for p in copy.parameters()} == {"float64"}
            assert np.abs(copy(x).numpy() - expected).max() <= 1e-12 * np.abs(expected).max()
