"""Whether a step of training left everything finite."""

import numpy as np


def check_gradients(loss, model):
    """Looks at the loss, a float, and at the gradients of a model with a `backbone`, after its backward pass.

    A head need not take every map, so a backbone may have parameters that get no gradient.

    Raises:
        FloatingPointError: the loss or a gradient is not finite.
        RuntimeError: nothing in the backbone has a gradient.
    """
    gradients = {name: p.grad for name, p in model.named_parameters() if not p.stop_gradient and p.grad is not None}
    bad = [name for name, gradient in gradients.items() if not np.isfinite(gradient.numpy()).all()]
    if not np.isfinite(loss) or bad:
        raise FloatingPointError(f"the loss is {loss:g}, gradients that are not finite: {', '.join(bad[:3]) or 'none'}")
    if not any(name.startswith("backbone.") for name in gradients):
        raise RuntimeError("no gradient reaches the backbone")


def check_weights(model):
    """Raises FloatingPointError unless every value of the model is finite."""
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not np.isfinite(value.numpy()).all():
            raise FloatingPointError(f"after the step {name} is not finite")
