"""A HarDNet with a few thousand weights, for every test that does not depend on a variant's size.

Positions in `base`: stem 0-1; four stages of pool, block and conv at 2-4, 5-7, 8-10 and 11-13; head 14.
"""

from dataclasses import replace

import numpy as np
import paddle

from densebone.backbones.hardnet import HarDNet
from densebone.backbones.variants import HarDNetVariant

TINY = HarDNetVariant(
    stem_channels=(4, 6),
    growth_rates=(4, 4, 6, 6),
    layers=(4, 2, 3, 4),
    channels=(8, 10, 12, 14),
    downsample_after=(True, True, True, False),
    dropout=0.0,
)
TINY_DS = replace(TINY, depthwise=True)
LAST_IN_STAGE = (1, 4, 7, 10, 13)
HEAD = "base.14."


def build(variant=TINY, seed=0, **options):
    """A tiny network; the same seed gives the same weights."""
    paddle.seed(seed)
    return HarDNet(variant, **{"num_classes": 5, **options})


def images(shape=(2, 3, 64, 64), seed=0):
    """A batch of normal numbers, float32."""
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape).astype("float32"))


def snapshot(net):
    """Copies of the state dict's tensors."""
    return {key: value.numpy().copy() for key, value in net.state_dict().items()}


def changed(before, net):
    """Keys of the state dict whose values differ from the copies in `before`."""
    return {key for key, value in net.state_dict().items() if not np.array_equal(before[key], value.numpy())}


def movable(net):
    """Keys that a training step certainly changes if nothing is frozen: convolution weights and batch-norm statistics.

    Scales and shifts of batch norms are not among them: where the next batch norm cancels one, its gradient is noise.
    """
    state = net.state_dict()
    convolutions = {key for key, value in state.items() if value.ndim == 4 and not key.endswith("_mask")}
    return convolutions | {key for key in state if key.endswith(("_mean", "_variance"))}


def loss_of(out):
    """A scalar loss that depends on every output, and that batch norm does not make constant."""
    outs = out if isinstance(out, list) else [out]
    return sum((o * o).mean() + o.mean() for o in outs)


def step(net, x):
    """Takes one SGD step; returns (outputs before the step, {name: gradient})."""
    net.train()
    optimizer = paddle.optimizer.SGD(0.1, parameters=net.parameters())
    out = net(x)
    loss_of(out).backward()
    gradients = {key: p.grad.numpy() for key, p in net.named_parameters() if p.grad is not None}
    optimizer.step()
    return [o.numpy() for o in (out if isinstance(out, list) else [out])], gradients
