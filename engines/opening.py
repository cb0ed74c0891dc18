"""Opens a network on the fastest engine for this CPU: OpenVINO, ONNX Runtime, Paddle Inference or Paddle itself.

    with engines.open_network(net) as engine:
        print(engine.description)
        (logits,) = engine.run(images)

A network is exported once. The export is kept in `$DENSEBONE_HOME/engines` (or the user's cache) under a hash of the
weights, the structure and the versions that matter. Before its first use it must compute what Paddle computes.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import paddle

from ..backbones.base import check_choice, check_count
from ..errors import UserError
from ..system.files import atomic_path, check_writable, sha256_of
from ..system.folders import new_folder
from ..system.home import home
from ..system.packages import CONVERTERS, ENGINES, PRECISIONS, missing_package
from ..system.processors import available_cpus, machine
from .agreement import TOLERANCES, check_outputs, check_shapes, random_images
from .cache import SEAL, broken, delete_all_but, delete_oldest, export_lock, read_record, sealed
from .conversion import input_limits, prepared, to_onnx
from .digest import digest
from .formats import FORMATS, format_of
from .onednn import interpolation_for_onednn
from .program import CutShort, save_program
from .session import ANY, Eager, Engine, open_session

__all__ = ["ENGINES", "PRECISIONS", "Engine", "EngineLayer", "available", "missing", "open_exported", "open_network"]

logger = logging.getLogger("densebone")

#: a folder for exports; None for the usual one, False to keep nothing
Cache = str | Path | Literal[False] | None

_ONNX_FILE = FORMATS["onnx"].main
# Each is also the name of its distribution on PyPI.
_ONNX_ENGINES = FORMATS["onnx"].engines


def missing() -> dict[str, str]:
    """{engine: why it cannot run a network here and how to install it}, for every engine that is not available."""
    reasons = {name: missing_package(*ENGINES[name], *_converters(name)) for name in ENGINES}
    return {name: reason for name, reason in reasons.items() if reason}


def _converters(engine):
    """The packages that convert a network for an engine."""
    return CONVERTERS if engine in _ONNX_ENGINES else ()


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
) -> Engine:
    """Opens a network on an engine, with the weights that it has now, in eval mode.

    "auto" tries OpenVINO and ONNX Runtime on this network, takes the faster one and remembers it. Without either it
    takes Paddle Inference, and eager as the last choice. It leaves out an engine that cannot convert the network or
    that computes something else, and logs a warning. When Paddle computes on a GPU, "auto" stays with eager.

    Args:
        network: a classifier, a backbone or a whole model that takes one float32 (N, C, H, W).
        engine: "auto" or one of `ENGINES`.
        precision: "fp32", or "bf16" for OpenVINO and Paddle Inference on a CPU that has it.
        threads: CPU threads; None leaves the number to the engine.
        input_size: (height, width) of most images. The engine prepares for it and takes other sizes too.
        cache: folder for exports; None for the usual one; False keeps nothing.
        throughput: whether several threads will call the engine at once. It then runs as many calls side by side as it
            has threads, each on one. That computes more pictures a second, and takes longer for each.

    Raises:
        UserError: an option is out of range, or the engine is not installed or lacks the precision.
        RuntimeError: the engine that `engine` names cannot run the network, or computes something else.
    """
    check_choice("engine", engine, ("auto", *ENGINES))
    _check_options(precision, threads)
    size = checked_size(input_size, input_limits(network)[1])
    streams = (threads or available_cpus()) if throughput else 1
    exports = _NetworkExports(network, precision, streams if throughput else threads, size, cache, streams)
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
    return PRECISIONS if engine in ("openvino", "paddle") else ("fp32",)


def _check_precision(engine, precision):
    if precision not in _precisions_of(engine):
        raise UserError(f"engine {engine!r} computes in fp32 only; give precision='fp32', or the engine 'openvino'")


def _open_fastest(exports):
    """What "auto" opens."""
    if paddle.device.get_device().startswith("gpu") and exports.precision == "fp32":
        return exports.open("eager")
    names = [name for name in available() if exports.precision in _precisions_of(name)]
    if not names:
        raise UserError(f"no engine here computes in {exports.precision}; pip install 'densebone[openvino]'")
    if (remembered := exports.remembered_winner()) in names:
        names.remove(remembered)
        return _open_first(exports, [remembered, *names])
    rivals = [name for name in names if name in _ONNX_ENGINES]
    opened = [engine for name in rivals if (engine := _open_or_warn(exports, name))]
    if not opened:
        return _open_first(exports, [name for name in names if name not in rivals])
    return exports.keep_fastest(opened)


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


class _NetworkExports:
    """The exports of one network in a cache folder: makes, checks and opens them, and remembers the fastest engine."""

    def __init__(self, network, precision, threads, size, cache, streams):
        self.streams = streams
        self.network, self.precision, self.threads, self.size = network, precision, threads, size
        self.channels, self.min_side = input_limits(network)
        self._temporary = None
        self._folder = self._cache_folder(cache)
        self._copies, self._digests, self._sealed = {}, {}, {}

    def _cache_folder(self, cache):
        if cache is not False:
            folder = home() / "engines" if cache is None else Path(cache)
            try:
                check_writable(folder)
                free, needed = shutil.disk_usage(folder).free, self._room()
                if free >= needed:
                    return folder
                logger.warning(
                    "exported networks are not kept: %s has %d MB free, and this network needs %d MB",
                    folder, free >> 20, needed >> 20,
                )  # fmt: skip
            except UserError as error:
                logger.warning("exported networks are not kept: %s", error)
        self._temporary = tempfile.TemporaryDirectory(prefix="densebone-")
        return Path(self._temporary.name)

    def _room(self):
        """Bytes that exporting takes at most: the program, the ONNX file, and what is made on the way."""
        weights = sum(value.size * value.element_size() for value in self.network.state_dict().values())
        return 4 * weights + (16 << 20)

    def _copy_for(self, engine):
        """The network in the form that is fastest on an engine."""
        if engine not in self._copies:
            self._copies[engine] = prepared(self.network, engine)
        return self._copies[engine]

    def _digest_for(self, engine):
        if engine not in self._digests:
            self._digests[engine] = digest(self._copy_for(engine))
        return self._digests[engine]

    def open(self, name):
        """The network on an engine, exported and checked; RuntimeError when it computes something else."""
        options = {"precision": self.precision, "threads": self.threads, "min_side": self.min_side}
        options |= {"shape": (None, self.channels, None, None), "streams": self.streams}
        if name == "eager":
            return Eager(self._copy_for("eager"), **options)
        model = self._export(name)
        try:
            engine = open_session(name, model, size=self.size, **options)
            engine.temporary = self._temporary
            self._check(engine)
        except CutShort:  # it must not be taken next time
            shutil.rmtree(model, ignore_errors=True)
            raise
        return engine

    def _export(self, engine):
        """The exported model for an engine; writes it unless the cache has it."""
        form = "onnx" if engine in _ONNX_ENGINES else "paddle"
        target = self._folder / f"{self._digest_for(engine)}-{form}"
        with export_lock(target):
            reason = broken(target) if target.is_dir() else ""
            if reason:
                logger.warning("the exported network in %s is made anew: %s", target, reason)
            if reason is not None:
                with new_folder(target) as folder, sealed(folder):
                    with interpolation_for_onednn() if form == "paddle" else nullcontext():
                        save_program(self._copy_for(engine), folder, [-1, self.channels, -1, -1])
                    if form == "onnx":
                        to_onnx(folder, folder / _ONNX_FILE)
                        delete_all_but(folder, _ONNX_FILE)
            os.utime(target)
            self._sealed[engine] = sha256_of(target / SEAL)
        delete_oldest(self._folder)
        return target / _ONNX_FILE if form == "onnx" else target

    def _check(self, engine):
        """Compares an engine with eager, once for each export that was made, engine version and machine."""
        file = self._record_file(engine.name, self._digest_for(engine.name), engine.precision)
        record, export = read_record(file), self._sealed[engine.name]
        difference = record.get("difference") if record.get("export") == export else None
        if difference is None:
            difference = self._largest_difference(engine)
            with atomic_path(file) as temporary:
                temporary.write_text(json.dumps({"engine": engine.title, "difference": difference, "export": export}))
        engine.note = "; ".join(filter(None, [engine.note, f"differs from eager by {difference:.1e} x std at most"]))

    def _largest_difference(self, engine):
        """From eager, on random images of two sizes, in standard deviations of the output."""
        eager = Eager(self._copy_for("eager"))
        largest = 0.0
        for shape in check_shapes(self.channels, self.min_side):
            images = random_images(shape)
            largest = max(largest, check_outputs(eager.run(images), engine.run(images), TOLERANCES[engine.precision]))
        return largest

    def remembered_winner(self):
        """The engine that won an earlier trial, or None."""
        return read_record(self._trial_file()).get("engine")

    def keep_fastest(self, engines):
        """The fastest of some engines in a trial. Remembers it, and closes the others."""
        if len(engines) == 1:
            return engines[0]
        images = random_images((1, self.channels, *(self.size or (max(224, self.min_side),) * 2)))
        times = race(engines, images)
        best = min(engines, key=lambda engine: times[engine.name])
        with atomic_path(self._trial_file()) as temporary:
            temporary.write_text(json.dumps({"engine": best.name, "ms": times}))
        told = ", ".join(f"{name} {ms:.1f} ms" for name, ms in times.items())
        logger.info("trial at %d x %d: %s", images.shape[2], images.shape[3], told)
        for engine in engines:
            if engine is not best:
                engine.close()
        return best

    def _trial_file(self):
        rivals = [version(name) for name in _ONNX_ENGINES if name in available()]
        facts = self.precision, self.threads, self.size, rivals
        return self._record_file("auto", self._digest_for("openvino"), *facts, *([self.streams] * (self.streams > 1)))

    def _record_file(self, name, *facts):
        """The file that remembers something about `name` under these facts, on this machine."""
        installed = version(name) if name in _ONNX_ENGINES else ""
        key = hashlib.sha256(repr((facts, installed, machine())).encode()).hexdigest()[:24]
        return self._folder / f"{name}-{key}.json"


def race(
    engines: Sequence[Engine], images: np.ndarray, rounds: int = 3, turn: int = 5, patience: float = 3.0
) -> dict[str, float]:
    """Times engines against each other. They take turns, so that other load on the machine slows all alike.

    Args:
        engines: with different names.
        images: (N, C, H, W), the input of every run.
        rounds: how often each engine has its turn.
        turn: timed runs in a turn; in the first round one.
        patience: seconds after which no further round starts.

    Returns:
        {engine name: ms of its fastest run}.
    """
    times: dict[str, list[float]] = {engine.name: [] for engine in engines}
    start = time.perf_counter()
    for number in range(rounds):
        for engine in engines:
            engine.run(images)
            for _ in range(turn if number else 1):
                before = time.perf_counter()
                engine.run(images)
                times[engine.name].append((time.perf_counter() - before) * 1e3)
        if time.perf_counter() - start > patience:
            break
    return {name: round(min(taken), 3) for name, taken in times.items()}


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
