"""CondenseNetV2: sparse feature reactivation for deep networks (Yang et al., arXiv 2104.04382).

The network has two forms: `learned`, with dense convolutions that training prunes, and `condensed`, which `condense`
makes from it. Both have the authors' numbers and state-dict keys, so their weights load. The results are the same. The
code differs in three ways:

- The condensed form stores the output channels of an SFR as integers. The authors' code multiplies every pixel by a
  matrix of zeros and ones.
- The last pool is global. The authors' only fits images of 224 pixels.
- `set_progress` tells each network how far training is. The authors' code keeps one number per process.
"""

from collections.abc import Iterable
from typing import Any

import paddle
from paddle import nn

from ..errors import UserError
from . import pruning
from .base import STAGES, Network, check_choice, check_count
from .condensed_layers import CondensedGroupConv, CondensedReactivation, NormConv
from .folding import fold, spell_out
from .layers import conv
from .pruning import LearnedGroupConv, LearnedReactivation
from .variants import CONDENSENETS, CondenseNetV2Variant

#: form -> the layer classes of LGC and SFR
LAYERS: dict[str, tuple[type[nn.Layer], type[nn.Layer]]] = {
    "condensed": (CondensedGroupConv, CondensedReactivation),
    "learned": (LearnedGroupConv, LearnedReactivation),
}
FORMS = tuple(LAYERS)


class SqueezeExcitation(nn.Layer):
    """Scales each channel by a number from 0 to 1 that is computed from the means of all channels."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // reduction, bias_attr=False),
            nn.ReLU(),
            nn.Linear(channels // reduction, channels, bias_attr=False),
            nn.Sigmoid(),
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, channels, H, W) -> the same shape."""
        return x * self.fc(x.mean([2, 3])).unsqueeze([2, 3])


