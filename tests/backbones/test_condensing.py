"""Condensing changes the layers but not the outputs."""

import numpy as np
import paddle
import pytest
import tiny
from paddle import nn
from tiny_condense import arrays, build, counts, pruned, run

import densebone as db
from densebone.backbones.condensed_layers import CondensedGroupConv, CondensedReactivation
from densebone.backbones.condensing import condense_arrays, condense_group_conv, condense_reactivation
from densebone.backbones.freezing import FrozenBatchNorm2D
from densebone.backbones.pruning import LearnedConv, learned_convs

FIRST = "features.denseblock_1.denselayer_1.conv_1"
ALL = (0, 1, 2, 3, 4)


# Channels by hand: 4 in, 4 out, 2 groups.

WEIGHT = np.arange(16, dtype="float32").reshape(4, 4)


def test_condensing_a_group_convolution_by_hand():
    """Rows 0 and 2 keep columns 1 and 3, rows 1 and 3 keep 0 and 3; sorted by group."""
    alive = np.array([[0, 1, 0, 1], [1, 0, 0, 1]], bool)
    index, weight = condense_group_conv(WEIGHT[..., None, None], alive)
    assert (index.tolist(), index.dtype) == ([1, 3, 0, 3], "int64")
    assert weight[..., 0, 0].tolist() == [[1, 3], [9, 11], [4, 7], [12, 15]]
    assert (weight.shape, weight.dtype) == ((4, 2, 1, 1), "float32")


def test_condensing_a_reactivation_by_hand():
    """Columns 0 and 2 feed rows 1 and 3, columns 1 and 3 feed 0 and 3; sorted by group."""
    alive = np.array([[0, 1, 0, 1], [1, 0, 0, 1]], bool)
    index, weight = condense_reactivation(WEIGHT[..., None, None], alive)
    assert (index.tolist(), index.dtype) == ([1, 3, 0, 3], "int64")
    assert weight[..., 0, 0].tolist() == [[4, 6], [12, 14], [1, 3], [13, 15]]
    assert (weight.shape, weight.dtype) == ((4, 2, 1, 1), "float32")


# The network.


@pytest.mark.parametrize(
    "options",
    [{}, {"out_indices": ALL}, {"out_indices": (1, 3), "out_norm": True}, {"freeze_at": 1, "freeze_norm": True}],
    ids=str,
)
def test_condensing_keeps_the_outputs(options):
    learned = pruned(**options)
    before = arrays(learned)
    condensed = db.condense(learned)
    assert type(condensed) is type(learned) and condensed.form == "condensed"
    assert counts(condensed, CondensedGroupConv, CondensedReactivation, LearnedConv) == [
        len(learned_convs(learned)) // 2,
        len(learned_convs(learned)) // 2,
        0,
    ]
    x = tiny.images()
    for expected, got in zip(run(learned, x), run(condensed, x)):
        assert np.abs(got - expected).max() <= 1e-5 * expected.std()
    assert learned.form == "learned" and list(arrays(learned)) == list(before)
    assert tiny.changed(before, learned) == set()


def test_the_copy_shares_nothing_with_the_learned_network():
    learned = pruned()
    condensed = db.condense(learned)
    before = arrays(learned), arrays(condensed)
    tiny.step(condensed, tiny.images())
    assert tiny.changed(before[0], learned) == set() != tiny.changed(before[1], condensed)
    before = arrays(learned), arrays(condensed)
    tiny.step(learned, tiny.images())
    assert tiny.changed(before[1], condensed) == set() != tiny.changed(before[0], learned)


def learning(net):
    """Keys of the parameters that learn."""
    return {key for key, p in net.named_parameters() if not p.stop_gradient}


def test_a_condensed_network_learns_on():
    condensed = db.condense(pruned())
    before = arrays(condensed)
    _, gradients = tiny.step(condensed, tiny.images())
    assert set(gradients) == learning(condensed)
    assert tiny.movable(condensed) <= tiny.changed(before, condensed)
    assert not any(key.endswith(".index") for key in tiny.changed(before, condensed))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"freeze_at": 2},
        {"freeze_norm": True},
        {"out_indices": (0, 4), "freeze_at": 4, "out_norm": True},
    ],
    ids=str,
)
def test_what_is_frozen_stays_frozen(options):
    def norms(net):
        return {name for name, layer in net.named_sublayers() if isinstance(layer, FrozenBatchNorm2D)}

    learned = pruned(**options)
    condensed = db.condense(learned)
    assert learning(condensed) == learning(learned)
    assert norms(condensed) == norms(learned)
    assert bool(norms(learned)) == ("freeze_at" in options or "freeze_norm" in options)
    before = arrays(condensed)
    _, gradients = tiny.step(condensed, tiny.images())
    assert set(gradients) == learning(condensed)
    statistics = {key for key in before if key.endswith(("_mean", "_variance"))}
    still = {key for key in statistics if key.rpartition(".")[0] in norms(learned)}
    assert tiny.changed(before, condensed) & statistics == statistics - still


def test_the_mode_is_kept():
    learned = pruned()
    learned.train()
    learned.features.denseblock_1.denselayer_1.conv_1.norm.eval()
    learned.features.denseblock_2.eval()
    condensed = db.condense(learned)
    modes = {name: layer.training for name, layer in learned.named_sublayers() if not isinstance(layer, nn.Conv2D)}
    assert {name: layer.training for name, layer in condensed.named_sublayers() if name in modes} == modes
    assert set(modes.values()) == {True, False}


