"""Tests that every model of the registry passes, whatever its family."""

import functools
import itertools

import numpy as np
import paddle
import pytest
import tiny

import densebone as db
from densebone.backbones.freezing import FrozenBatchNorm2D

# tested in tests/necks: whole networks, and an encoder that ends at stride 16
ELSEWHERE = ("fchardnet70", "centernet_hardnet85", "centernet_hardnet85_base")
MODELS = tuple(name for name in db.list_models() if name not in ELSEWHERE)
# every model, and the family options that change the network
CASES = [
    *((name, {}) for name in MODELS),
    ("peleenet", {"ceil_mode": True}),
    ("condensenetv2_a", {"form": "learned"}),
]
# for slow tests: one model per kind of layer; the others differ only in size
KINDS = [("hardnet39ds", {}), ("peleenet", {"ceil_mode": True}), ("condensenetv2_a", {"out_norm": True})]


def ids(cases):
    return [" ".join([name, *(f"{key}={value}" for key, value in options.items())]) for name, options in cases]


IDS = ids(CASES)
SIZES = ((224, 224), (235, 301), (64, 96))
ALL = (0, 1, 2, 3, 4)
STATISTICS = ("_mean", "_variance")


@pytest.fixture(scope="module", params=CASES, ids=IDS)
def full(request):
    model, options = request.param
    create = functools.partial(db.create_backbone, model, **options)
    net = create(out_indices=ALL)
    net.eval()
    return create, net


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_declared_channels_and_strides_are_the_real_ones(full, size):
    _, net = full
    with paddle.no_grad():
        maps = net(tiny.images((1, 3, *size)))
    assert net.strides == [2, 4, 8, 16, 32]
    assert [m.shape[1] for m in maps] == net.channels
    for m, stride in zip(maps, net.strides):
        for side, whole in zip(m.shape[2:], size):
            assert abs(side - whole / stride) < 1, (m.shape, stride)


@pytest.mark.parametrize("indices", [(2, 4), (1,), (0,), (0, 3)], ids=str)
def test_a_subset_gives_the_same_maps_from_fewer_layers(full, indices):
    create, net = full
    part = create(out_indices=indices)
    report = db.load_weights(part, net.state_dict())
    part.eval()
    x = tiny.images((1, 3, 64, 96))
    with paddle.no_grad():
        maps, expected = part(x), net(x)
    assert part.channels == [net.channels[i] for i in indices]
    assert part.strides == [net.strides[i] for i in indices]
    assert len(maps) == len(indices)
    for m, i in zip(maps, indices):
        assert np.array_equal(m.numpy(), expected[i].numpy())
    assert report.complete and set(report.used) == set(part.state_dict())
    assert bool(report.left_out) == (indices[-1] < 4)


def test_stages_past_the_last_one_are_not_built(full):
    create, net = full
    nets = [create(out_indices=(i,)) for i in ALL[:-1]] + [net]
    sizes = [sum(p.size for p in net.parameters()) for net in nets]
    assert sizes == sorted(set(sizes))
    for smaller, larger in itertools.pairwise(nets):
        assert set(smaller.state_dict()) < set(larger.state_dict())


@pytest.mark.parametrize("in_channels", [1, 4])
@pytest.mark.parametrize("model, options", CASES, ids=IDS)
def test_channels_of_the_image_and_number_of_classes(model, options, in_channels):
    net = db.create_model(model, in_channels=in_channels, num_classes=7, **options)
    net.eval()
    with paddle.no_grad():
        assert net(tiny.images((2, in_channels, 64, 64))).shape == [2, 7]
    with pytest.raises(db.UserError, match=f"input has 3 channels .* in_channels={in_channels}"):
        net(tiny.images((2, 3, 64, 64)))


