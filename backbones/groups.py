"""Groups of parameters for Paddle's optimizers: learning rates by depth, and weight decay where it belongs."""

from __future__ import annotations

from typing import Any

from paddle import nn

from ..errors import UserError
from .conventions import Described


def parameter_groups(net: nn.Layer, lr_decay: float = 1.0, weight_decay: float | None = None) -> list[dict[str, Any]]:
    """The parameters that learn, as `parameters=` of one of Paddle's optimizers.

    The head has the optimizer's learning rate. Each stage below has `lr_decay` times that of the one above, and the
    stem comes last (layer-wise decay, as in BEiT, arXiv 2106.08254). A stage that belongs to the stem does not count.

        optimizer = paddle.optimizer.AdamW(1e-3, parameters=parameter_groups(net, lr_decay=0.75, weight_decay=0.05))

    Args:
        net: a backbone, a classifier, or a network with one in `backbone`, whose other parameters are the head.
        lr_decay: 1 gives all parts the same rate.
        weight_decay: of weights; norms and biases have 0. None leaves the optimizer's own to all of them.

    Returns:
        Dicts with params, learning_rate (a factor of the optimizer's) and, if it is given, weight_decay.

    Raises:
        UserError: lr_decay is not above 0 and at most 1; the network has no stages.
    """
    if isinstance(lr_decay, bool) or not isinstance(lr_decay, (int, float)) or not 0 < lr_decay <= 1:
        raise UserError(f"lr_decay is {lr_decay!r}; it must be above 0 and at most 1")
    backbone: Any = net if hasattr(net, "stem") else getattr(net, "backbone", None)
    if not hasattr(backbone, "stem"):
        raise UserError(f"{type(net).__name__} has no stages; give a network of densebone, or one with it in backbone")
    depth: dict[str, int] = {}
    for layers in (backbone.stem(), *(backbone.stage(index) for index in range(backbone.last_stage + 1))):
        number = len(set(depth.values()))
        for layer in layers:
            for parameter in layer.parameters():
                depth.setdefault(parameter.name, number)
    parts = len(set(depth.values()))
    spared = Described.no_weight_decay(net) if weight_decay is not None else set()
    groups: dict[tuple[int, bool], list[Any]] = {}
    for name, parameter in net.named_parameters():
        if not parameter.stop_gradient:
            key = depth.get(parameter.name, parts), name in spared
            groups.setdefault(key, []).append(parameter)
    rows = []
    for (number, is_spared), parameters in sorted(groups.items(), key=lambda item: item[0]):
        row = {"params": parameters, "learning_rate": lr_decay ** (parts - number)}
        rows.append(row if weight_decay is None else {**row, "weight_decay": 0.0 if is_spared else weight_decay})
    return rows
