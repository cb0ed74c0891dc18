"""What users of timm, detectron2 and segmentation_models expect of a network, under the names that they know.

docs/api.md has the table of names. `base.Network` inherits this class.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import paddle
from paddle import nn

from ..errors import UserError

POOLS = ("avg", "")
#: Paddle's layers whose parameters weight decay spares
_NORMS = (nn.layer.norm._BatchNormBase, nn.GroupNorm, nn.LayerNorm)


class FeatureInfo(list):
    """One dict for each map: index, channels (also as num_chs), reduction (the stride) and module, its last layer."""

    def channels(self) -> list[int]:
        """Channels of each map."""
        return [row["channels"] for row in self]

    def reduction(self) -> list[int]:
        """The stride of each map."""
        return [row["reduction"] for row in self]

    def module_name(self) -> list[str]:
        """The name of the layer whose output each map is."""
        return [row["module"] for row in self]


class MapShape(NamedTuple):
    """Channels and stride of a map; its height and width depend on the image."""

    channels: int
    height: int | None
    width: int | None
    stride: int


class Described(nn.Layer):
    """What whole networks share with backbones and classifiers.

    Attributes:
        published: of the model's default weights, or of those that were loaded: url, file, source, license,
            input_size (height, width), mean, std, interpolation, crop_pct. The registry fills it.
    """

    published: Mapping[str, Any] = {}

    @property
    def default_cfg(self) -> dict[str, Any]:
        """How the model's weights want their pictures, and what they are.

        Returns:
            architecture, url, file, source, license, num_classes, input_size (channels, height, width), pool_size
            (height, width of the last map), mean and std (of pixels from 0 to 1, in RGB), interpolation, crop_pct,
            first_conv, classifier. What no source states is None.
        """
        net: Any = self
        facts = dict(self.published)
        height, width = facts.pop("input_size", None) or (224, 224)
        convolutions = [name for name, layer in self.named_sublayers() if isinstance(layer, nn.Conv2D)]
        stride = net.all_strides[-1] if hasattr(net, "all_strides") else None
        last = getattr(net, "with_head", False) and net.num_classes
        empty = ("url", "file", "source", "license", "mean", "std", "interpolation", "crop_pct")
        return {
            "architecture": net.model,
            **dict.fromkeys(empty),
            **facts,
            "num_classes": net.num_classes,
            "input_size": (net.in_channels, height, width),
            "pool_size": (height // stride, width // stride) if stride else None,
            "first_conv": convolutions[0],
            "classifier": net.last_linear() if last else None,
        }

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """The same as `default_cfg`."""
        return self.default_cfg

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Switches `recompute`: less memory in training, more time."""
        for layer in self.sublayers(include_self=True):
            if isinstance(getattr(layer, "recompute", None), bool):
                layer.recompute = enable

    def no_weight_decay(self) -> set[str]:
        """Keys of the parameters that weight decay usually spares: of norms, and biases."""
        norms = {
            f"{name}.{key}" if name else key
            for name, layer in self.named_sublayers(include_self=True)
            if isinstance(layer, _NORMS)
            for key, _ in layer.named_parameters(include_sublayers=False)
        }
        return norms | {name for name, _ in self.named_parameters() if name.rpartition(".")[2] == "bias"}