@pytest.mark.parametrize("model, options", CASES, ids=IDS)
def test_every_trainable_parameter_gets_a_finite_gradient(model, options):
    paddle.seed(0)
    net = db.create_model(model, num_classes=5, **options)
    _, gradients = tiny.step(net, tiny.images())
    assert set(gradients) == {key for key, p in net.named_parameters() if not p.stop_gradient}
    for key, gradient in gradients.items():
        assert np.isfinite(gradient).all(), key
        assert gradient.any() or gradient.ndim == 1, key


@pytest.mark.parametrize("model, options", CASES, ids=IDS)
def test_freeze_at_stops_these_stages_and_no_other(model, options):
    paddle.seed(0)
    net = db.create_backbone(model, freeze_at=1, **options)
    inside = {id(t) for i in (0, 1) for layer in net.stage(i) for t in layer.state_dict().values()}
    frozen = {key for key, tensor in net.state_dict().items() if id(tensor) in inside}
    before = tiny.snapshot(net)
    assert frozen == set(db.create_backbone(model, out_indices=(1,), **options).state_dict())
    _, gradients = tiny.step(net, tiny.images())
    assert set(gradients) == {key for key, _ in net.named_parameters() if not key.endswith(STATISTICS)} - frozen
    assert tiny.movable(net) - frozen <= tiny.changed(before, net) <= set(before) - frozen


@pytest.mark.parametrize("model, options", CASES, ids=IDS)
def test_freeze_norm_stops_every_batch_norm_and_nothing_else(model, options):
    paddle.seed(0)
    net = db.create_backbone(model, freeze_norm=True, **options)
    norms = [layer for layer in net.sublayers() if isinstance(layer, FrozenBatchNorm2D)]
    assert norms and not any(isinstance(layer, paddle.nn.BatchNorm2D) for layer in net.sublayers())
    inside = {id(t) for norm in norms for t in norm.state_dict().values()}
    frozen = {key for key, tensor in net.state_dict().items() if id(tensor) in inside}
    before = tiny.snapshot(net)
    _, gradients = tiny.step(net, tiny.images())
    assert set(gradients) == {key for key, _ in net.named_parameters()} - frozen
    assert tiny.movable(net) - frozen <= tiny.changed(before, net) <= set(before) - frozen


@pytest.mark.parametrize("model, options", CASES, ids=IDS)
def test_frozen_and_plain_networks_agree_in_keys_and_outputs(model, options):
    net = db.create_backbone(model, **options)
    frozen = db.create_backbone(model, freeze_at=2, freeze_norm=True, **options)
    assert list(frozen.state_dict()) == list(net.state_dict())
    frozen.set_state_dict(net.state_dict())
    net.eval()
    frozen.train()  # its batch norms use their stored statistics all the same
    for layer in frozen.sublayers():
        if isinstance(layer, paddle.nn.Dropout):
            layer.eval()
    x = tiny.images()
    with paddle.no_grad():
        for a, b in zip(net(x), frozen(x)):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model, options", CASES, ids=IDS)
def test_saving_and_loading_keeps_the_outputs(model, options, tmp_path):
    net = db.create_model(model, num_classes=5, **options)
    net.eval()
    path = str(tmp_path / "net.pdparams")
    paddle.save(net.state_dict(), path)
    again = db.create_model(model, num_classes=5, **options)
    again.eval()
    x = tiny.images((1, 3, 64, 64))
    with paddle.no_grad():
        expected = net(x).numpy()
        assert not np.array_equal(again(x).numpy(), expected)
        again.set_state_dict(paddle.load(path))
        assert np.array_equal(again(x).numpy(), expected)


@pytest.mark.parametrize("model, options", KINDS, ids=ids(KINDS))
def test_to_static_equals_eager(model, options):
    net = db.create_backbone(model, **options)
    net.eval()
    x = tiny.images((1, 3, 64, 96))
    with paddle.no_grad():
        expected = [m.numpy() for m in net(x)]
        spec = paddle.static.InputSpec([None, 3, None, None], "float32")
        maps = paddle.jit.to_static(net, input_spec=[spec], full_graph=True)(x)
    assert len(maps) == len(expected)
    for m, e in zip(maps, expected):
        np.testing.assert_allclose(m.numpy(), e, rtol=1e-4, atol=1e-5)


