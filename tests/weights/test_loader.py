"""Loading uses or names every tensor of a checkpoint, and fills the whole network or nothing."""

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
import recipe
import tiny
import tiny_condense
from safetensors.numpy import save_file

from densebone import LoadReport, UserError, create_backbone, create_model, load_weights
from densebone.weights.array_conversion import from_pytorch
from densebone.weights.catalog import find
from densebone.weights.reader import read_arrays

LINEAR = tiny.HEAD + "3.weight"
PYTORCH = {"_mean": "running_mean", "_variance": "running_var"}


@pytest.fixture
def weights():
    """The state dict of a tiny classifier, as arrays, with batch-norm statistics that a step of training changed."""
    net = tiny.build(seed=1)
    tiny.step(net, tiny.images())
    return tiny.snapshot(net)


@pytest.fixture
def net():
    return tiny.build(seed=2)


def as_pytorch(weights):
    """The same weights under the names and axes of the authors' files."""
    theirs = {}
    for key, value in weights.items():
        prefix, _, leaf = key.rpartition(".")
        theirs[f"{prefix}.{PYTORCH.get(leaf, leaf)}"] = value.T.copy() if key == LINEAR else value
        if leaf == "_variance":
            theirs[f"{prefix}.num_batches_tracked"] = np.array(1)
    return theirs


