"""A detector on an engine: backbone, neck and head run there, and what makes boxes of their maps stays with Paddle.

    accelerate(model, {"engine": "auto"})

Heads that return maps alone are moved as a whole. SSD's wants the picture for its boxes, TOOD's returns counts, and
those of Faster and Mask R-CNN work on regions that the maps propose: with these, backbone and neck run on the engine.
"""

import logging
import sys

import paddle

from ...engines.opening import missing, open_network
from ...errors import UserError
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


def on_engine(model, cfg, options):
    """`accelerate` with the size of the configuration's pictures; says on stderr what runs where."""
    print(f"engine: {accelerate(model, options, size_or_none(cfg))}", file=sys.stderr)


def size_or_none(cfg):
    """(height, width) of the configuration's pictures, None where it does not say."""
    try:
        return reader_size(cfg)
    except UserError:
        return None


def accelerate(model, options, size=None):
    """Moves as much of a detector as can be moved onto an engine, in place.

    Args:
        model (Layer): of PaddleDetection, with its trained weights; it is put into eval mode and cannot be trained
            afterwards.
        options (dict): engine, precision and threads of `engines.open_network`.
        size ((height, width) | None): of most pictures, in pixels; SSD takes none that are smaller.

    Returns:
        str: what runs where, for people.

    Raises:
        UserError, RuntimeError: as `engines.open_network` raises them, when not even the backbone can be moved.
    """
    model.eval()
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
            # "auto" gets by without the fast engines; here less of the detector on a fast one is the better choice
            if len(parts) == 1 or options.get("engine") != "auto" or engine.name not in _slow():
                break
            engine.close()
    _move(model, trunk, engine)
    left = [name for name in choices[0] if name not in parts]
    rest = f"; {' and '.join(left)} with Paddle" if left else ""
    return f"{engine.description}: {', '.join(parts)}{rest}"


def parts_of(model):
    """What of a detector could be moved, the most first: lists of the names of the layers that follow each other,
    backbone, neck and head, as far as the architecture has them."""
    head, _ = _HEADS.get(type(model).__name__, (None, ()))
    names = [name for name in ("backbone", "neck", head) if name and getattr(model, name, None) is not None]
    return [names[:count] for count in range(len(names), 0, -1)]


def _slow():
    """The engines that are not worth half a detector, unless nothing else is installed."""
    fast = {"openvino", "onnxruntime"} - set(missing())
    return ("paddle", "eager") if fast else ()


class Trunk(paddle.nn.Layer):
    """The first parts of a detector as one network: float32 (N, C, H, W) -> list of tensors.

    Args:
        model (Layer): a detector.
        parts (list of str): names of its layers, the backbone's first.
        size ((height, width) | None): of most pictures, in pixels.
    """

    def __init__(self, model, parts, size=None):
        super().__init__()
        if type(model).__name__ == "SSD" and size:
            self.min_side = min(size)  # the coarsest of its maps has a cell or a few
        self.backbone = model.backbone
        self.rest = paddle.nn.LayerList([getattr(model, name) for name in parts[1:]])
        head, arguments = _HEADS.get(type(model).__name__, (None, ()))
        self.arguments = [arguments if name == head else () for name in parts[1:]]

    def nested(self, x):
        """What the last part returns: tensors in lists, tuples and dicts."""
        found = self.backbone({"image": x})
        for layer, arguments in zip(self.rest, self.arguments):
            found = layer(found, *arguments)
        return found

    def forward(self, x):
        return unpack(self.nested(x))


@paddle.jit.not_to_static
def unpack(nested):
    """The tensors in lists, tuples and dicts, one after the other; UserError for anything else in there."""
    if isinstance(nested, dict):
        nested = list(nested.values())
    if isinstance(nested, (list, tuple)):
        return [tensor for item in nested for tensor in unpack(item)]
    if not hasattr(nested, "stop_gradient"):  # no tensor, neither an eager one nor a static graph's
        raise UserError(f"this head returns {nested!r} beside its maps")
    return [nested]


def pack(like, tensors):
    """An iterator's tensors in the lists, tuples and dicts of `like`: the opposite of `unpack`."""
    if isinstance(like, dict):
        return {key: pack(value, tensors) for key, value in like.items()}
    if isinstance(like, (list, tuple)):
        return type(like)(pack(value, tensors) for value in like)
    return next(tensors)


class _OnEngine(paddle.nn.Layer):
    """In the place of a backbone: what the last part of a trunk would return."""

    def __init__(self, engine, like):
        super().__init__()
        self.engine, self.like = engine, like

    def forward(self, inputs):
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