# one model per family; the others have the same blocks
@pytest.mark.parametrize("options", [{}, {"freeze_at": 0}, {"freeze_norm": True}], ids=str)
@pytest.mark.parametrize(
    "model, form",
    [
        ("hardnet39ds", {}),
        ("peleenet", {}),
        ("condensenetv2_a", {"form": "condensed"}),
        ("condensenetv2_a", {"form": "learned"}),
    ],
    ids=str,
)
def test_recompute_changes_nothing_but_the_memory(model, form, options):
    results = []
    for recompute in (False, True):
        paddle.seed(0)
        net = db.create_backbone(model, recompute=recompute, **form, **options)
        runs = []
        for layer in net.stage(4):
            if getattr(layer, "recomputable", False):
                norm = next(child for child in layer.sublayers() if hasattr(child, "_variance"))
                norm.register_forward_pre_hook(lambda *_, runs=runs: runs.append(1))
        out, gradients = tiny.step(net, tiny.images())
        assert len(runs) == (2 if recompute else 1)
        results.append((out, gradients, tiny.snapshot(net)))
    (out, gradients, state), (out_again, gradients_again, state_again) = results
    for a, b in zip(out, out_again):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)
    assert gradients.keys() == gradients_again.keys()
    for key, gradient in gradients.items():
        assert np.abs(gradients_again[key] - gradient).max() <= 1e-4 * (np.abs(gradient).max() + 1e-3), key
    for key, value in state.items():
        np.testing.assert_allclose(state_again[key], value, rtol=1e-4, atol=1e-5, err_msg=key)


# Freezing in detail, on the tiny network. tests/helpers/tiny.py lists its stages.


def learning(net):
    """Keys of the parameters that learn."""
    return {key for key, t in net.state_dict().items() if not t.stop_gradient and not key.endswith(STATISTICS)}


@pytest.mark.parametrize("variant", [tiny.TINY, tiny.TINY_DS], ids=["plain", "depthwise"])
@pytest.mark.parametrize("freeze_at", [-1, *ALL])
def test_every_freeze_at(variant, freeze_at):
    net = tiny.build(variant, freeze_at=freeze_at)
    last = tiny.LAST_IN_STAGE[freeze_at] if freeze_at > 0 else 2 if freeze_at == 0 else -1  # base.0 to 2: the stem
    before = tiny.snapshot(net)
    expected = {key for key in before if int(key.split(".")[1]) <= last}
    assert learning(net) == {key for key in before if not key.endswith(STATISTICS)} - expected
    tiny.step(net, tiny.images())
    assert tiny.movable(net) - expected <= tiny.changed(before, net) <= set(before) - expected


def test_freezing_past_the_last_stage_that_is_built_freezes_all():
    net = tiny.build(out_indices=(1, 2), freeze_at=4)
    assert all(p.stop_gradient for p in net.parameters())


def test_freezing_survives_the_conversion_to_synchronised_batch_norm():
    net = tiny.build(out_indices=(1, 2, 3, 4), freeze_at=1)
    keys, learns = list(net.state_dict()), learning(net)
    net = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(net)
    kinds = {
        index: {type(n) for layer in net.stage(index) for n in layer.sublayers() if hasattr(n, "_variance")}
        for index in ALL
    }
    assert kinds == {i: {FrozenBatchNorm2D if i <= 1 else paddle.nn.SyncBatchNorm} for i in ALL}
    assert list(net.state_dict()) == keys
    assert learning(net) == learns
    before = tiny.snapshot(net)
    net.train()
    x = tiny.images()
    for layer in net.stage(0) + net.stage(1):  # the other stages only run on a GPU
        x = layer(x)
    assert x.stop_gradient and tiny.changed(before, net) == set()
