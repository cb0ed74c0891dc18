"""The base class of every backbone and classifier: stages that end at strides 2, 4, 8, 16 and 32, perhaps a head.

A family's class builds its layers under the official state-dict keys and implements `stage` and `head`. It inherits the
rest: both forms (classifier and backbone), channels and strides, freezing, dilation, gradient checkpointing, checks of
the input. `conventions` has the methods that users of other libraries know.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any

import paddle
from paddle import nn
from paddle.utils import unique_name

from ..errors import UserError
from ..system.packages import ENGINES
from .conventions import Conventions, check_head, check_indices
from .dilation import dilate
from .freezing import freeze_layers, freeze_norms
from .layers import group_norm, recompute, replace_norms

STAGES = 5
MIN_SIDE = 32
OUTPUT_STRIDES = (8, 16, 32)
#: the norms that have a name
NORMS: dict[str, Callable[[int], nn.Layer] | None] = {"bn": None, "gn": group_norm}


class Network(Conventions):
    """A classifier, or a backbone that returns feature maps.

    Args:
        in_channels: channels of the image, at least 1.
        num_classes: outputs of the classifier's last layer. 0 builds no last layer: the classifier then returns pooled
            features (N, num_features). A backbone ignores it.
        out_indices: None builds a classifier. Otherwise ascending numbers from 0..4 (0..5 for hardnet70, 0..3 for
            centernet_hardnet85_base), negative ones from the end: map i is the last one at stride 2 ** (i + 1). Stages
            after the last requested map are not built.
        freeze_at: what does not learn, neither weights nor batch-norm statistics: -1 nothing, 0 the stem (the layers
            before the first dense block), n all up to the end of stage n, the number of the last stage all.
        freeze_norm: all batch norms use their stored statistics and do not learn.
        norm_eval: all batch norms use their stored statistics; their scale and shift learn, unless frozen.
        global_pool: "avg"; with num_classes=0 also "", which returns the last map itself.
        drop_rate: dropout before the last layer, 0 or more and less than 1. None is the variant's.
        output_stride: 8, 16 or 32: no map has a larger stride. Later kernels are dilated, with the same weights.
        norm: "bn"; "gn" for group normalisation, or a function: channels -> layer. Others than "bn" are for training
            from random weights, with batches of one or two pictures (docs/training.md has the cost).
        include_image: a backbone returns the image as its first map, of stride 1.
        recompute: gradient checkpointing. In training, dense blocks keep only their input and run again in the
            backward pass: less memory, more time (docs/training.md has the figures).
        stages: number of stages of the variant. The family's constructor sets it.

    A family's constructor calls `super().__init__` first, then builds stages 0..`last_stage` and, if `with_head`, the
    head. It calls `finish` last.
    """

    #: number of classes of the published classifiers' data set, ImageNet
    published_classes = 1000
    #: whether `deploy` and `spell_out` replace layers
    has_forms = False

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        out_indices: Sequence[int] | None = None,
        freeze_at: int = -1,
        freeze_norm: bool = False,
        recompute: bool = False,
        norm_eval: bool = False,
        global_pool: str = "avg",
        drop_rate: float | None = None,
        output_stride: int | None = None,
        norm: str | Callable[[int], nn.Layer] = "bn",
        include_image: bool = False,
        stages: int = STAGES,
    ):
        super().__init__()
        check_count("in_channels", in_channels)
        if out_indices is None:
            check_head(num_classes, global_pool)
        check_choice("output_stride", output_stride, (None, *OUTPUT_STRIDES))
        if not callable(norm):
            check_choice("norm", norm, [*NORMS])
        if drop_rate is not None and not (isinstance(drop_rate, (int, float)) and 0 <= drop_rate < 1):
            raise UserError(f"drop_rate is {drop_rate!r}; it must be 0 or more, and less than 1")
        if out_indices is not None and (drop_rate is not None or global_pool != "avg"):
            raise UserError("drop_rate and global_pool are for classifiers; a backbone has no head")
        if include_image and out_indices is None:
            raise UserError("include_image is for the maps of a backbone; a classifier returns none")
        if not isinstance(freeze_at, int) or isinstance(freeze_at, bool) or not -1 <= freeze_at < stages:
            raise UserError(
                f"freeze_at is {freeze_at!r}; it must be -1 (freeze nothing), 0 (the stem) or a stage 1..{stages - 1}"
            )
        self.in_channels = in_channels
        #: tuple of int, or None for a classifier
        self.out_indices: Any = None if out_indices is None else check_indices(out_indices, "out_indices", stages)
        self.last_stage = stages - 1 if self.out_indices is None else self.out_indices[-1]
        self.with_head = out_indices is None
        self.num_classes = num_classes if self.with_head else None
        self.freeze_at = freeze_at
        self.freeze_norm, self.norm_eval = freeze_norm, norm_eval
        self.recompute = recompute
        self.global_pool, self.drop_rate = global_pool, drop_rate
        self.output_stride, self.norm_kind, self.include_image = output_stride, norm, include_image
        #: the engine that `deploy` made this copy for, or None
        self.deployed: str | None = None

    @property
    def model(self) -> str:
        """The name of the model in the registry, or an empty text when the network does not know it."""
        return ""

    def stage(self, index: int) -> list[nn.Layer]:
        """The layers of stage `index`, in the order in which they run."""
        raise NotImplementedError

    def after_map(self, index: int) -> int:
        """How many of the last layers of stage `index` run after its map is taken."""
        return 0

    def stem(self) -> list[nn.Layer]:
        """The layers before the first dense block."""
        raise NotImplementedError

    def head(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, C, H, W), the last map -> (N, num_classes); see `forward_head`."""
        return self.forward_head(x)

    def last_linear(self) -> str:
        """The prefix of the state-dict keys of the classifier's last layer, which has num_classes outputs."""
        raise NotImplementedError

    def as_classifier(self) -> "Network":
        """A new classifier of the same variant, with 1000 classes."""
        raise NotImplementedError

    def classifier_only_keys(self) -> frozenset[str]:
        """State-dict keys that a classifier has and this network lacks; empty for a classifier with a last layer."""
        if self.with_head and self.num_classes:
            return frozenset()
        with unique_name.guard():  # parameters built later keep their names, which optimizer states refer to
            return frozenset(self.as_classifier().state_dict()) - frozenset(self.state_dict())

    def added_keys(self) -> frozenset[str]:
        """State-dict keys that no classifier has. When the weights lack them, they keep their initial values."""
        return frozenset()

    def misfit_hint(self, keys: Iterable[str]) -> str:
        """Advice for weights that do not fit, when their keys show why: a clause, or an empty text."""
        return ""

    def finish(self) -> None:
        """Exchanges norms and strides, reads channels and strides from the layers, freezes: as the arguments say."""
        make = NORMS[self.norm_kind] if isinstance(self.norm_kind, str) else self.norm_kind
        if make:
            replace_norms(self, make)
        if self.output_stride:
            dilate(self, self.output_stride)
        channels, strides, stride = [], [], 1
        for index in range(self.last_stage + 1):
            layers = self.stage(index)
            for layer in layers:
                stride *= getattr(layer, "stride", 1)
            before = layers[: len(layers) - self.after_map(index)]
            channels.append([layer.out_channels for layer in before if hasattr(layer, "out_channels")][-1])
            strides.append(stride)
        #: the smallest width and height of an image, in pixels
        self.min_side = max(MIN_SIDE, stride)
        kept = range(self.last_stage + 1) if self.out_indices is None else self.out_indices
        self.all_channels, self.all_strides = channels, strides
        #: channels and strides of the maps, in the order in which they are returned
        self.channels: list[int] = [self.in_channels] * self.include_image + [channels[i] for i in kept]
        self.strides: list[int] = [1] * self.include_image + [strides[i] for i in kept]
        if self.freeze_norm or self.norm_eval:
            freeze_norms(self, learns=not self.freeze_norm)
        freeze_layers(self.frozen_part(self.freeze_at))

    def frozen_part(self, upto: int) -> list[nn.Layer]:
        """The layers that `freeze_at` = `upto` freezes. UserError when there is no such stage."""
        if not isinstance(upto, int) or isinstance(upto, bool) or upto < -1:
            raise UserError(f"upto is {upto!r}; give -1 for nothing, 0 for the stem, or the number of a stage")
        if upto < 1:
            return self.stem() if upto == 0 else []
        return [*chain.from_iterable(self.stage(index) for index in range(min(upto, self.last_stage) + 1))]

    def forward_maps(self, x: paddle.Tensor) -> list[paddle.Tensor]:
        """(N, in_channels, H, W) -> list of (N, C_i, H_i, W_i), one for each stage that was built."""
        self._check_input(x)
        maps = []
        for index in range(self.last_stage + 1):
            layers = self.stage(index)
            end = len(layers) - self.after_map(index)
            x = self._run(layers[:end], x)
            maps.append(x)
            x = self._run(layers[end:], x)
        return maps

    def _run(self, layers, x):
        for layer in layers:
            use_recompute = self.recompute and getattr(layer, "recomputable", False)
            x = recompute(layer, x) if use_recompute else layer(x)
        return x

    def forward(self, x: paddle.Tensor) -> paddle.Tensor | list[paddle.Tensor]:
        """Classifier: (N, in_channels, H, W) -> what `forward_head` returns, mostly logits (N, num_classes). Backbone:
        -> list of (N, C_i, H_i, W_i), map i at stride `strides[i]` with `channels[i]` channels. H and W are at least
        `min_side`, which is 32 for most networks.
        """
        maps = self.forward_maps(x)
        return self.forward_head(maps[-1]) if self.with_head else self.returned(x, maps)

    def returned(self, x: paddle.Tensor, maps: list[paddle.Tensor]) -> list[paddle.Tensor]:
        """What a backbone returns for an image and the maps of all stages."""
        return [x, *self.select(maps)] if self.include_image else self.select(maps)

    def select(self, maps: list[paddle.Tensor]) -> list[paddle.Tensor]:
        """The maps of all stages -> those of `out_indices`."""
        return [maps[i] for i in self.out_indices]

    def deploy(self, engine: str) -> "Network":
        """A copy for inference on `engine`, in eval mode. Its outputs agree to 1e-5 relative.

        Args:
            engine: where the copy will run, one of `ENGINES`.

        Raises:
            UserError: unknown engine, or this network is such a copy already.
        """
        copy = _inference_copy(self, engine)
        copy._fold(engine)
        return copy

    def _fold(self, engine: str) -> None:
        """Replaces layers, in place, by equivalent ones that run faster on `engine`. The base class replaces none."""

    def spell_out(self) -> None:
        """Replaces layers that ONNX cannot express, in place, by equivalent ones with the same convolutions. The base
        class replaces none."""

    def _check_input(self, x):
        if len(x.shape) != 4:
            raise UserError(f"input has shape {list(x.shape)}; expected (N, {self.in_channels}, H, W)")
        if x.shape[1] not in (-1, self.in_channels):
            raise UserError(
                f"input has {x.shape[1]} channels (shape {list(x.shape)}); this network was built for "
                f"in_channels={self.in_channels}, give it such images or build it with in_channels={x.shape[1]}"
            )
        # In a static graph the sides may be tensors, which Python cannot compare.
        if paddle.in_dynamic_mode() and min(x.shape[2:]) < self.min_side:
            raise UserError(f"input is {x.shape[2]} x {x.shape[3]} pixels; both sides must be {self.min_side} or more")


