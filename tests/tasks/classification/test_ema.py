"""The moving average against NumPy."""

import numpy as np
import paddle
import tiny_condense

from densebone.tasks.classification.ema import MovingAverage


def network(seed):
    paddle.seed(seed)
    return paddle.nn.Sequential(paddle.nn.Linear(3, 4), paddle.nn.BatchNorm1D(4))


def test_it_is_the_average_of_weights_and_statistics():
    net = network(0)
    average = MovingAverage(net.state_dict(), decay=0.4)
    expected = {name: value.numpy().astype("float64") for name, value in net.state_dict().items()}
    assert {"0.weight", "1._mean", "1._variance"} <= set(expected)
    for step in range(1, 7):
        other = network(step)
        other[1]._mean.set_value(paddle.to_tensor(np.full(4, step, "float32")))
        decay = min(0.4, step / (9 + step))  # 0.1, 0.18, 0.25, 0.31, 0.36, 0.4
        for name, value in other.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value.numpy()
        average.update(other.state_dict())
    for name, value in expected.items():
        np.testing.assert_allclose(average.average[name].numpy(), value, atol=1e-6)
    assert average.decay_at(10**6) == 0.4 and average.updates == 6
    assert MovingAverage(net.state_dict(), 0.9998, updates=20).decay_at(20) == 21 / 30


def test_the_model_has_it_for_a_while_alone():
    net, other = network(0), network(1)
    average = MovingAverage(other.state_dict(), 0.9)
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    x = paddle.ones([2, 3])
    net.eval(), other.eval()
    with average.applied(net):
        np.testing.assert_array_equal(net(x).numpy(), other(x).numpy())
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_masks_are_taken_over():
    net = tiny_condense.build("learned")
    average = MovingAverage(net.state_dict(), 0.9)
    net.set_progress(0.5)
    average.update(net.state_dict())
    masks = [name for name in average.average if name.endswith(("._mask", "._stage", "._count"))]
    assert len(masks) > 10
    for name in masks:
        np.testing.assert_array_equal(average.average[name].numpy(), net.state_dict()[name].numpy())


def test_halves_are_averaged_as_floats():
    value = paddle.ones([2], "float16")
    average = MovingAverage({"x": value}, 0.9998, updates=10**6)
    average.update({"x": value * 1.5})
    np.testing.assert_allclose(average.average["x"].numpy(), 1.0001, rtol=1e-6)
