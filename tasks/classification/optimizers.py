"""The optimizer of a configuration."""

import paddle
from paddle import nn

from . import config

_NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.SyncBatchNorm)


def build_optimizer(settings, schedule, model, clip_norm=None, multi_precision=False):
    """An optimizer of Paddle over the parameters that are not frozen.

    Args:
        settings (config.Momentum | SGD | Adam | AdamW): the block `optimizer`.
        schedule (LRScheduler | float): the learning rate.
        model (Layer): the network.
        clip_norm (float | None): the length that the gradient of all parameters together is cut to. Default None: any.
        multi_precision (bool): keep float32 copies of parameters of fewer bits. Default False.
    """
    exempt = set(exempt_parameters(model, settings.no_weight_decay))
    # the statistics of batch norms are parameters, too, for Paddle
    trained = [(name, parameter) for name, parameter in model.named_parameters() if not parameter.stop_gradient]
    decayed = [parameter for name, parameter in trained if name not in exempt]
    others = [parameter for name, parameter in trained if name in exempt]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}] if others and decayed else decayed or others
    options = {"momentum": "momentum", "nesterov": "use_nesterov", "beta1": "beta1", "beta2": "beta2"}
    options = {theirs: getattr(settings, ours) for ours, theirs in options.items() if hasattr(settings, ours)}
    if isinstance(settings, config.Adam):
        options["epsilon"] = settings.epsilon
    return getattr(paddle.optimizer, type(settings).__name__)(
        learning_rate=schedule,
        parameters=groups,
        weight_decay=float(settings.weight_decay) if decayed else 0.0,
        grad_clip=nn.ClipGradByGlobalNorm(clip_norm) if clip_norm else None,
        multi_precision=multi_precision,
        **options,
    )


def exempt_parameters(model, kinds):
    """Names of the parameters that are not decayed.

    Args:
        model (Layer): the network.
        kinds (list of str): "norm", weights and biases of batch norms; "bias", biases of all other layers.
    """
    names = []
    for prefix, layer in model.named_sublayers(include_self=True):
        kind = "norm" if isinstance(layer, _NORMS) else "bias"
        if kind in kinds:
            own = layer.named_parameters(prefix=prefix, include_sublayers=False)
            leaves = ("weight", "bias") if kind == "norm" else ("bias",)
            names += [name for name, _ in own if name.rpartition(".")[2] in leaves]
    return names
