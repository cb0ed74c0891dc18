"""Checks that a training step left the loss, the gradients and the weights finite. Imports Paddle when it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from paddle.nn import Layer


def check_gradients(loss: float, model: Layer) -> None:
    """Checks the loss and the gradients of a model with a `backbone`, after its backward pass.

    A head need not use every feature map, so some parameters of the backbone may have no gradient.

    Raises:
        FloatingPointError: the loss or a gradient is not finite.
        RuntimeError: no parameter of the backbone has a gradient.
    """
    gradients = {name: p.grad for name, p in model.named_parameters() if not p.stop_gradient and p.grad is not None}
    bad = [name for name, gradient in gradients.items() if not np.isfinite(gradient.numpy()).all()]
    if not np.isfinite(loss) or bad:
        raise FloatingPointError(f"the loss is {loss:g}, gradients that are not finite: {', '.join(bad[:3]) or 'none'}")
    if not any(name.startswith("backbone.") for name in gradients):
        raise RuntimeError("no gradient reaches the backbone")


def bad_weight(model: Layer) -> str | None:
    """State-dict key of the first weight or statistic that is not finite, or None."""
    import paddle

    for name, value in model.state_dict().items():
        if value.is_floating_point() and not bool(paddle.isfinite(value).all()):
            return name
    return None


def check_weights(model: Layer) -> None:
    """Raises FloatingPointError unless every weight and statistic of the model is finite."""
    if name := bad_weight(model):
        raise FloatingPointError(f"after the step {name} is not finite")