class DenseLayer(nn.Layer):
    """A 1x1 and a grouped 3x3 convolution compute new channels; an SFR updates the old channels from them."""

    def __init__(
        self,
        in_channels: int,
        growth_rate: int,
        variant: CondenseNetV2Variant,
        form: str,
        activation: nn.Layer,
        attention: bool,
    ):
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

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, in_channels, H, W) -> (N, in_channels + growth_rate, H, W)."""
        new = self.conv_2(self.conv_1(x))
        if self.se is not None:
            new = self.se(new)
        return paddle.concat([x + self.sfr(new), new], 1)


class DenseBlock(nn.Sequential):
    """Dense layers in sequence; `number` counts blocks from 0."""

    recomputable = True

    def __init__(self, in_channels: int, number: int, variant: CondenseNetV2Variant, form: str):
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
        variant: a row of `variants.CONDENSENETS`, or one of your own.
        form: "condensed" is small and fast. "learned" is for training from random weights: `set_progress` prunes it,
            then `condense` turns it into the condensed form.
        out_norm: adds a batch norm and ReLU to every map that a backbone returns, because this network's maps are sums
            without an activation. These batch norms always learn, whatever is frozen.
        stem_stride: 2, or 1 for a first convolution that keeps the resolution, as the authors use it for images of 32
            pixels. With 1 all maps are twice as large, at four times the cost.
        **options: those of `Network`.
    """

    has_forms = True

    def __init__(
        self,
        variant: CondenseNetV2Variant,
        form: str = "condensed",
        out_norm: bool = False,
        stem_stride: int = 2,
        **options: Any,
    ):
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
            self._set_classifier(self.num_classes, width)
        self.finish()
        self.out_norms = None
        if out_norm:  # after `finish`, which freezes
            returned = zip(self.out_indices, self.channels)
            norms = {str(i): nn.Sequential(nn.BatchNorm2D(c), nn.ReLU()) for i, c in returned}
            self.out_norms = nn.LayerDict(norms)

    def _set_classifier(self, num_classes, width=None):
        features, variant = self.features, self.variant
        width = width or self.num_features
        if "norm_last" not in features._sub_layers:
            features.add_sublayer("norm_last", nn.BatchNorm2D(width, epsilon=1e-5))
            features.add_sublayer("relu_last", nn.ReLU())
            features.add_sublayer("pool_last", nn.AdaptiveAvgPool2D(1))
        if not num_classes:
            features._sub_layers.pop("se_last", None)
            for name in ("fc", "fc_act", "dropout", "classifier"):
                self._sub_layers.pop(name, None)
            return
        if "fc" not in self._sub_layers:
            features.add_sublayer("se_last", SqueezeExcitation(width, variant.last_reduction))
            self.fc = nn.Linear(width, variant.fc_channels)
            self.fc_act = nn.Hardswish()
        self.dropout = nn.Dropout(self.drop_rate or 0)
        self.classifier = nn.Linear(variant.fc_channels, num_classes)

    @property
    def model(self) -> str:
        """The name of the variant in `variants.CONDENSENETS`, or an empty text."""
        return next((name for name, variant in CONDENSENETS.items() if variant == self.variant), "")

    def as_classifier(self) -> "CondenseNetV2":
        """A new classifier of the same variant and form, with 1000 classes."""
        return CondenseNetV2(self.variant, self.form, in_channels=self.in_channels, norm=self.norm_kind)

    def added_keys(self) -> frozenset[str]:
        """The keys of the batch norms on the returned maps."""
        return frozenset(key for key in self.state_dict() if key.startswith("out_norms."))

    def misfit_hint(self, keys: Iterable[str]) -> str:
        """Says so when the weights are of the other form."""
        leaves = {key.rpartition(".")[2] for key in keys}
        if self.form == "condensed" and "_mask" in leaves:
            return (
                'these are weights of the learned form: build the network with form="learned", or condense the file '
                "first (densebone condense IN OUT.safetensors)"
            )
        if self.form == "learned" and "index" in leaves:
            return 'these are weights of the condensed form, which has lost what it pruned: use form="condensed"'
        return ""

    def stem(self) -> list[nn.Layer]:
        """The first convolution."""
        return [self.features.init_conv]

    def stage(self, index: int) -> list[nn.Layer]:
        """The layers of stage `index`, in the order in which they run."""
        before = f"transition_{index}" if index else "init_conv"
        return [getattr(self.features, name) for name in (before, f"denseblock_{index + 1}")]

    def last_linear(self) -> str:
        """The prefix of the keys of the classifier's last layer, which has num_classes outputs."""
        return "classifier"

    def pool(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, num_features, H, W) -> the means of the normalised channels, (N, num_features)."""
        return self._pooled(x).flatten(1)

    def _pooled(self, x):
        features = self.features
        return features.pool_last(features.relu_last(features.norm_last(x)))

    def pre_logits(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, num_features, H, W) -> what the last layer reads, (N, head_hidden_size)."""
        return self.fc_act(self.fc(self.features.se_last(self._pooled(x)).flatten(1)))

    @property
    def head_hidden_size(self) -> int:
        """The length of what the last layer reads; without a last layer, of the pooled features."""
        return self.variant.fc_channels if self.with_head and self.num_classes else self.num_features

    def drop(self, x: paddle.Tensor) -> paddle.Tensor:
        """The dropout before the last layer; none unless `drop_rate` says so."""
        return self.dropout(x)

    def get_classifier(self) -> nn.Layer:
        """The last layer, a `nn.Linear`; an identity when there is none."""
        return self.classifier if self.with_head and self.num_classes else nn.Identity()

    def select(self, maps: list[paddle.Tensor]) -> list[paddle.Tensor]:
        """The maps of all stages -> those of `out_indices`."""
        if self.out_norms is None:  # not super().select: under Paddle's to_static it calls this method again
            return [maps[i] for i in self.out_indices]
        return [self.out_norms[str(i)](maps[i]) for i in self.out_indices]

    def set_progress(self, progress: float) -> None:
        """Prunes a learned network to the share that is due at `progress` of its training; see `pruning.set_progress`.

        Raises:
            UserError: the network is condensed or deployed; progress is out of range or has gone backwards.
        """
        if self.form != "learned":
            raise UserError('this network is condensed, there is nothing left to prune; build it with form="learned"')
        if self.deployed:
            raise UserError(f"this network is a copy for {self.deployed}; prune the one that it was made from")
        pruning.set_progress(self, progress)

    def lasso_loss(self) -> paddle.Tensor:
        """The group-lasso term of a learned network, a 0-D tensor. Add it to the loss with a weight of your choice; the
        CondenseNet paper has 1e-5. It drives whole lines of a group's weights to 0. Once pruning is done, it is 0.

        Raises:
            UserError: the network is condensed.
        """
        if self.form != "learned":
            raise UserError('this network is condensed and has no lasso_loss; build it with form="learned"')
        return pruning.lasso_loss(self)

    def _fold(self, engine: str) -> None:
        fold(self, engine)

    def spell_out(self) -> None:
        """As in `Network`. For inference only."""
        spell_out(self)
