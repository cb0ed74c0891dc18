"""The moving average of a network's weights."""

from contextlib import contextmanager

import paddle

# Buffers of a learned convolution: which weights are left, which is no number to average.
_COUNTED = ("_mask", "_stage", "_count")


class MovingAverage:
    """The exponential moving average of parameters and of the statistics of batch norms, in float32.

    The masks of a learned CondenseNetV2 are taken over as they are.

    Args:
        state (dict): name -> Tensor, the network's state.
        decay (float): share of the average that one iteration keeps, 0 to 1. In the first iterations it is
            (1 + t) / (10 + t), so that short trainings do not keep what the weights began with.
        updates (int): iterations after which `state` is such an average. Default 0.
    """

    def __init__(self, state, decay, updates=0):
        self.decay, self.updates = decay, updates
        self.average = {name: _float32(value).clone() for name, value in state.items()}

    def decay_at(self, updates):
        """The decay of the next update after that many."""
        return min(self.decay, (1 + updates) / (10 + updates))

    @paddle.no_grad()
    def update(self, state):
        """Moves the average to the state by one iteration."""
        weight = 1 - self.decay_at(self.updates)
        self.updates += 1
        for name, value in state.items():
            average = self.average[name]
            if name.rpartition(".")[2] in _COUNTED or not average.is_floating_point():
                average.set_value(value)
            else:
                average.set_value(average + (_float32(value) - average) * weight)

    @contextmanager
    def applied(self, model):
        """The model with the average as its weights, for a while."""
        state = model.state_dict()
        before = {name: value.clone() for name, value in state.items()}
        set_state(state, self.average)
        try:
            yield
        finally:
            set_state(state, before)


@paddle.no_grad()
def set_state(state, values):
    """Fills the tensors of a state, name -> Tensor, with values of any floating type."""
    for name, tensor in state.items():
        tensor.set_value(values[name].astype(tensor.dtype))


def _float32(value):
    return value.astype("float32") if value.is_floating_point() else value
