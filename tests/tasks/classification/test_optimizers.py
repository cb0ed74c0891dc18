"""Optimizers of a configuration: what they do to parameters with and without weight decay, against NumPy."""

import numpy as np
import paddle
import pytest

from densebone.tasks.classification.job import SGD, Adam, AdamW, Momentum
from densebone.tasks.classification.optimizers import build_optimizer, exempt_parameters

RATE, DECAY = 0.1, 0.01


def network():
    paddle.seed(0)
    return paddle.nn.Sequential(paddle.nn.Linear(3, 4), paddle.nn.BatchNorm1D(4), paddle.nn.Linear(4, 2))


def parameters(net):
    """Those that are trained: Paddle also counts the statistics of batch norms."""
    return [(name, parameter) for name, parameter in net.named_parameters() if not parameter.stop_gradient]


def momentum(value, gradient, state, decay, nesterov):
    gradient = gradient + decay * value
    state["v"] = 0.9 * state.get("v", 0) + gradient
    return value - RATE * (gradient + 0.9 * state["v"] if nesterov else state["v"])


def adam(value, gradient, state, decay, decoupled):
    value, gradient = (value * (1 - RATE * decay), gradient) if decoupled else (value, gradient + decay * value)
    state["t"] = state.get("t", 0) + 1
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * gradient
    state["v"] = 0.999 * state.get("v", 0) + 0.001 * gradient**2
    m, v = state["m"] / (1 - 0.9 ** state["t"]), state["v"] / (1 - 0.999 ** state["t"])
    return value - RATE * m / (np.sqrt(v) + 1e-8)


UPDATES = {
    "plain": (SGD, {}, lambda w, g, s, d: w - RATE * (g + d * w)),
    "momentum": (Momentum, {}, lambda w, g, s, d: momentum(w, g, s, d, False)),
    "nesterov": (Momentum, {"nesterov": True}, lambda w, g, s, d: momentum(w, g, s, d, True)),
    "adam": (Adam, {}, lambda w, g, s, d: adam(w, g, s, d, False)),
    "adamw": (AdamW, {}, lambda w, g, s, d: adam(w, g, s, d, True)),
}


@pytest.mark.parametrize("exempt", [(), ("norm",), ("bias",), ("norm", "bias")])
@pytest.mark.parametrize("kind", UPDATES)
def test_three_steps(kind, exempt):
    cls, options, update = UPDATES[kind]
    net = network()
    optimizer = build_optimizer(cls(weight_decay=DECAY, no_weight_decay=exempt, **options), RATE, net)
    values = {name: p.numpy().astype("float64") for name, p in parameters(net)}
    free = {"norm": {"1.weight", "1.bias"}, "bias": {"0.bias", "2.bias"}}
    free = set().union(*(free[name] for name in exempt))
    assert set(exempt_parameters(net, exempt)) == free
    states = {name: {} for name in values}
    for _ in range(3):
        net(paddle.randn([5, 3])).square().mean().backward()
        for name, parameter in parameters(net):
            gradient = parameter.grad.numpy().astype("float64")
            values[name] = update(values[name], gradient, states[name], 0 if name in free else DECAY)
        optimizer.step()
        optimizer.clear_grad()
    for name, parameter in parameters(net):
        if (
            kind.startswith("adam") and name == "0.bias"
        ):  # before a batch norm: its gradient is rounding, Adam's step not
            continue
        np.testing.assert_allclose(parameter.numpy(), values[name], rtol=2e-4, atol=2e-5, err_msg=name)


def test_frozen_parameters_stay_and_steep_gradients_are_cut():
    net = network()
    before = {name: p.numpy().copy() for name, p in parameters(net)}
    net[0].weight.stop_gradient = True
    optimizer = build_optimizer(SGD(weight_decay=0.5), 1.0, net)
    net(paddle.ones([5, 3])).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(net[0].weight.numpy(), before["0.weight"])
    net = network()
    optimizer = build_optimizer(SGD(), 1.0, net, clip_norm=0.25)
    (net(paddle.randn([5, 3])).square().sum() * 100).backward()
    optimizer.step()
    moved = [((p.numpy() - before[name]) ** 2).sum() for name, p in parameters(net)]
    assert np.sqrt(sum(moved)) == pytest.approx(0.25, rel=1e-4)


def test_all_parameters_may_be_exempt():
    net = paddle.nn.BatchNorm1D(4)
    optimizer = build_optimizer(Momentum(weight_decay=0.5, no_weight_decay=("norm",)), 1.0, net)
    (net(paddle.randn([5, 4])).sum() * 0).backward()
    optimizer.step()
    np.testing.assert_array_equal(net.weight.numpy(), np.ones(4))
