"""A detector on an engine: backbone, neck and head run there; Paddle still turns their maps into boxes.

    accelerate(model, {"engine": "auto"})

A head that returns only maps is moved as a whole. SSD's head needs the picture for its boxes, TOOD's returns counts,
and the heads of Faster and Mask R-CNN work on proposed regions. With these, backbone and neck run on the engine.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import paddle

from ...engines.formats import FORMATS
from ...engines.opening import missing, open_network
from ...errors import UserError
from ...system.packages import ENGINES
from ..evaluation import IN_8_BITS
from .sizing import reader_size

logger = logging.getLogger("densebone")

# architecture: (the name of its head, what the head is called with after the maps)
_HEADS = {
    "CenterNet": ("head", (None,)),
    "FCOS": ("fcos_head", ()),
    "GFL": ("head", ()),
    "PPYOLOE": ("yolo_head", ()),
    "PicoDet": ("head", (True,)),
    "RetinaNet": ("head", ()),
    "YOLOv3": ("yolo_head", ()),
}


def on_engine(model: paddle.nn.Layer, cfg: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Calls `accelerate` with the size of the configuration's pictures. Prints on stderr what runs where."""
    print(f"engine: {accelerate(model, options, size_or_none(cfg))}", file=sys.stderr)


def size_or_none(cfg: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) of the configuration's pictures, None where it does not say."""
    try:
        return reader_size(cfg)
    except UserError:
        return None


def accelerate(model: paddle.nn.Layer, options: Mapping[str, Any], size: tuple[int, int] | None = None) -> str:
    """Moves as much of a detector as possible onto an engine, in place.

    Args:
        model: a detector of PaddleDetection with trained weights. It goes into eval mode and cannot be trained
            afterwards.
        options: engine, precision and threads of `engines.open_network`.
        size: (height, width) of most pictures, in pixels. SSD takes none that are smaller.

    Returns:
        What runs where, as text for the user.

    Raises:
        UserError, RuntimeError: as `engines.open_network` raises them, when not even the backbone can be moved.
    """
    model.eval()
    if options.get("precision") == "int8":
        raise UserError(IN_8_BITS)
    if options.get("engine") == "auto" and paddle.device.get_device().startswith("gpu"):
        return "Paddle as it is, on the GPU"
    choices = parts_of(model)
    for parts in choices:
        trunk = Trunk(model, parts, size)
        try:
            engine = open_network(trunk, input_size=size, **options)
        except Exception as error:  # a graph of a head that cannot be traced may raise anything
            if len(parts) == 1:
                raise
            logger.info("%s cannot run there as one: %s", " + ".join(parts), str(error).partition("\n")[0])
        else:
            # a smaller part of the detector on a fast engine beats a larger one on a slow engine
            if len(parts) == 1 or options.get("engine") != "auto" or engine.name not in _slow():
                break
            engine.close()
    _move(model, trunk, engine)
    left = [name for name in choices[0] if name not in parts]
    rest = f"; {' and '.join(left)} with Paddle" if left else ""
    return f"{engine.description}: {', '.join(parts)}{rest}"


def parts_of(model: paddle.nn.Layer) -> list[list[str]]:
    """What could be moved of a detector, the most first: lists of layer names such as ["backbone", "neck"]."""
    head, _ = _HEADS.get(type(model).__name__, (None, ()))
    names = [name for name in ("backbone", "neck", head) if name and getattr(model, name, None) is not None]
    return [names[:count] for count in range(len(names), 0, -1)]


def _slow():
    """The engines that are not worth moving half a detector to, unless nothing else is installed."""
    fast = set(FORMATS["onnx"].engines)
    return tuple(name for name in ENGINES if name not in fast) if fast - set(missing()) else ()


class Trunk(paddle.nn.Layer):
    """The first parts of a detector as one network: float32 (N, C, H, W) -> list of tensors.

    Args:
        model: a detector.
        parts: names of its layers, the backbone's first.
        size: (height, width) of most pictures, in pixels.
    """

    def __init__(self, model: paddle.nn.Layer, parts: Sequence[str], size: tuple[int, int] | None = None):
        super().__init__()
        if type(model).__name__ == "SSD" and size:
            self.min_side = min(size)  # the coarsest of its maps has a cell or a few
        self.backbone = model.backbone
        self.rest = paddle.nn.LayerList([getattr(model, name) for name in parts[1:]])
        head, arguments = _HEADS.get(type(model).__name__, (None, ()))
        self.arguments = [arguments if name == head else () for name in parts[1:]]

    def nested(self, x: paddle.Tensor) -> Any:
        """What the last part returns: tensors in lists, tuples and dicts."""
        found = self.backbone({"image": x})
        for layer, arguments in zip(self.rest, self.arguments):
            found = layer(found, *arguments)
        return found

    def forward(self, x: paddle.Tensor) -> list[paddle.Tensor]:
        """(N, 3, H, W) -> the tensors that the last part returns."""
        return unpack(self.nested(x))


@paddle.jit.not_to_static
def unpack(nested: Any) -> list[paddle.Tensor]:
    """The tensors in lists, tuples and dicts, one after the other; UserError for anything else in them."""
    if isinstance(nested, dict):
        nested = list(nested.values())
    if isinstance(nested, (list, tuple)):
        return [tensor for item in nested for tensor in unpack(item)]
    if not hasattr(nested, "stop_gradient"):  # no tensor, neither an eager one nor a static graph's
        raise UserError(f"this head returns {nested!r} beside its maps")
    return [nested]


def pack(like: Any, tensors: Iterator[paddle.Tensor]) -> Any:
    """Puts tensors into the lists, tuples and dicts of `like`: the opposite of `unpack`."""
    if isinstance(like, dict):
        return {key: pack(value, tensors) for key, value in like.items()}
    if isinstance(like, (list, tuple)):
        return type(like)(pack(value, tensors) for value in like)
    return next(tensors)


class _OnEngine(paddle.nn.Layer):
    """Stands in for a backbone and returns what the last part of the trunk would return."""

    def __init__(self, engine, like):
        super().__init__()
        self.engine, self.like = engine, like

    def forward(self, inputs: Mapping[str, Any]) -> Any:
        """{"image": (N, 3, H, W)} -> the trunk's outputs."""
        found = self.engine.run(inputs["image"].numpy())
        return pack(self.like, iter([paddle.to_tensor(array) for array in found]))


def _move(model, trunk, engine):
    """Puts the engine in the place of the trunk."""
    side = max(64, engine.min_side)
    with paddle.no_grad():
        like = trunk.nested(paddle.zeros([1, engine.shape[1] or 3, side, side]))
    model.backbone = _OnEngine(engine, like)
    for layer in trunk.rest:
        layer.forward = _through  # of the object: what else the head can do is still needed


def _through(maps, *arguments, **options):
    return maps
