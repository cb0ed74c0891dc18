"""CondenseNetV2: sparse feature reactivation for deep networks (Yang et al., arXiv 2104.04382).

Follows the authors' network in every number and in the names of the state dict, so that their weights load, in both of
its forms: `learned`, dense convolutions that training prunes, and `condensed`, what `condense` makes of it. Differs in
form, not in result: the condensed form keeps the places of an SFR's outputs as integers, where theirs multiplies every
pixel by a matrix of zeros and ones; the last pool is global, where theirs fits images of 224 pixels alone; and pruning
is told how far training is by `set_progress`, network by network, where theirs keeps one number for the process.
"""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from ..errors import UserError
from . import pruning
from .base import STAGES, Network, check_choice, check_count
from .layers import conv
from .pruning import LearnedGroupConv, LearnedReactivation

FORMS = ("condensed", "learned")


class NormConv(nn.Layer):
    """Batch norm, activation, convolution without bias."""

    def __init__(self, norm, activation, convolution):
        super().__init__()
        self.norm = norm
        self.activation = activation
        self.conv = convolution

    def forward(self, x):
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return self.conv(self.activation(self.norm(x)))


class ChannelNumbers(nn.Layer):
    """Holds numbers of channels, `index`, that stay whole numbers in a network of any floating type."""

    def __init__(self, index):
        super().__init__()
        self.register_buffer("index", index)

    def _apply(self, func, device, dtype, blocking, include_sublayers=True):
        # Paddle's Layer.to(dtype=...) would also turn the channel numbers into floating-point ones, in place.
        index = self._buffers.pop("index")
        super()._apply(func, device, dtype, blocking, include_sublayers)
        self._buffers["index"] = func(index, device, None, blocking)


class CondensedConv(ChannelNumbers):
    """Batch norm, activation and grouped 1x1 convolution, with the numbers of the channels that it reads or writes.

    Args:
        in_channels, out_channels (int): `groups` divides both.
        groups (int): of the convolution.
        activation (Layer): between batch norm and convolution.
        places (int): length of `index`.
    """

    def __init__(self, in_channels, out_channels, groups, activation, places):
        super().__init__(paddle.arange(places, dtype="int64"))
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.norm = nn.BatchNorm2D(in_channels, epsilon=1e-5)
        self.activation = activation
        self.conv = conv(in_channels, out_channels, 1, groups=groups, fan=out_channels)

    def group_rows(self):
        """Yields (group, the slice of its output channels, its channel numbers), as NumPy has them."""
        index = self.index.numpy().reshape(self.groups, -1)
        rows = self.out_channels // self.groups
        for group in range(self.groups):
            yield group, slice(group * rows, (group + 1) * rows), index[group]


class CondensedGroupConv(CondensedConv):
    """LGC, condensed: each group picks its input channels, and the outputs are shuffled."""

    def __init__(self, in_channels, out_channels, groups, activation):
        super().__init__(in_channels, out_channels, groups, activation, places=in_channels)

    def forward(self, x):
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        x = paddle.index_select(x, self.index, axis=1)
        return F.channel_shuffle(self.conv(self.activation(self.norm(x))), self.groups)

    def dense_weight(self):
        """Array (out_channels, in_channels, 1, 1): the weight that reads all input channels and is shuffled already."""
        weight = self.conv.weight.numpy()[:, :, 0, 0]
        dense = np.zeros((self.out_channels, self.in_channels), weight.dtype)
        for group, rows, channels in self.group_rows():
            np.add.at(dense[group :: self.groups], (slice(None), channels), weight[rows])
        return dense[..., None, None]

    def channel_norm(self):
        """A batch norm over the input channels instead of the places, or None where places of one channel differ."""
        index = self.index.numpy()
        norm = nn.BatchNorm2D(index.size, epsilon=self.norm._epsilon)
        norm.to(dtype=str(self.norm.weight.numpy().dtype))
        for name in ("weight", "bias", "_mean", "_variance"):
            places = getattr(self.norm, name).numpy()
            channels = getattr(norm, name).numpy().copy()
            channels[index] = places
            if not np.array_equal(channels[index], places):
                return None
            getattr(norm, name).set_value(channels)
        return norm