def save(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".pdparams":
        paddle.save({key: paddle.to_tensor(value) for key, value in arrays.items()}, str(path))
    else:
        save_file(arrays, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pdparams"])
@pytest.mark.parametrize("layout", ["official, Paddle", "official, PyTorch"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_in_either_layout_fills_the_network(tmp_path, net, weights, suffix, layout, kind):
    path = save(tmp_path / f"w{suffix}", weights if layout == "official, Paddle" else as_pytorch(weights))
    report = load_weights(net, kind(path))
    assert tiny.changed(weights, net) == set()
    assert isinstance(report, LoadReport) and report.complete
    assert (report.source, report.layout) == (str(path), layout)
    assert report.used == list(weights)
    assert report.missing == report.unexpected == report.misshaped == report.left_out == []
    assert str(report) == f"{path} ({layout} layout): {len(weights)} tensors used, 100 % of the parameters"
    assert report.parameters == report.parameters_used == sum(value.size for value in weights.values())


@pytest.mark.parametrize("layout", [dict, as_pytorch])
def test_given_arrays_or_tensors_fill_the_network(net, weights, layout):
    load_weights(net, layout(weights))
    assert tiny.changed(weights, net) == set()
    other = tiny.build(seed=3)
    assert load_weights(other, net.state_dict()).source == "given arrays"
    assert tiny.changed(weights, other) == set()


def test_the_network_keeps_no_hold_on_the_given_arrays(net, weights):
    load_weights(net, weights)
    before = tiny.snapshot(net)
    for value in weights.values():
        value += 1
    assert tiny.changed(before, net) == set()


def test_other_floating_types_become_float32(net, weights):
    half = {key: value.astype("float16") for key, value in weights.items()}
    load_weights(net, {**half, LINEAR: half[LINEAR].astype("float64")})
    assert {str(t.dtype).split(".")[-1] for t in net.state_dict().values()} == {"float32"}
    assert tiny.changed({key: value.astype("float32") for key, value in half.items()}, net) == set()


MISSING = "base.4.conv.weight"
MISSHAPED = "base.7.norm.bias"


def spoil(weights):
    """One tensor missing, one of another shape, one too many."""
    spoilt = {key: value for key, value in weights.items() if key != MISSING}
    spoilt[MISSHAPED] = np.zeros(11, "float32")
    spoilt["base.99.conv.weight"] = np.zeros(1, "float32")
    return spoilt


def test_each_misfit_is_named_and_nothing_is_changed(net, weights):
    before = tiny.snapshot(net)
    with pytest.raises(UserError) as error:
        load_weights(net, spoil(weights))
    assert tiny.changed(before, net) == set()
    message = str(error.value)
    assert message.startswith(f"weights do not fit: given arrays (official, Paddle layout): {len(weights) - 2} ")
    assert f"1 missing ({MISSING})" in message
    assert "1 unexpected (base.99.conv.weight)" in message
    assert f"1 of another shape ({MISSHAPED} is [11], wanted [10])" in message


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda w: w.pop(MISSING), f"1 missing \\({MISSING}\\)"),
        (lambda w: w.update({"x.weight": np.ones(1)}), r"1 unexpected \(x\.weight\)"),
        (
            lambda w: w.update({MISSHAPED: np.ones((10, 1))}),
            r"1 of another shape \(.* is \[10, 1\], wanted \[10\]\)",
        ),
        (
            lambda w: [w.pop(k) for k in list(w) if k.startswith("base.3.")],
            r"20 missing \(base\.3.*, and 16 more\)",
        ),
    ],
)
def test_one_misfit_alone_is_enough(net, weights, change, message):
    before = tiny.snapshot(net)
    change(weights)
    with pytest.raises(UserError, match=message):
        load_weights(net, weights)
    assert tiny.changed(before, net) == set()


def test_not_strict_fills_what_fits_and_reports_the_rest(net, weights):
    before = tiny.snapshot(net)
    report = load_weights(net, spoil(weights), strict=False)
    assert not report.complete
    assert report.missing == [MISSING]
    assert report.unexpected == ["base.99.conv.weight"]
    assert report.misshaped == [(MISSHAPED, (11,), (10,))]
    assert report.used == [key for key in weights if key not in (MISSING, MISSHAPED)]
    after = tiny.snapshot(net)
    for key, value in after.items():
        assert np.array_equal(value, (before if key in (MISSING, MISSHAPED) else weights)[key]), key


def test_a_transposed_linear_weight_is_told_apart_by_the_layout_alone(net, weights):
    weights[LINEAR] = weights[LINEAR].T
    with pytest.raises(UserError, match=r"base\.14\.3\.weight is \[5, 14\], wanted \[14, 5\]"):
        load_weights(net, weights)


@pytest.mark.parametrize("value", [np.ones(10, "int64"), np.array(["x"] * 10), np.array([None] * 10)], ids=str)
def test_numbers_that_are_not_floating_are_refused_before_anything_changes(net, weights, value):
    before = tiny.snapshot(net)
    with pytest.raises(UserError, match=f"{MISSHAPED} holds .*; floating-point numbers are expected"):
        load_weights(net, {**weights, MISSHAPED: value})
    assert tiny.changed(before, net) == set()


@pytest.mark.parametrize("indices, last", [((1, 2, 3, 4), 13), ((2,), 7), ((0,), 1)])
@pytest.mark.parametrize("layout", [dict, as_pytorch])
def test_a_classifier_fills_a_backbone_and_the_rest_is_named(weights, indices, last, layout):
    backbone = tiny.build(seed=2, out_indices=indices)
    report = load_weights(backbone, layout(weights))
    kept = [key for key in weights if int(key.split(".")[1]) <= last]
    assert tiny.changed({key: weights[key] for key in kept}, backbone) == set()
    assert report.complete and report.used == kept
    assert sorted(report.left_out) == sorted(set(weights) - set(kept))
    assert f"{len(report.left_out)} left out, not part of a backbone" in str(report)


def test_a_backbone_takes_no_other_tensors(weights):
    backbone = tiny.build(seed=2, out_indices=(2,))
    before = tiny.snapshot(backbone)
    with pytest.raises(UserError, match=r"left out, not part of a backbone; 1 unexpected \(base\.15\.weight\)"):
        load_weights(backbone, {**weights, "base.15.weight": np.ones(1)})
    assert tiny.changed(before, backbone) == set()


def test_the_weights_of_a_backbone_do_not_make_a_classifier(net, weights):
    backbone = tiny.build(seed=2, out_indices=(4,))
    before = tiny.snapshot(net)
    with pytest.raises(UserError, match=r"2 missing \(base\.14\.3\.weight, base\.14\.3\.bias\)"):
        load_weights(net, backbone.state_dict())
    assert tiny.changed(before, net) == set()


def test_loading_keeps_the_names_of_parameters_made_later_and_what_is_frozen(weights):
    backbone = tiny.build(out_indices=(2,), freeze_at=1)
    learns = {key for key, p in backbone.state_dict().items() if not p.stop_gradient}
    first = paddle.nn.Linear(1, 1).weight.name
    load_weights(backbone, weights)
    second = paddle.nn.Linear(1, 1).weight.name
    number = int(first.split("_")[1].split(".")[0])
    assert second == first.replace(str(number), str(number + 1), 1)
    assert {key for key, p in backbone.state_dict().items() if not p.stop_gradient} == learns


@pytest.mark.parametrize("value", [True, False])
def test_a_truth_value_is_no_source(net, value):
    with pytest.raises(UserError, match=f"weights are {value}; give the path of a file"):
        load_weights(net, value)


def test_files_and_layouts_that_cannot_be_read(net, tmp_path, weights):
    before = tiny.snapshot(net)
    with pytest.raises(UserError, match="does not exist"):
        load_weights(net, tmp_path / "none.safetensors")
    path = save(tmp_path / "w.safetensors", weights)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"w\.safetensors is damaged or half written"):
        load_weights(net, path)
    (tmp_path / "w.pth").write_bytes(b"")
    with pytest.raises(UserError, match=r"w\.pth is empty; fetch it again"):
        load_weights(net, tmp_path / "w.pth")
    with pytest.raises(UserError, match="layout of these weights is not recognised"):
        load_weights(net, {"fc.weight": np.ones((2, 2))})
    with pytest.raises(UserError, match="layout of these weights is not recognised"):
        load_weights(net, {"state_dict": weights})
    assert tiny.changed(before, net) == set()


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_round_trip(tmp_path, net, suffix):
    path = save(tmp_path / f"w{suffix}", tiny.snapshot(net))
    assert sorted(read_arrays(path)) == sorted(net.state_dict())
    other = tiny.build(seed=7)
    load_weights(other, path)
    net.eval()
    other.eval()
    x = tiny.images((1, 3, 32, 32))
    assert np.array_equal(net(x).numpy(), other(x).numpy())


