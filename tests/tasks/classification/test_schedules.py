"""Learning rates against values computed by hand."""

import math

import paddle
import pytest

from densebone.tasks.classification.job import Constant, Cosine, Step
from densebone.tasks.classification.schedules import Schedule, rate_at


def rates(settings, per_epoch=10, iters=100):
    """The rates that an optimizer gets, iteration by iteration."""
    schedule = Schedule(settings, per_epoch, iters)
    found = []
    for _ in range(iters):
        found.append(schedule())
        schedule.step()
    return found


def test_cosine_from_the_first_iteration_to_the_last():
    found = rates(Cosine(learning_rate=0.2, end_lr=0.02))
    assert found[0] == pytest.approx(0.2)
    assert found[50] == pytest.approx(0.11)
    assert found[25] == pytest.approx(0.02 + 0.18 * (1 + math.sqrt(0.5)) / 2)
    assert found[99] == pytest.approx(0.02 + 0.18 * (1 - math.cos(math.pi / 100)) / 2)
    assert rate_at(Cosine(learning_rate=0.2, end_lr=0.02), 100, 10, 100) == pytest.approx(0.02)


def test_warm_up_then_half_a_cosine_over_the_rest():
    settings = Cosine(learning_rate=0.4, warmup_epochs=2, warmup_start_lr=0.1)
    found = rates(settings)
    assert found[:3] == pytest.approx([0.1, 0.115, 0.13])
    assert found[19] == pytest.approx(0.1 + 0.3 * 19 / 20)
    assert found[20] == pytest.approx(0.4)
    assert found[60] == pytest.approx(0.2)
    constant = rates(Cosine(learning_rate=0.4, warmup="constant", warmup_epochs=1.5, warmup_start_lr=0.1))
    assert constant[:16] == pytest.approx([0.1] * 15 + [0.4])


def test_steps_and_none():
    found = rates(Step(learning_rate=1.0, milestones=(3, 7.5), gamma=0.1, warmup_epochs=1))
    assert found[:11] == pytest.approx([i / 10 for i in range(10)] + [1.0])
    assert found[29:31] == pytest.approx([1.0, 0.1])
    assert found[74:76] == pytest.approx([0.1, 0.01])
    assert rates(Constant(learning_rate=0.3)) == [0.3] * 100


def test_its_state_is_the_iteration():
    settings = Cosine(learning_rate=0.2, warmup_epochs=1)
    layer = paddle.nn.Linear(1, 1)
    optimizer = paddle.optimizer.SGD(Schedule(settings, 10, 100), layer.parameters())
    for _ in range(37):
        optimizer._learning_rate.step()
    other = paddle.optimizer.SGD(Schedule(settings, 10, 100), layer.parameters())
    other.set_state_dict(optimizer.state_dict())
    assert other.get_lr() == optimizer.get_lr() == rate_at(settings, 37, 10, 100)