class CondensedReactivation(CondensedConv):
    """SFR, condensed: each group adds its outputs to output channels of its own."""

    def __init__(self, in_channels, out_channels, groups, activation):
        super().__init__(in_channels, out_channels, groups, activation, places=out_channels)

    def forward(self, x):
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        x = F.channel_shuffle(self.activation(self.norm(x)), self.in_channels // self.groups)
        x = self.conv(x)
        sums = paddle.zeros_like(x)
        sums.stop_gradient = x.stop_gradient  # Paddle 2.6 takes both gradients of index_add or none
        return paddle.index_add(sums, self.index, 1, x)

    def dense_weight(self):
        """Array (out_channels, in_channels, 1, 1): the weight of the one convolution that does all of it."""
        weight = self.conv.weight.numpy()[:, :, 0, 0]
        dense = np.zeros((self.out_channels, self.in_channels), weight.dtype)
        for group, rows, channels in self.group_rows():
            np.add.at(dense[:, group :: self.groups], channels, weight[rows])
        return dense[..., None, None]


LAYERS = {
    "condensed": (CondensedGroupConv, CondensedReactivation),
    "learned": (LearnedGroupConv, LearnedReactivation),
}


class SqueezeExcitation(nn.Layer):
    """Scales each channel by a number from 0 to 1 that depends on the means of all of them."""

    def __init__(self, channels, reduction):
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // reduction, bias_attr=False),
            nn.ReLU(),
            nn.Linear(channels // reduction, channels, bias_attr=False),
            nn.Sigmoid(),
        )

    def forward(self, x):
        """(N, channels, H, W) -> the same shape."""
        return x * self.fc(x.mean([2, 3])).unsqueeze([2, 3])


class DenseLayer(nn.Layer):
    """1x1 and grouped 3x3 convolution make new channels; SFR refreshes the old ones from them."""

    def __init__(self, in_channels, growth_rate, variant, form, activation, attention):
        super().__init__()
        for name in ("groups", "bottleneck"):
            check_count(name, getattr(variant, name))
        groups, middle = variant.groups, variant.bottleneck * growth_rate
        for channels in (in_channels, growth_rate, middle):
            if channels % groups:
                raise UserError(
                    f"groups is {groups}, which does not divide the {channels} channels of a layer with {in_channels} "
                    f"input channels and growth rate {growth_rate}; give groups and growth rates that fit"
                )
        group_conv, reactivation = LAYERS[form]
        self.conv_1 = group_conv(in_channels, middle, groups, activation)
        self.conv_2 = NormConv(
            nn.BatchNorm2D(middle, epsilon=1e-5),
            activation,
            conv(middle, growth_rate, 3, groups=groups, fan=9 * growth_rate),
        )
        self.sfr = reactivation(growth_rate, in_channels, groups, activation)
        self.se = SqueezeExcitation(growth_rate, 1) if attention else None

    def forward(self, x):
        """(N, in_channels, H, W) -> (N, in_channels + growth_rate, H, W)."""
        new = self.conv_2(self.conv_1(x))
        if self.se is not None:
            new = self.se(new)
        return paddle.concat([x + self.sfr(new), new], 1)


class DenseBlock(nn.Sequential):
    """Dense layers in sequence; `number` counts blocks from 0."""

    recomputable = True

    def __init__(self, in_channels, number, variant, form):
        super().__init__()
        activation = nn.Hardswish() if number >= variant.hard_swish_from else nn.ReLU()
        growth_rate = variant.growth_rates[number]
        for i in range(variant.layers[number]):
            attention = number >= variant.attention_from
            layer = DenseLayer(in_channels + i * growth_rate, growth_rate, variant, form, activation, attention)
            self.add_sublayer(f"denselayer_{i + 1}", layer)
        self.out_channels = in_channels + variant.layers[number] * growth_rate


class CondenseNetV2(Network):
    """CondenseNetV2 as a classifier or a backbone.

    Args:
        variant (CondenseNetV2Variant): a row of `variants.CONDENSENETS`, or one of your own.
        form (str): "condensed" (default), small and fast, or "learned", what training from random weights starts
            with: it is pruned by `set_progress` and then turned into the other by `condense`.
        out_norm (bool): a batch norm and ReLU of its own on every map that a backbone returns, since this network's
            maps are sums that no activation has seen. They learn whatever is frozen. Default False.
        stem_stride (int): 2 (default), or 1 for a first convolution that keeps the resolution, as the authors have it
            for pictures of 32 pixels: all maps are twice as large, at four times the cost.
        **options: those of `Network`.
    """

    def __init__(self, variant, form="condensed", out_norm=False, stem_stride=2, **options):
        super().__init__(**options)
        if form not in FORMS:
            raise UserError(f"form is {form!r}; give {' or '.join(FORMS)}")
        if len(variant.layers) != STAGES or len(variant.growth_rates) != STAGES:
            raise UserError(f"layers is {variant.layers}, growth_rates {variant.growth_rates}; give {STAGES} of each")
        check_choice("stem_stride", stem_stride, (1, 2))
        if out_norm and self.with_head:
            raise UserError("out_norm is for the maps of a backbone; a classifier returns none")
        self.variant, self.form, self.stem_stride = variant, form, stem_stride
        width = 2 * variant.growth_rates[0]
        self.features = nn.Sequential()
        self.features.add_sublayer("init_conv", conv(self.in_channels, width, 3, stem_stride, fan=9 * width))
        for i in range(self.last_stage + 1):
            if i > 0:
                self.features.add_sublayer(f"transition_{i}", nn.AvgPool2D(2, 2))
            block = DenseBlock(width, i, variant, form)
            width = block.out_channels
            self.features.add_sublayer(f"denseblock_{i + 1}", block)
        if self.with_head:
            self._build_head(width)
        self.finish()
        self.out_norms = None
        if out_norm:  # after `finish`, which freezes
            norms = {str(i): nn.Sequential(nn.BatchNorm2D(c), nn.ReLU()) for i, c in self._returned()}
            self.out_norms = nn.LayerDict(norms)

    def _returned(self):
        return zip(self.out_indices, self.channels)

    def _build_head(self, width):
        variant = self.variant
        self.features.add_sublayer("norm_last", nn.BatchNorm2D(width, epsilon=1e-5))
        self.features.add_sublayer("relu_last", nn.ReLU())
        self.features.add_sublayer("pool_last", nn.AdaptiveAvgPool2D(1))
        self.features.add_sublayer("se_last", SqueezeExcitation(width, variant.last_reduction))
        self.fc = nn.Linear(width, variant.fc_channels)
        self.fc_act = nn.Hardswish()
        self.classifier = nn.Linear(variant.fc_channels, self.num_classes)

    def as_classifier(self):
        """A new classifier of the same variant and form, with 1000 classes."""
        return CondenseNetV2(self.variant, self.form, in_channels=self.in_channels)

    def added_keys(self):
        """Those of the batch norms on the returned maps."""
        return frozenset(key for key in self.state_dict() if key.startswith("out_norms."))

    def misfit_hint(self, keys):
        """Which form the weights are of, when it is the other one."""
        leaves = {key.rpartition(".")[2] for key in keys}
        if self.form == "condensed" and "_mask" in leaves:
            return (
                'these are weights of the learned form: build the network with form="learned", or condense the file '
                "first (densebone condense IN OUT.safetensors)"
            )
        if self.form == "learned" and "index" in leaves:
            return 'these are weights of the condensed form, which has lost what it pruned: use form="condensed"'
        return ""

    def stage(self, index):
        """The layers of stage `index`, in the order in which they run."""
        before = f"transition_{index}" if index else "init_conv"
        return [getattr(self.features, name) for name in (before, f"denseblock_{index + 1}")]

    def last_linear(self):
        """The prefix of the keys of the layer that has num_classes outputs."""
        return "classifier"

    def head(self, x):
        """(N, C, H, W), the last map -> logits (N, num_classes)."""
        features = self.features
        x = features.pool_last(features.relu_last(features.norm_last(x)))
        return self.classifier(self.fc_act(self.fc(features.se_last(x).flatten(1))))

    def select(self, maps):
        """The maps of all stages -> those that a backbone returns."""
        if self.out_norms is None:  # not super().select: Paddle's to_static would come back here
            return [maps[i] for i in self.out_indices]
        return [self.out_norms[str(i)](maps[i]) for i in self.out_indices]

    def set_progress(self, progress):
        """Prunes a learned network as far as `progress` of its training asks; see `pruning.set_progress`.

        Raises:
            UserError: the network is condensed or deployed; progress out of range or falling.
        """
        if self.form != "learned":
            raise UserError('this network is condensed, there is nothing left to prune; build it with form="learned"')
        if self.deployed:
            raise UserError(f"this network is a copy for {self.deployed}; prune the one that it was made from")
        pruning.set_progress(self, progress)

    def lasso_loss(self):
        """0-D tensor: the group-lasso term of a learned network, to be added to the loss with a weight of your choice
        (the CondenseNet paper has 1e-5). It drives whole lines of a group's weights to 0, and is 0 once pruning is
        done.

        Raises:
            UserError: the network is condensed.
        """
        if self.form != "learned":
            raise UserError('this network is condensed and has no lasso_loss; build it with form="learned"')
        return pruning.lasso_loss(self)

    def _fold(self, engine):
        from .condensing import fold  # which needs this file

        fold(self, engine)
