"""The moving average of a network's weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import paddle

# Buffers of a learned convolution that say which weights are pruned: they are copied, not averaged.
_COUNTED = ("_mask", "_stage", "_count")


class MovingAverage:
    """The exponential moving average of parameters and batch norm statistics, in float32.

    The masks of a learned CondenseNetV2 are copied as they are.

    Args:
        state: name -> Tensor, the network's state.
        decay: share of the average that one iteration keeps, 0 to 1. In the first iterations it is (1 + t) / (10 + t),
            so that a short training forgets its initial weights.
        updates: how many iterations went into `state` when it is an average already.
    """

    def __init__(self, state: Mapping[str, paddle.Tensor], decay: float, updates: int = 0):
        self.decay, self.updates = decay, updates
        self.average = {name: _float32(value).clone() for name, value in state.items()}

    def decay_at(self, updates: int) -> float:
        """The decay of the next update, after `updates` of them."""
        return min(self.decay, (1 + updates) / (10 + updates))

    @paddle.no_grad()
    def update(self, state: Mapping[str, paddle.Tensor]) -> None:
        """Moves the average towards the state by one iteration."""
        weight = 1 - self.decay_at(self.updates)
        self.updates += 1
        for name, value in state.items():
            average = self.average[name]
            if name.rpartition(".")[2] in _COUNTED or not average.is_floating_point():
                average.set_value(value)
            else:
                average.set_value(average + (_float32(value) - average) * weight)

    @contextmanager
    def applied(self, model: paddle.nn.Layer) -> Iterator[None]:
        """Within the block the model has the average as its weights."""
        state = model.state_dict()
        before = {name: value.clone() for name, value in state.items()}
        set_state(state, self.average)
        try:
            yield
        finally:
            set_state(state, before)


@paddle.no_grad()
def set_state(state: Mapping[str, paddle.Tensor], values: Mapping[str, paddle.Tensor]) -> None:
    """Fills the tensors of a state, name -> Tensor, with values of any floating point type."""
    for name, tensor in state.items():
        tensor.set_value(values[name].astype(tensor.dtype))


def _float32(value):
    return value.astype("float32") if value.is_floating_point() else value