def test_a_model_that_holds_the_network_is_condensed_whole():
    paddle.seed(0)
    model = nn.Sequential(pruned(), nn.Linear(5, 3))
    condensed = db.condense(model)
    assert type(condensed) is nn.Sequential and (condensed[0].form, model[0].form) == ("condensed", "learned")
    x = tiny.images()
    (expected,), (got,) = run(model, x), run(condensed, x)
    assert np.abs(got - expected).max() <= 1e-5 * expected.std()


@pytest.mark.parametrize("make", [build, tiny.build, nn.Identity])
def test_there_is_nothing_to_condense(make):
    layer = make()
    name = type(layer).__name__
    with pytest.raises(db.UserError, match=f'^there is nothing to condense in this {name}: give a .* form="learned"$'):
        db.condense(layer)


@pytest.mark.parametrize("progress, keeps", [(0, 8), (0.2, 6), (0.49, 4)])
def test_an_unfinished_network_is_refused(progress, keeps):
    learned = pruned(progress=progress)
    message = (
        rf"^not fully pruned: 14 of 14 learned convolutions keep too much \({FIRST} keeps {keeps} of 8 channels in a "
        r"group, 2 wanted\); train on until set_progress has had 0.5 or more$"
    )
    with pytest.raises(db.UserError, match=message):
        db.condense(learned)
    with pytest.raises(db.UserError, match=message):
        condense_arrays(arrays(learned))
    assert learned.form == "learned" and counts(learned, LearnedConv) == [14]


def test_a_single_unfinished_layer_is_named():
    learned = pruned()
    child = learned.features.denseblock_3.denselayer_2.sfr
    child._mask.set_value(paddle.ones_like(child._mask))
    with pytest.raises(
        db.UserError, match=r"1 of 14 .* \(features.denseblock_3.denselayer_2.sfr keeps 24 of 24 .* 6 w"
    ):
        db.condense(learned)


# The arrays of a file.


def same(got, expected):
    """Whether two dicts of arrays agree in keys, types, shapes and numbers."""
    assert set(got) == set(expected)
    for key, value in expected.items():
        assert (got[key].dtype, got[key].shape) == (value.dtype, value.shape), key
        assert np.array_equal(got[key], value), key


@pytest.mark.parametrize("options", [{}, {"out_indices": (2, 3), "out_norm": True}], ids=str)
@pytest.mark.parametrize("prefix", ["", "backbone.", "model.backbone.net."])
def test_condensing_arrays_equals_condensing_the_network(prefix, options):
    learned = pruned(**options)
    expected = {prefix + key: value for key, value in arrays(db.condense(learned)).items()}
    given = {prefix + key: value for key, value in arrays(learned).items()}
    copies = {key: value.copy() for key, value in given.items()}
    got = condense_arrays(given)
    same(got, expected)
    assert list(got) == list(expected)
    same(given, copies)


def test_condensing_arrays_leaves_the_rest_of_a_detector_alone():
    learned = arrays(pruned())
    given = {"head._mean": np.ones(2), **{f"backbone.{key}": value for key, value in learned.items()}, "neck.sfr.w": 1}
    got = condense_arrays(given)
    assert list(got)[:1] + list(got)[-1:] == ["head._mean", "neck.sfr.w"]
    assert got["head._mean"] is given["head._mean"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_condensing_arrays_does_not_depend_on_their_order(seed):
    learned = arrays(pruned())
    keys = np.random.default_rng(seed).permutation(list(learned))
    got = condense_arrays({str(key): learned[key] for key in keys})
    same(got, condense_arrays(learned))


def test_condensed_arrays_load():
    learned = pruned(seed=3)
    net = build(seed=4)
    assert db.load_weights(net, condense_arrays(arrays(learned))).complete
    net.eval()
    x = tiny.images()
    (expected,), (got,) = run(learned, x), run(net, x)
    assert np.abs(got - expected).max() <= 1e-5 * expected.std()


@pytest.mark.parametrize(
    "make", [dict, lambda: arrays(build()), lambda: arrays(tiny.build())], ids=["none", "condensed", "HarDNet"]
)
def test_arrays_without_anything_to_condense(make):
    with pytest.raises(db.UserError, match=r"^there is nothing to condense: no tensor is called _mask, as those of "):
        condense_arrays(make())


@pytest.mark.parametrize(
    "missing, named",
    [
        ("conv_1.conv.weight", "conv_1"),
        ("conv_2.conv.weight", "conv_1"),
        ("conv_1._mask", "sfr"),
        ("sfr.conv.weight", "sfr"),
    ],
)
def test_arrays_that_lack_a_tensor_are_refused(missing, named):
    learned = arrays(pruned())
    layer = "features.denseblock_2.denselayer_1"
    del learned[f"{layer}.{missing}"]
    with pytest.raises(
        db.UserError, match=f"^{layer}.{named} is not a learned convolution of CondenseNetV2: a tensor "
    ):
        condense_arrays(learned)


def test_a_mask_of_something_else_is_refused():
    with pytest.raises(
        db.UserError, match=r"^head is not a learned convolution of CondenseNetV2: a tensor beside its "
    ):
        condense_arrays({**arrays(pruned()), "head._mask": np.ones((2, 2))})


@pytest.mark.parametrize("name", [FIRST, "features.denseblock_5.denselayer_1.sfr"])
def test_a_mask_that_differs_within_a_group_is_refused(name):
    learned = pruned()
    mask = learned_convs(learned)[name]._mask
    changed = mask.numpy()
    changed[0, 0] = 1 - changed[0, 0]
    mask.set_value(changed)
    with pytest.raises(db.UserError, match="its mask differs within a group"):
        db.condense(learned)
    with pytest.raises(db.UserError, match=f"^{name}._mask differs within a group"):
        condense_arrays(arrays(learned))