class Conventions(Described):
    """The methods of backbones and classifiers. They call what `base.Network` and the families implement."""

    # of base.Network
    with_head: bool
    recompute: bool
    include_image: bool
    last_stage: int
    in_channels: int
    num_classes: Any
    out_indices: Any
    global_pool: str
    all_channels: list[int]
    all_strides: list[int]

    def forward_features(self, x: paddle.Tensor) -> paddle.Tensor:
        """The last map alone: (N, in_channels, H, W) -> (N, num_features, H', W')."""
        return self.forward_maps(x)[-1]

    def forward_maps(self, x: paddle.Tensor) -> list[paddle.Tensor]:
        """See `base.Network`."""
        raise NotImplementedError

    def forward_head(self, x: paddle.Tensor, pre_logits: bool = False) -> paddle.Tensor:
        """What follows the last map.

        Args:
            x: (N, num_features, H, W), from `forward_features`.
            pre_logits: stop before the last layer.

        Returns:
            Logits (N, num_classes), or with `pre_logits` (N, head_hidden_size). With num_classes=0 the pooled features
            (N, num_features), or the map itself if there is no pool either.

        Raises:
            UserError: a backbone, which has no head.
        """
        if not self.with_head:
            raise UserError("a backbone has no head; build a classifier with create_model")
        if not self.num_classes:
            return self.pool(x) if self.global_pool else x
        x = self.pre_logits(x)
        return x if pre_logits else self.get_classifier()(self.drop(x))

    def pool(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, num_features, H, W) -> their means (N, num_features)."""
        return x.mean([2, 3])

    def pre_logits(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, num_features, H, W) -> what the last layer reads, (N, head_hidden_size)."""
        return self.pool(x)

    def drop(self, x: paddle.Tensor) -> paddle.Tensor:
        """The dropout before the last layer."""
        raise NotImplementedError

    def forward_intermediates(
        self, x: paddle.Tensor, indices: int | Sequence[int] | None = None, intermediates_only: bool = False
    ) -> Any:
        """The last map, and the maps of some stages.

        Args:
            x: (N, in_channels, H, W).
            indices: numbers of stages, negative ones from the end; a number n means the last n; None all.
            intermediates_only: return the list alone.

        Returns:
            (last map, list of maps), in timm's order.
        """
        maps = self.forward_maps(x)
        if indices is None:
            chosen = maps
        elif isinstance(indices, int):
            if not 0 < indices <= len(maps):
                raise UserError(f"indices is {indices}; give how many of the last maps, from 1 to {len(maps)}")
            chosen = maps[-indices:]
        else:
            chosen = [maps[i] for i in check_indices(indices, "indices", len(maps))]
        return chosen if intermediates_only else (maps[-1], chosen)

    def get_classifier(self) -> nn.Layer:
        """The last layer, a `nn.Linear`; an identity when there is none."""
        raise NotImplementedError

    def reset_classifier(self, num_classes: int, global_pool: str = "avg") -> None:
        """Gives a classifier another last layer, with random weights, or none.

        Args:
            num_classes: its outputs; 0: none, so that the network returns pooled features.
            global_pool: "avg", or with 0 classes "" for the last map itself.

        Raises:
            UserError: a backbone; values that are not allowed.
        """
        if not self.with_head:
            raise UserError("a backbone has no classifier to reset; build a classifier with create_model")
        check_head(num_classes, global_pool)
        self.num_classes, self.global_pool = num_classes, global_pool
        before = {id(layer) for layer in self.sublayers()}
        self._set_classifier(num_classes)
        for layer in self.sublayers():
            if id(layer) not in before:
                layer.training = self.training

    def _set_classifier(self, num_classes):
        """Builds the last layer and what belongs to the head alone, or takes it out for 0 classes."""
        raise NotImplementedError

    @property
    def num_features(self) -> int:
        """Channels of the last map."""
        return self.all_channels[-1]

    @property
    def head_hidden_size(self) -> int:
        """The length of the vector that `forward_head` returns with `pre_logits`, or without a last layer."""
        return self.num_features

    @property
    def feature_info(self) -> FeatureInfo:
        """Channels, stride and layer of each map: those that a backbone returns, or all of a classifier's."""
        names = {id(layer): name for name, layer in self.named_sublayers()}
        rows = FeatureInfo()
        for index in range(self.last_stage + 1) if self.out_indices is None else self.out_indices:
            layers = self.stage(index)
            channels = self.all_channels[index]
            rows.append(
                {
                    "index": index,
                    "channels": channels,
                    "num_chs": channels,
                    "reduction": self.all_strides[index],
                    "module": names[id(layers[len(layers) - self.after_map(index) - 1])],
                }
            )
        return rows

    def output_shape(self) -> dict[str, MapShape]:
        """Channels and stride of each map, by names such as "stride8"."""
        rows = self.feature_info
        return {f"stride{r['reduction']}": MapShape(r["channels"], None, None, r["reduction"]) for r in rows}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of parameter names: "stem", and "blocks" with the number of the stage, as timm's helpers read them.

        Args:
            coarse: has no effect: stages are the groups.
        """
        blocks = []
        for index in range(self.last_stage + 1):
            names = "|".join(re.escape(name) for name in self._stage_names(index))
            blocks.append((rf"^(?:{names})\.", (index,)))
        stem = "|".join(re.escape(name) for name in self._names_of(self.stem()))
        return {"stem": rf"^(?:{stem})\.", "blocks": blocks}

    def _stage_names(self, index):
        return self._names_of(self.stage(index))

    def _names_of(self, layers):
        wanted = {id(layer) for layer in layers}
        return [name for name, layer in self.named_sublayers() if id(layer) in wanted]

    # of base.Network and the families
    def stem(self) -> list[nn.Layer]:
        """See `base.Network`."""
        raise NotImplementedError

    def stage(self, index: int) -> list[nn.Layer]:
        """See `base.Network`."""
        raise NotImplementedError

    def after_map(self, index: int) -> int:
        """See `base.Network`."""
        raise NotImplementedError


def check_head(num_classes: Any, global_pool: Any) -> None:
    """UserError unless the classes are a whole number from 0, and the pool is one of `POOLS` that goes with them."""
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 0:
        raise UserError(f"num_classes is {num_classes!r}; it must be a whole number, or 0 for no last layer")
    if global_pool not in POOLS:
        raise UserError(f'global_pool is {global_pool!r}; it must be "avg", or "" with num_classes=0 for the last map')
    if num_classes and not global_pool:
        raise UserError('global_pool is "", and the last layer needs pooled features; give num_classes=0 too, or "avg"')


def check_indices(indices: Any, name: str, count: int) -> tuple[int, ...]:
    """Numbers of maps as a tuple; negative ones count from the end.

    Args:
        indices: a list, tuple or range of whole numbers, NumPy's too.
        name: what the message calls them.
        count: how many maps there are.

    Raises:
        UserError: they are not one or more different whole numbers from -count..count - 1 in ascending order.
    """
    numbers: list[int] = []
    try:
        if isinstance(indices, (str, bytes)) or any(isinstance(i, bool) for i in indices):
            raise TypeError
        numbers = [operator.index(i) for i in indices]
    except TypeError:  # the message below names what was given
        numbers = []
    counted = [i + count if i < 0 else i for i in numbers]
    valid = len(counted) > 0 and all(0 <= i < count for i in counted)
    if not valid or counted != sorted(set(counted)):
        raise UserError(
            f"{name} is {indices!r}; give a list of different numbers from 0..{count - 1} in ascending order, "
            f"for example {list(range(count))[-3:]}; negative ones count from the end"
        )
    return tuple(counted)