def test_channel_numbers_are_loaded_as_integers():
    source = tiny_condense.randomise(tiny_condense.build(), seed=4)
    target = tiny_condense.build(seed=5)
    report = load_weights(target, source.state_dict())
    assert report.complete and tiny.changed(tiny.snapshot(source), target) == set()
    assert target.features.denseblock_1.denselayer_1.sfr.index.dtype == paddle.int64


def test_maps_with_a_norm_of_their_own_take_a_classifiers_weights():
    source = tiny_condense.randomise(tiny_condense.build(), seed=4)
    backbone = tiny_condense.build(out_indices=(1, 3), out_norm=True)
    before = tiny.snapshot(backbone)
    report = load_weights(backbone, source.state_dict())
    assert report.complete and report.left_out
    own = sorted(key for key in before if key.startswith("out_norms."))
    assert sorted(report.added) == own and tiny.changed(before, backbone).isdisjoint(own)
    assert f"{len(own)} keep their initial values, not part of a classifier" in str(report)
    backbone.out_norms["1"][0].bias.set_value(paddle.full([16], 3.0))
    again = tiny_condense.build(out_indices=(1, 3), out_norm=True)
    assert load_weights(again, backbone.state_dict()).added == []
    assert (again.out_norms["1"][0].bias == 3).all()


@pytest.mark.parametrize("channels", [1, 2, 4, 6, 7])
def test_the_first_convolution_is_adapted_to_the_image_channels(weights, channels):
    first = "base.0.conv.weight"
    net = tiny.build(seed=2, in_channels=channels)
    report = load_weights(net, weights)
    got, theirs = net.state_dict()[first].numpy(), weights[first]
    assert report.complete and report.adapted == [first] and "adapted to the image channels" in str(report)
    if channels == 1:
        np.testing.assert_allclose(got, theirs.sum(1, keepdims=True), rtol=1e-6)
    else:
        for i in range(channels):
            np.testing.assert_allclose(got[:, i], theirs[:, i % 3] * 3 / channels, rtol=1e-6)
    assert tiny.changed(weights | {first: got}, net) == set()
    with pytest.raises(UserError, match=rf"base\.0\.conv\.weight is \[4, 3, 3, 3\], wanted \[4, {channels}, 3, 3\]"):
        load_weights(net, weights, adapt_input=False)


def test_weights_for_bgr_images_are_turned_on_request(net, weights):
    report = load_weights(net, weights, adapt_input="bgr")
    first = "base.0.conv.weight"
    assert np.array_equal(net.state_dict()[first].numpy(), weights[first][:, ::-1])
    assert report.adapted == [first]
    x = tiny.images((1, 3, 64, 64))
    other = tiny.build(seed=3)
    load_weights(other, weights)
    net.eval(), other.eval()
    np.testing.assert_allclose(net(x).numpy(), other(x[:, [2, 1, 0]]).numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match=r"adapt_input is 'bgr', .* 3 image channels; .* have 3, this network 4$"):
        load_weights(tiny.build(in_channels=4), weights, adapt_input="bgr")
    assert load_weights(net, weights, adapt_input="rgb").adapted == []  # these weights are for RGB images
    with pytest.raises(UserError, match="adapt_input is 'gbr'; give one of None, False, 'bgr', 'rgb'"):
        load_weights(net, weights, adapt_input="gbr")


def test_channels_that_are_not_an_images_are_not_adapted(weights):
    four = tiny.snapshot(tiny.build(in_channels=4))
    with pytest.raises(UserError, match=r"base\.0\.conv\.weight is \[4, 4, 3, 3\], wanted \[4, 3, 3, 3\]"):
        load_weights(tiny.build(), four)


