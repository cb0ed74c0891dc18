"""A CondenseNetV2 with a few thousand weights, for every test that does not depend on a variant's size.

Maps at strides 2..32 have 12, 16, 32, 48 and 56 channels; ReLU in blocks 0 and 1, attention in blocks 3 and 4.
"""

import numpy as np
import paddle

from densebone.backbones.condensenetv2 import CondenseNetV2
from densebone.backbones.variants import CondenseNetV2Variant

TINY = CondenseNetV2Variant(
    layers=(1, 1, 2, 2, 1),
    growth_rates=(4, 4, 8, 8, 8),
    groups=4,
    fc_channels=12,
    last_reduction=4,
)
CHANNELS = [12, 16, 32, 48, 56]


def build(form="condensed", seed=0, variant=TINY, **options):
    """A tiny network; the same seed gives the same weights."""
    paddle.seed(seed)
    return CondenseNetV2(variant, form=form, **{"num_classes": 5, **options})


def randomise(layer, seed=0):
    """Replaces the initial values of batch norms (weights and statistics) and indices in `layer` by random ones."""
    rng = np.random.default_rng(seed)
    for key, tensor in layer.state_dict().items():
        leaf = key.rpartition(".")[2]
        if leaf == "index":  # a channel may occur several times or not at all
            tensor.set_value(rng.integers(0, tensor.size, tensor.shape))
        elif leaf == "_variance" or (leaf == "weight" and tensor.ndim == 1):
            tensor.set_value(rng.uniform(0.5, 1.5, tensor.shape).astype("float32"))
        elif leaf in ("_mean", "bias"):
            tensor.set_value((0.3 * rng.standard_normal(tensor.shape)).astype("float32"))
    return layer


def pruned(seed=0, progress=0.5, **options):
    """A tiny learned network in eval mode, with random batch norms, pruned as at `progress` (0..1) of a training."""
    net = randomise(build("learned", seed, **options), seed)
    net.set_progress(progress)
    net.eval()
    return net


def arrays(layer):
    """Copies of the state dict's tensors, as NumPy arrays."""
    return {key: tensor.numpy().copy() for key, tensor in layer.state_dict().items()}


def masks(net):
    """{key: array} of the masks in a network's state dict."""
    return {key: value for key, value in arrays(net).items() if key.endswith("._mask")}


def run(net, x):
    """Outputs as arrays, one or more."""
    with paddle.no_grad():
        out = net(x)
    return [o.numpy() for o in (out if isinstance(out, list) else [out])]


def counts(net, *kinds):
    """How many layers of each kind a network has."""
    return [sum(isinstance(layer, kind) for layer in net.sublayers()) for kind in kinds]