def deploy_networks(layer: nn.Layer, engine: str) -> None:
    """Replaces every `Network` below `layer`, such as a detector's backbone, by its `deploy(engine)`, in place."""
    for parent in layer.sublayers(include_self=True):
        for name, child in list(parent.named_children()):
            if isinstance(child, Network):
                setattr(parent, name, child.deploy(engine))


def deployed_copy(layer: nn.Layer, engine: str) -> Any:
    """A copy for inference of a network that is built on a `Network`, as `Network.deploy` makes one.

    Args:
        layer: has an attribute `deployed`, the engine that it was copied for, or None.
        engine: where the copy will run, one of `ENGINES`.

    Raises:
        UserError: unknown engine, or the layer is such a copy already.
    """
    copy = _inference_copy(layer, engine)
    deploy_networks(copy, engine)
    return copy


def _inference_copy(layer, engine):
    """A copy in eval mode that says which engine it is for."""
    if engine not in ENGINES:
        raise UserError(f"engine is {engine!r}; give one of {', '.join(ENGINES)}")
    if layer.deployed:
        raise UserError(f"this network is a copy for {layer.deployed} already; deploy the one that it was made from")
    copy = deepcopy(layer)
    copy.eval()
    copy.deployed = engine
    return copy


def check_choice(name: str, value: object, allowed: Collection[object]) -> None:
    """Raises UserError unless `value` is one of the allowed values."""
    if value not in allowed:
        raise UserError(f"{name} is {value!r}; here it must be {' or '.join(map(repr, allowed))}")


def check_count(name: str, value: int) -> None:
    """Raises UserError unless `value` is an int of 1 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{name} is {value!r}; it must be a whole number of 1 or more")