@pytest.mark.parametrize("build", [tiny.build, tiny_condense.build])
def test_another_number_of_classes_leaves_the_last_layer_as_it_starts(build):
    published = tiny.snapshot(build(num_classes=1000))
    net = build(seed=2, num_classes=7)
    before = tiny.snapshot(net)
    report = load_weights(net, published)
    last = [f"{net.last_linear()}.{leaf}" for leaf in ("weight", "bias")]
    assert report.complete and report.reinitialised == last
    assert tiny.changed(before, net).isdisjoint(last)
    assert "the last layer keeps its initial values, because the weights have another number" in str(report)
    assert 0 < report.parameters_used < report.parameters
    fitting = build(seed=2, num_classes=1000)
    assert load_weights(fitting, published).reinitialised == []


def test_a_last_layer_that_reads_something_else_is_not_given_up(net):
    other = tiny.snapshot(tiny.build(num_classes=6))
    assert load_weights(tiny.build(num_classes=5), other).reinitialised
    other["base.14.3.weight"] = other["base.14.3.weight"][:-1]
    with pytest.raises(UserError, match=r"2 of another shape \(base\.14\.3\.weight is \[13, 6\], wanted \[14, 5\]"):
        load_weights(net, other)


def test_the_report_is_json(net, weights):
    report = json.loads(load_weights(net, weights).to_json())
    assert report["used"] == list(weights) and report["complete"] is True
    assert report["parameters"] == report["parameters_used"] == sum(value.size for value in weights.values())


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DENSEBONE_OFFLINE", "1")
    return tmp_path / "home" / "weights"


@pytest.fixture
def published(cache):
    """CondenseNetV2-A in the cache, as if downloaded. No hash of its file is published."""
    cache.mkdir(parents=True)
    weights = recipe.weights("cdnv2_a_converted")
    arrays = {key: paddle.to_tensor(np.ascontiguousarray(value)) for key, value in from_pytorch(weights).items()}
    paddle.save(arrays, str(cache / find("condensenetv2_a.ppim").file))
    return weights


@pytest.mark.parametrize("pretrained", [True, "condensenetv2_a", "condensenetv2_a.ppim"])
def test_pretrained_by_name(published, pretrained):
    net = create_model("condensenetv2_a", pretrained=pretrained)
    assert np.array_equal(net.classifier.bias.numpy(), published["classifier.bias"])
    backbone = create_backbone("condensenetv2_a", pretrained=pretrained, out_indices=(1,))
    first = "features.init_conv.weight"
    assert np.array_equal(backbone.state_dict()[first].numpy(), published[first])


def test_what_is_not_as_published_is_said(published, caplog):
    assert create_model("condensenetv2_a", pretrained=True).load_report.complete
    assert not caplog.records
    net = create_model("condensenetv2_a", pretrained=True, num_classes=7, in_channels=1)
    assert net.load_report.reinitialised == ["classifier.weight", "classifier.bias"]
    (record,) = caplog.records
    assert record.levelname == "WARNING" and record.name == "densebone"
    assert "the last layer keeps its initial values, because the weights have another number" in record.getMessage()
    assert "features.init_conv.weight adapted to the image channels" in record.getMessage()


def test_pretrained_in_an_adapter(published):
    paddledet = pytest.importorskip("densebone.integrations.paddledet", reason="needs PaddleDetection")
    for pretrained in (True, "condensenetv2_a.ppim"):
        backbone = paddledet.CondenseNetV2A(pretrained=pretrained)
        assert np.array_equal(backbone.features.init_conv.weight.numpy(), published["features.init_conv.weight"])
    assert paddledet.CondenseNetV2A(pretrained=False).load_report is None


@pytest.mark.parametrize("pretrained", [None, False])
def test_no_pretrained(cache, pretrained):
    create_model("peleenet", pretrained=pretrained)
    assert not cache.exists()


@pytest.mark.parametrize(
    "pretrained, words",
    [
        (True, r"peleenet\.official is not in the cache, .*, and DENSEBONE_OFFLINE is set"),
        ("https://example.org/w.pth", r"https://example\.org/w\.pth is not in the cache, .* DENSEBONE_OFFLINE is set"),
        ("peleenet.offical", r"weights file peleenet\.offical does not exist, and there are no weights called"),
        (
            "centernet_hardnet68_base.official",
            "centernet_hardnet68_base.official cannot be loaded: CenterNet-HarDNet-68 is not built",
        ),
        ("nowhere/w.pth", "weights file nowhere/w.pth does not exist"),
    ],
)
def test_pretrained_that_cannot_be_had(cache, pretrained, words):
    with pytest.raises(UserError, match=words):
        create_model("peleenet", pretrained=pretrained)
