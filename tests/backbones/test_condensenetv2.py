"""CondenseNetV2 against its published figures, and its layers against loops in NumPy."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
import recipe
import tiny
import tiny_condense
from cost import count
from paddle import nn
from tiny_condense import TINY, build, randomise

import densebone as db
from densebone.backbones.condensed_layers import CondensedGroupConv, CondensedReactivation
from densebone.backbones.condensenetv2 import DenseLayer, SqueezeExcitation
from densebone.backbones.variants import CONDENSENETS

# Parameters of the condensed and of the learned form; for one 3x224x224 image in the condensed form, GMACs and millions
# of convolution inputs and outputs (CIO); channels at strides 2..32; name of the reference.
PUBLISHED = {
    "condensenetv2_a": (2038444, 3350244, 0.0431, 4.453, [24, 32, 96, 288, 800], "cdnv2_a"),
    "condensenetv2_b": (3592662, 6311412, 0.1405, 10.222, [24, 72, 216, 600, 1176], "cdnv2_b"),
    "condensenetv2_c": (6177512, 15097752, 0.2958, 24.335, [48, 144, 400, 1040, 2064], "cdnv2_c"),
}


def test_no_variant_is_missing():
    assert list(PUBLISHED) == list(CONDENSENETS)
    assert sorted(PUBLISHED) == db.list_models("condensenetv2*")


def trainable(net):
    return sum(int(p.size) for p in net.parameters() if not p.stop_gradient)


@pytest.mark.parametrize("model", PUBLISHED)
def test_parameters_and_channels_are_the_published_ones(model):
    condensed, learned, _, _, channels, _ = PUBLISHED[model]
    for form, parameters in (("condensed", condensed), ("learned", learned)):
        net = db.create_model(model, form=form)
        assert (net.form, trainable(net)) == (form, parameters)
        assert (net.channels, net.strides) == (channels, [2, 4, 8, 16, 32])


@pytest.mark.parametrize("model", PUBLISHED)
def test_macs_and_cio_of_the_condensed_form_are_the_published_ones(model):
    _, _, gmacs, mcio, _, reference = PUBLISHED[model]
    net = db.create_model(model)
    net.eval()
    macs, cio = count(net, tiny.images((1, 3, 224, 224)))
    assert (round(macs / 1e9, 4), round(cio / 1e6, 3)) == (gmacs, mcio)
    official = next(c for c in recipe.description(f"{reference}_converted")["cost"] if c["input"] == [1, 3, 224, 224])
    assert (macs, cio) == (official["macs"], official["cio"])


# The layers in NumPy, in double precision, channel by channel.


def relu(x):
    return np.maximum(x, 0)


def hard_swish(x):
    return x * np.clip(x + 3, 0, 6) / 6


def activated(norm, x, activation):
    """Batch norm with stored statistics, then activation."""
    mean, variance, weight, bias = (
        getattr(norm, name).numpy().astype("float64")[:, None, None]
        for name in ("_mean", "_variance", "weight", "bias")
    )
    return activation((x - mean) / np.sqrt(variance + 1e-5) * weight + bias)


def group_conv_by_hand(layer, x, activation):
    """Output channel k * groups + g is row k of group g, which reads places g * size + j."""
    index, groups = layer.index.numpy(), layer.groups
    weight = layer.conv.weight.numpy()[:, :, 0, 0].astype("float64")
    places = activated(layer.norm, x[:, index], activation)
    rows, size = weight.shape[0] // groups, weight.shape[1]
    out = np.zeros((x.shape[0], weight.shape[0], *x.shape[2:]))
    for group in range(groups):
        for row in range(rows):
            for j in range(size):
                out[:, row * groups + group] += weight[group * rows + row, j] * places[:, group * size + j]
    return out


def reactivation_by_hand(layer, x, activation):
    """Row k of group g reads channels g, g + groups, ... and is added to the channel that its index names."""
    index, groups = layer.index.numpy(), layer.groups
    weight = layer.conv.weight.numpy()[:, :, 0, 0].astype("float64")
    channels = activated(layer.norm, x, activation)
    rows, size = weight.shape[0] // groups, weight.shape[1]
    out = np.zeros((x.shape[0], weight.shape[0], *x.shape[2:]))
    for group in range(groups):
        for row in range(group * rows, (group + 1) * rows):
            for j in range(size):
                out[:, index[row]] += weight[row, j] * channels[:, j * groups + group]
    return out


@pytest.mark.parametrize("activation, by_hand", [(nn.ReLU(), relu), (nn.Hardswish(), hard_swish)], ids=["relu", "hs"])
@pytest.mark.parametrize(
    "kind, function",
    [(CondensedGroupConv, group_conv_by_hand), (CondensedReactivation, reactivation_by_hand)],
    ids=["lgc", "sfr"],
)
@pytest.mark.parametrize("in_channels, out_channels, groups", [(12, 8, 4), (6, 18, 3), (4, 4, 4)])
def test_a_condensed_layer_by_hand(kind, function, in_channels, out_channels, groups, activation, by_hand):
    paddle.seed(0)
    layer = randomise(kind(in_channels, out_channels, groups, activation), seed=groups)
    index = layer.index.numpy()
    assert len(np.unique(index)) < index.size  # a channel is read or written twice, another never
    layer.eval()
    x = tiny.images((2, in_channels, 3, 5))
    expected = function(layer, x.numpy(), by_hand)
    assert expected.std() > 0.1
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("kind", [CondensedGroupConv, CondensedReactivation])
def test_the_dense_weight_is_the_whole_layer(kind, repeated):
    """For a layer without activation and with an initial batch norm."""
    paddle.seed(0)
    layer = kind(12, 8, 4, nn.Identity())
    places = layer.index.shape
    rng = np.random.default_rng(1)
    layer.index.set_value(rng.integers(0, 3, places) if repeated else rng.permutation(*places))
    layer.eval()
    x = tiny.images((2, 12, 3, 5))
    weight = layer.dense_weight()
    assert weight.shape == (8, 12, 1, 1)
    assert repeated or np.count_nonzero(weight) == 8 * 12 // 4
    expected = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0], x.numpy()) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels, reduction", [(8, 1), (8, 4)])
def test_squeeze_and_excitation_by_hand(channels, reduction):
    paddle.seed(0)
    layer = SqueezeExcitation(channels, reduction)
    first, second = (layer.fc[i].weight.numpy().astype("float64") for i in (0, 2))
    assert first.shape == (channels, channels // reduction) and layer.fc[0].bias is None and layer.fc[2].bias is None
    x = tiny.images((2, channels, 3, 5))
    scale = 1 / (1 + np.exp(-relu(x.numpy().astype("float64").mean((2, 3)) @ first) @ second))
    assert scale.std() > 0.01
    np.testing.assert_allclose(layer(x).numpy(), x.numpy() * scale[..., None, None], rtol=1e-5, atol=1e-6)


def test_a_dense_layer_refreshes_what_it_got_and_appends_what_it_made():
    paddle.seed(0)
    layer = randomise(DenseLayer(8, 4, TINY, "condensed", nn.ReLU(), attention=True))
    layer.eval()
    x = tiny.images((2, 8, 3, 5))
    new = layer.se(layer.conv_2(layer.conv_1(x)))
    out = layer(x).numpy()
    assert np.array_equal(out[:, 8:], new.numpy())
    assert np.array_equal(out[:, :8], (x + layer.sfr(new)).numpy())


@pytest.mark.parametrize("form", ["condensed", "learned"])
def test_activation_and_attention_by_block(form):
    net = build(form)
    for number in range(5):
        for layer in net.stage(number)[1].children():
            kinds = {type(part.activation) for part in (layer.conv_1, layer.conv_2, layer.sfr)}
            assert kinds == {nn.ReLU if number < 2 else nn.Hardswish}
            assert (layer.se is not None) == (number >= 3)
    assert isinstance(net.features.relu_last, nn.ReLU) and isinstance(net.fc_act, nn.Hardswish)


def test_the_head_by_hand():
    net = randomise(build())
    net.eval()
    last = tiny.images((2, tiny_condense.CHANNELS[-1], 2, 3))
    pooled = activated(net.features.norm_last, last.numpy(), relu).mean((2, 3))
    first, second = (net.features.se_last.fc[i].weight.numpy().astype("float64") for i in (0, 2))
    x = pooled / (1 + np.exp(-relu(pooled @ first) @ second))
    x = hard_swish(x @ net.fc.weight.numpy() + net.fc.bias.numpy())
    expected = x @ net.classifier.weight.numpy() + net.classifier.bias.numpy()
    np.testing.assert_allclose(net.head(last).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_condensed_network_starts_with_all_channels_read_once():
    for key, tensor in build().state_dict().items():
        if key.endswith(".index"):
            assert tensor.tolist() == list(range(tensor.size)), key


# Batch norms on the returned maps.


@pytest.mark.parametrize("form", ["condensed", "learned"])
def test_out_norm_normalises_each_map_that_is_returned(form):
    plain = randomise(build(form, out_indices=(1, 3, 4)))
    normed = build(form, out_indices=(1, 3, 4), out_norm=True)
    report = db.load_weights(normed, plain.state_dict())
    leaves = ("weight", "bias", "_mean", "_variance")
    added = [f"out_norms.{i}.0.{leaf}" for i in (1, 3, 4) for leaf in leaves]
    assert [key for key in normed.state_dict() if key not in plain.state_dict()] == added
    assert report.complete and report.added == added and set(normed.added_keys()) == set(added)
    randomise(normed.out_norms, seed=1)
    for net in (plain, normed):
        net.eval()
    x = tiny.images()
    for i, before, after in zip((1, 3, 4), plain(x), normed(x)):
        assert (before.numpy() < 0).any()
        norm = normed.out_norms[str(i)][0]
        np.testing.assert_allclose(after.numpy(), activated(norm, before.numpy(), relu), rtol=1e-4, atol=1e-5)


def test_out_norm_learns_whatever_is_frozen():
    net = build(out_indices=(1, 4), freeze_at=4, freeze_norm=True, out_norm=True)
    before = tiny.snapshot(net)
    _, gradients = tiny.step(net, tiny.images())
    assert set(gradients) == {f"out_norms.{i}.0.{leaf}" for i in (1, 4) for leaf in ("weight", "bias")}
    assert all(gradient.any() for gradient in gradients.values())
    assert tiny.changed(before, net) == set(net.added_keys())


def test_out_norm_of_a_classifier_is_refused():
    with pytest.raises(db.UserError, match=r"^out_norm is for the maps of a backbone; a classifier returns none$"):
        build(out_norm=True)


# Floating-point types.


def test_channel_numbers_stay_integers_when_the_network_changes_its_type():
    net = randomise(build())
    net.eval()
    before = tiny_condense.arrays(net)
    x = tiny.images()
    expected = net(x).numpy()
    net.to(dtype="float64")
    for key, tensor in net.state_dict().items():
        kind = "int64" if key.endswith(".index") else "float64"
        assert tensor.numpy().dtype.name == kind, key
        assert np.array_equal(tensor.numpy(), before[key]), key
    np.testing.assert_allclose(net(x.astype("float64")).numpy(), expected, rtol=1e-4, atol=1e-5)
    net.to(dtype="float32")
    assert np.array_equal(net(x).numpy(), expected)


# What cannot be built or run.


@pytest.mark.parametrize(
    "options, message",
    [
        ({"form": "pruned"}, "^form is 'pruned'; give condensed or learned$"),
        ({"form": None}, "^form is None; give condensed or learned$"),
        (
            {"variant": replace(TINY, layers=(1, 1, 2))},
            r"^layers is \(1, 1, 2\), growth_rates \(4, 4, 8, 8, 8\); give 5 of each$",
        ),
        (
            {"variant": replace(TINY, growth_rates=(4, 4, 8, 8, 8, 8))},
            r"^layers is \(1, 1, 2, 2, 1\), growth_rates \(4, 4, 8, 8, 8, 8\); give 5 of each$",
        ),
        (
            {"variant": replace(TINY, groups=3), "form": "learned"},
            "^groups is 3, which does not divide the 8 channels of a layer with 8 input channels and growth rate 4; ",
        ),
        (
            {"variant": replace(TINY, growth_rates=(4, 4, 6, 8, 8))},
            "^groups is 4, which does not divide the 6 channels of a layer with 16 input channels and growth rate 6; ",
        ),
    ],
)
def test_what_cannot_be_built(options, message):
    with pytest.raises(db.UserError, match=message) as error:
        build(**options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", ["condensed", "learned"])
def test_an_image_below_32_pixels_is_refused(form):
    net = build(form)
    net.eval()
    assert net(tiny.images((1, 3, 32, 32))).shape == [1, 5]
    with pytest.raises(db.UserError, match=r"^input is 64 x 31 pixels; both sides must be 32 or more$"):
        net(tiny.images((1, 3, 64, 31)))


@pytest.mark.parametrize("form", ["condensed", "learned"])
def test_a_first_convolution_that_keeps_the_resolution(form):
    net = build(form, out_indices=(0, 4), stem_stride=1)
    assert net.strides == [1, 16]
    assert [list(x.shape[2:]) for x in net(tiny.images((1, 3, 32, 48)))] == [[32, 48], [2, 3]]
    net, usual = build(form, stem_stride=1), build(form)
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in usual.state_dict().items()}


def test_a_condensed_network_is_not_pruned():
    net = build()
    with pytest.raises(db.UserError, match=r'^this network is condensed, there is nothing left .* form="learned"$'):
        net.set_progress(0.5)
    with pytest.raises(db.UserError, match=r'^this network is condensed and has no lasso_loss; .* form="learned"$'):
        net.lasso_loss()


def test_weights_of_the_other_form_are_refused_with_what_to_do():
    condensed, learned = build(), build("learned")
    with pytest.raises(db.UserError, match='weights of the learned form: build the network with form="learned", or'):
        db.load_weights(condensed, learned.state_dict())
    with pytest.raises(db.UserError, match=r'weights of the condensed form, .*: use form="condensed"$'):
        db.load_weights(learned, condensed.state_dict())
