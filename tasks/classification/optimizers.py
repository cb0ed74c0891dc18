"""The optimizer of a configuration."""

from collections.abc import Collection
from typing import Any

import paddle
from paddle import nn

from . import job

_NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.SyncBatchNorm)


def build_optimizer(
    settings: Any,
    schedule: paddle.optimizer.lr.LRScheduler | float,
    model: nn.Layer,
    clip_norm: float | None = None,
    multi_precision: bool = False,
) -> paddle.optimizer.Optimizer:
    """Builds an optimizer of Paddle over the parameters that are not frozen.

    Args:
        settings: the block `optimizer`: a `Momentum`, `SGD`, `Adam` or `AdamW` of `classification.job`.
        schedule: the learning rate.
        model: the network.
        clip_norm: largest norm of the gradient of all parameters together; None does not clip.
        multi_precision: keep float32 copies of 16-bit parameters.
    """
    exempt = set(exempt_parameters(model, settings.no_weight_decay))
    # Paddle also lists batch norm statistics as parameters
    trained = [(name, parameter) for name, parameter in model.named_parameters() if not parameter.stop_gradient]
    decayed = [parameter for name, parameter in trained if name not in exempt]
    others = [parameter for name, parameter in trained if name in exempt]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}] if others and decayed else decayed or others
    names = {"momentum": "momentum", "nesterov": "use_nesterov", "beta1": "beta1", "beta2": "beta2"}
    options = {theirs: getattr(settings, ours) for ours, theirs in names.items() if hasattr(settings, ours)}
    if isinstance(settings, job.Adam):
        options["epsilon"] = settings.epsilon
    return getattr(paddle.optimizer, type(settings).__name__)(
        learning_rate=schedule,
        parameters=groups,
        weight_decay=float(settings.weight_decay) if decayed else 0.0,
        grad_clip=nn.ClipGradByGlobalNorm(clip_norm) if clip_norm else None,
        multi_precision=multi_precision,
        **options,
    )


def exempt_parameters(model: nn.Layer, kinds: Collection[str]) -> list[str]:
    """Names of the parameters without weight decay.

    Args:
        model: the network.
        kinds: "norm" for weights and biases of batch norms, "bias" for the biases of all other layers.
    """
    names = []
    for prefix, layer in model.named_sublayers(include_self=True):
        kind = "norm" if isinstance(layer, _NORMS) else "bias"
        if kind in kinds:
            own = layer.named_parameters(prefix=prefix, include_sublayers=False)
            leaves = ("weight", "bias") if kind == "norm" else ("bias",)
            names += [name for name, _ in own if name.rpartition(".")[2] in leaves]
    return names
