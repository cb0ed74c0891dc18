"""The layers that the families share, mostly gradient checkpointing."""

import math

import numpy as np
import paddle
import pytest
import tiny

from densebone.backbones import freezing, layers

OPTIONS = (
    {},
    {"freeze_at": 0},
    {"freeze_at": 1},
    {"freeze_norm": True},
    {"freeze_at": 2, "freeze_norm": True},
    {"out_indices": (1, 2, 3, 4)},
    {"out_indices": (2,), "freeze_at": 0},
)


def count_runs(net):
    """A list that counts how often each dense block has run; it is updated as the network runs."""
    blocks = [layer for layer in net.base if getattr(layer, "recomputable", False)]
    runs = [0] * len(blocks)
    for i, block in enumerate(blocks):
        block.layers[0].register_forward_post_hook(lambda *_, i=i: runs.__setitem__(i, runs[i] + 1))
    return runs


@pytest.mark.parametrize("variant", [tiny.TINY, tiny.TINY_DS], ids=["plain", "depthwise"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_recompute_changes_nothing_but_the_memory(variant, options):
    x = tiny.images()
    plain = tiny.build(variant, **options)
    again = tiny.build(variant, recompute=True, **options)
    start = tiny.snapshot(plain)
    assert tiny.changed(start, again) == set()
    for _ in range(2):
        out, gradients = tiny.step(plain, x)
        out_again, gradients_again = tiny.step(again, x)
        for net in (plain, again):
            net.clear_gradients()
        assert len(out) == len(out_again)
        for a, b in zip(out, out_again):
            np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-6)
        assert gradients_again.keys() == gradients.keys()
        for key, gradient in gradients.items():
            np.testing.assert_allclose(gradients_again[key], gradient, rtol=1e-5, atol=1e-6, err_msg=key)
        for key, value in tiny.snapshot(plain).items():
            got = again.state_dict()[key].numpy()
            np.testing.assert_allclose(got, value, rtol=1e-6, atol=1e-6, err_msg=key)
    moved = {key for key in tiny.changed(start, again) if key.endswith(("_mean", "_variance"))}
    assert moved == {key for key in tiny.changed(start, plain) if key.endswith(("_mean", "_variance"))}
    assert bool(moved) == ("freeze_norm" not in options)


@pytest.mark.parametrize("freeze_at, runs", [(-1, [2, 2, 2, 2]), (0, [2, 2, 2, 2]), (1, [1, 2, 2, 2]), (4, [1] * 4)])
def test_recompute_runs_again_the_blocks_that_learn(freeze_at, runs):
    net = tiny.build(recompute=True, freeze_at=freeze_at)
    counted = count_runs(net)
    tiny.step(net, tiny.images())
    assert counted == runs


def test_a_block_between_frozen_parameters_still_passes_the_gradient_on():
    net = tiny.build(recompute=True)
    freezing.freeze(net.stage(2)[1])
    runs = count_runs(net)
    _, gradients = tiny.step(net, tiny.images())
    assert runs == [2, 2, 2, 2]
    assert gradients["base.0.conv.weight"].any()
    assert not any(key.startswith("base.6.") for key in gradients)


def test_recompute_is_off_outside_training():
    net = tiny.build(recompute=True)
    runs = count_runs(net)
    before = tiny.snapshot(net)
    net.eval()
    net(tiny.images())
    assert runs == [1, 1, 1, 1] and tiny.changed(before, net) == set()
    net.train()
    with paddle.no_grad():
        net(tiny.images())
    assert runs == [2, 2, 2, 2]
    assert any(key.endswith("_mean") for key in tiny.changed(before, net))


def test_recompute_leaves_the_momentum_as_it_was_after_an_error():
    block = tiny.build(recompute=True).base[3]
    block.train()
    x = tiny.images((1, 5, 8, 8))  # one channel too few
    x.stop_gradient = False
    with pytest.raises(ValueError):
        layers.recompute(block, x)
    assert {layer.norm._momentum for layer in block.layers} == {0.9}


def test_recompute_equals_plain_training_in_a_static_graph():
    x = tiny.images()
    results = []
    for recompute in (False, True):
        net = tiny.build(recompute=recompute, freeze_at=0)
        out, gradients = tiny.step(paddle.jit.to_static(net, full_graph=True), x)
        results.append((out[0], gradients, tiny.snapshot(net)))
    (out, gradients, state), (out_again, gradients_again, state_again) = results
    np.testing.assert_allclose(out_again, out, rtol=1e-5, atol=1e-6)
    assert gradients_again.keys() == gradients.keys()
    for key, gradient in gradients.items():
        np.testing.assert_allclose(gradients_again[key], gradient, rtol=1e-4, atol=1e-5, err_msg=key)
    for key, value in state.items():
        np.testing.assert_allclose(state_again[key], value, rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("groups", [1, 4, 64])
def test_convolutions_start_with_the_spread_of_their_real_fan_in(groups):
    paddle.seed(0)
    weight = layers.conv(64, 256, 3, groups=groups).weight.numpy()
    expected = math.sqrt(2 / (64 // groups * 9))
    assert abs(weight.std() / expected - 1) < 0.1


def test_frozen_batch_norm_is_the_stored_affine_map():
    norm = paddle.nn.BatchNorm2D(2, epsilon=1e-5)
    for name, values in (("weight", [2, 3]), ("bias", [1, -1]), ("_mean", [4, 5]), ("_variance", [0.25, 4])):
        getattr(norm, name).set_value(np.array(values, "float32"))
    frozen = freezing.FrozenBatchNorm2D(norm)
    frozen.train()
    x = np.ones((1, 2, 1, 1), "float32")
    expected = [(1 - 4) / math.sqrt(0.25 + 1e-5) * 2 + 1, (1 - 5) / math.sqrt(4 + 1e-5) * 3 - 1]
    np.testing.assert_allclose(frozen(paddle.to_tensor(x)).numpy().ravel(), expected, rtol=1e-6)
