"""Opens a network on the fastest engine for this CPU: OpenVINO, ONNX Runtime, Paddle Inference or Paddle itself.

    with engines.open_network(net) as engine:
        print(engine.description)
        (logits,) = engine.run(images)

A network is exported once. The export is kept in `$DENSEBONE_HOME/engines` (or the user's cache) under a hash of the
weights, the structure and the versions that matter. Before its first use it must compute what Paddle computes.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import paddle

from ..backbones.base import check_choice, check_count
from ..errors import UserError
from ..system.packages import CONVERTERS, ENGINES, PRECISIONS, missing_package
from ..system.processors import available_cpus
from .calibration import Calibration
from .conversion import input_limits
from .exports import ONNX_ENGINES, Cache, NetworkExports
from .formats import format_of
from .session import ANY, Engine, open_session

__all__ = [
    "ENGINES", "PRECISIONS", "Calibration", "Engine", "EngineLayer", "available", "missing", "open_exported",
    "open_network",
]  # fmt: skip

logger = logging.getLogger("densebone")


def missing() -> dict[str, str]:
    """{engine: why it cannot run a network here and how to install it}, for every engine that is not available."""
    reasons = {name: missing_package(*ENGINES[name], *_converters(name)) for name in ENGINES}
    return {name: reason for name, reason in reasons.items() if reason}


def _converters(engine):
    """The packages that convert a network for an engine."""
    return CONVERTERS if engine in ONNX_ENGINES else ()


def available() -> list[str]:
    """The engines that can run a network here, fastest first. `missing` says why the others cannot."""
    return [name for name in ENGINES if name not in missing()]


def open_network(
    network: paddle.nn.Layer,
    engine: str = "auto",
    precision: str = "fp32",
    threads: int | None = None,
    input_size: Sequence[int] | None = None,
    cache: Cache = None,
    throughput: bool = False,
    calibration: Calibration | None = None,
) -> Engine:
    """Opens a network on an engine, with the weights that it has now, in eval mode.

    "auto" tries OpenVINO and ONNX Runtime on this network, takes the faster one and remembers it. Without either it
    takes Paddle Inference, and eager as the last choice. It leaves out an engine that cannot convert the network or
    that computes something else, and logs a warning. When Paddle computes on a GPU, "auto" stays with eager.

    Args:
        network: a classifier, a backbone or a whole model that takes one float32 (N, C, H, W).
        engine: "auto" or one of `ENGINES`.
        precision: "fp32"; "bf16" for OpenVINO and Paddle Inference on a CPU that has it; "int8" for OpenVINO and ONNX
            Runtime. With "int8", "auto" takes float32 where 8 bits are no faster.
        threads: CPU threads; None leaves the number to the engine.
        input_size: (height, width) of most images. The engine prepares for it and takes other sizes too.
        cache: folder for exports; None for the usual one; False keeps nothing.
        throughput: whether several threads will call the engine at once. It then runs as many calls side by side as it
            has threads, each on one. That computes more pictures a second, and takes longer for each.
        calibration: the pictures for "int8". The 8-bit network is kept for these files and this network.

    Raises:
        UserError: an option is out of range, or the engine is not installed or lacks the precision.
        RuntimeError: the engine that `engine` names cannot run the network, or computes something else.
    """
    check_choice("engine", engine, ("auto", *ENGINES))
    _check_options(precision, threads)
    if (precision == "int8") != (calibration is not None):
        raise UserError(f"precision is {precision!r}; 8 bits and a folder of pictures to calibrate on go together")
    size = checked_size(input_size, input_limits(network)[1])
    streams = (threads or available_cpus()) if throughput else 1
    exports = NetworkExports(network, precision, streams if throughput else threads, size, cache, streams, calibration)
    if engine == "auto":
        opened = _open_fastest(exports)
    else:
        if reason := missing().get(engine):
            raise UserError(f"engine {engine!r}: {reason}")
        _check_precision(engine, precision)
        opened = exports.open(engine)
    logger.info("engine: %s", opened.description)
    return opened


def _check_options(precision, threads):
    check_choice("precision", precision, PRECISIONS)
    if threads is not None:
        check_count("threads", threads)


def checked_size(size: Sequence[int] | None, least: int) -> tuple[int, int] | None:
    """`size` as (height, width), or None; UserError unless both sides are integers of `least` pixels or more."""
    if size is None:
        return None
    valid = isinstance(size, (list, tuple)) and len(size) == 2 and all(type(side) is int for side in size)
    if not valid or min(size) < least:
        raise UserError(f"input_size is {size!r}; give (height, width) in pixels, both {least} or more")
    return size[0], size[1]


def _precisions_of(engine):
    others = {"openvino": ("bf16", "int8"), "onnxruntime": ("int8",), "paddle": ("bf16",)}
    return "fp32", *others.get(engine, ())


def _check_precision(engine, precision):
    if precision not in _precisions_of(engine):
        raise UserError(
            f"engine {engine!r} computes in {' or '.join(_precisions_of(engine))}; give one of them as precision, or "
            f"the engine 'openvino'"
        )


def _open_fastest(exports):
    """What "auto" opens."""
    if paddle.device.get_device().startswith("gpu") and exports.precision == "fp32":
        return exports.open("eager")
    if exports.precision == "int8":
        return _open_eight_bits(exports)
    names = [name for name in available() if exports.precision in _precisions_of(name)]
    if not names:
        raise UserError(f"no engine here computes in {exports.precision}; pip install 'densebone[openvino]'")
    if (remembered := exports.remembered_winner()) in names:
        names.remove(remembered)
        return _open_first(exports, [remembered, *names])
    rivals = [name for name in names if name in ONNX_ENGINES]
    opened = [engine for name in rivals if (engine := _open_or_warn(exports, name))]
    if not opened:
        return _open_first(exports, [name for name in names if name not in rivals])
    return exports.keep_fastest(opened)


def _open_eight_bits(exports):
    """The fastest of both engines, each in 8 bits and in float32."""
    names = [name for name in available() if name in ONNX_ENGINES]
    if not names:
        raise UserError("no engine here computes in int8; pip install 'densebone[openvino]'")
    plain = exports.in_float()
    if remembered := exports.remembered_winner():
        name, _, eight = remembered.partition(" ")
        if name in names and (engine := _open_or_warn(exports if eight else plain, name)):
            return engine
    small = [engine for name in names if (engine := _open_or_warn(exports, name))]
    if not small:
        return _open_fastest(plain)
    best = exports.keep_fastest([*small, *(engine for name in names if (engine := _open_or_warn(plain, name)))])
    if best.precision != "int8":
        logger.warning("8 bits are no faster than float32 here (%s); float32 runs", exports.times)
    return best


def _open_first(exports, names):
    """The first of some engines that works."""
    for name in names:
        if engine := _open_or_warn(exports, name, is_last=name == names[-1]):
            return engine
    raise UserError("no engine can run this network")


def _open_or_warn(exports, name, is_last=False):
    """An engine, or None and a warning when it cannot run this network."""
    try:
        return exports.open(name)
    except Exception as error:  # the engines' errors have no common class
        if is_last:
            raise
        logger.warning("engine %s is left out: %s", name, str(error).strip().partition("\n")[0])
        return None


def open_exported(
    path: str | Path,
    engine: str | None = None,
    precision: str = "fp32",
    threads: int | None = None,
    input_size: Sequence[int] | None = None,
) -> Engine:
    """Opens an exported model on an engine.

    Args:
        path: a folder with a Paddle inference model, an .onnx file, or an OpenVINO .xml file.
        engine: "onnxruntime" or "openvino" for an .onnx file; None takes the first that is installed.
        precision, threads, input_size: as in `open_network`.

    Raises:
        UserError: there is no such model or no engine for it, or an option is out of range.
    """
    path = Path(path)
    _check_options(precision, threads)
    readers = format_of(path).engines
    if engine is None:
        installed = [name for name in readers if not missing_package(*ENGINES[name])]
        installed = [name for name in installed if precision in _precisions_of(name)]
        engine = (installed or readers)[0]
    if engine not in readers:
        raise UserError(f"engine is {engine!r}; {path} is read by {' or '.join(readers)}")
    _check_precision(engine, precision)
    size = checked_size(input_size, 1)
    return open_session(engine, path, precision=precision, threads=threads, shape=ANY, size=size)


class EngineLayer(paddle.nn.Layer):
    """A layer that runs an engine in place of a network.

    Args:
        engine: runs the network.
    """

    def __init__(self, engine: Engine):
        super().__init__()
        self.engine = engine
        self.eval()

    def forward(self, x: paddle.Tensor) -> list[paddle.Tensor]:
        """(N, C, H, W) -> list of the network's outputs."""
        return [paddle.to_tensor(out) for out in self.engine.run(x.numpy())]
