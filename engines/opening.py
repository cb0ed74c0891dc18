"""The fastest way to run a network on a CPU: OpenVINO, ONNX Runtime, Paddle Inference or Paddle itself.

    with engines.open_network(net) as engine:
        print(engine.description)
        (logits,) = engine.run(images)

A network is exported once and kept in `$DENSEBONE_HOME/engines` (or the user's cache), under a hash of its weights, its
structure and the versions that matter. Before its first use an export must compute what Paddle computes.
"""

import hashlib
import json
import logging
import os
import tempfile
import time
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

import paddle

from ..backbones.base import check_choice, check_count
from ..errors import UserError
from ..system.files import atomic_path, check_writable
from ..system.packages import CONVERTERS, ENGINES, PRECISIONS, missing_package
from ..system.processors import machine
from ..weights.download import home
from .agreement import TOLERANCES, check_outputs, check_shapes, random_images
from .cache import forget_oldest, keep_only, new_folder, only_one, read_json
from .conversion import input_limits, prepared, to_onnx
from .digest import digest
from .formats import format_of
from .onednn import interpolation_for_onednn
from .program import save_program
from .session import ANY, Eager, Engine, open_session

__all__ = ["ENGINES", "PRECISIONS", "Engine", "EngineLayer", "available", "missing", "open_exported", "open_network"]

logger = logging.getLogger("densebone")

_DISTRIBUTIONS = {"openvino": "openvino", "onnxruntime": "onnxruntime"}


def missing():
    """{engine: why it cannot run a network here, and the command that changes it} of those that are not installed."""
    reasons = {name: missing_package(*ENGINES[name], *_converter(name)) for name in ENGINES}
    return {name: reason for name, reason in reasons.items() if reason}


def _converter(name):
    return CONVERTERS if name in ("openvino", "onnxruntime") else ()


def available():
    """Names of the engines that can run a network here, fastest first; `missing` says what keeps the others away."""
    return [name for name in ENGINES if name not in missing()]


def open_network(network, engine="auto", precision="fp32", threads=None, input_size=None, cache=None):
    """A network as it is now, in eval mode, on an engine.

    "auto" takes OpenVINO or ONNX Runtime, whichever is faster in a short trial on this network, remembered for the next
    time; without them Paddle Inference, and at last eager. An engine that cannot convert the network, or that computes
    something else, is left out with a warning. Where Paddle computes on a GPU, "auto" stays with eager.

    Args:
        network (Layer): a classifier, a backbone or a whole model that takes one float32 (N, C, H, W).
        engine (str): "auto" or one of `ENGINES`.
        precision (str): "fp32", or "bf16" for OpenVINO and Paddle Inference on a CPU that has it.
        threads (int | None): None: as many as the engine finds right.
        input_size ((height, width) | None): what most pictures have; the engine prepares for it and takes others too.
        cache (str | Path | False | None): folder of exported models; None: the usual one; False: keep nothing.

    Returns:
        Engine.

    Raises:
        UserError: an option out of range, an engine that is not installed or cannot do the precision.
        RuntimeError: the engine that was asked for cannot run the network, or computes something else.
    """
    check_choice("engine", engine, ("auto", *ENGINES))
    check_choice("precision", precision, PRECISIONS)
    if threads is not None:
        check_count("threads", threads)
    size = checked_size(input_size, input_limits(network)[1])
    work = _Work(network, precision, threads, size, cache)
    if engine == "auto":
        chosen = _fastest(work)
    else:
        _check_choice_works(engine, precision)
        chosen = work.open(engine)
    logger.info("engine: %s", chosen.description)
    return chosen


def checked_size(size, least):
    """`size` as (height, width) or None; UserError unless both sides are whole numbers of `least` pixels or more."""
    if size is None:
        return None
    valid = isinstance(size, (list, tuple)) and len(size) == 2 and all(type(side) is int for side in size)
    if not valid or min(size) < least:
        raise UserError(f"input_size is {size!r}; give (height, width) in pixels, both {least} or more")
    return tuple(size)


def _check_choice_works(engine, precision):
    if reason := missing().get(engine):
        raise UserError(f"engine {engine!r}: {reason}")
    if precision not in _precisions(engine):
        raise UserError(f"engine {engine!r} computes in fp32 only; give precision='fp32', or the engine 'openvino'")


def _precisions(engine):
    return PRECISIONS if engine in ("openvino", "paddle") else ("fp32",)


def _fastest(work):
    """The engine for "auto"."""
    if paddle.device.get_device().startswith("gpu") and work.precision == "fp32":
        return work.open("eager")
    names = [name for name in available() if work.precision in _precisions(name)]
    if not names:
        raise UserError(f"no engine here computes in {work.precision}; pip install 'densebone[openvino]'")
    if (remembered := work.remembered()) in names:
        names.remove(remembered)
        names.insert(0, remembered)
        return _first(work, names)
    rivals = [name for name in names if name in ("openvino", "onnxruntime")]
    opened = [engine for name in rivals if (engine := _tried(work, name))]
    if not opened:
        return _first(work, [name for name in names if name not in rivals])
    return work.compare(opened)


def _first(work, names):
    """The first of the engines that works."""
    for name in names:
        if engine := _tried(work, name, is_last=name == names[-1]):
            return engine
    raise UserError("no engine can run this network")


def _tried(work, name, is_last=False):
    """An engine, or None with a warning when it cannot be used for this network."""
    try:
        return work.open(name)
    except Exception as error:  # what engines raise has no common class
        if is_last:
            raise
        logger.warning("engine %s is left out: %s", name, str(error).strip().partition("\n")[0])
        return None


class _Work:
    """A network on its way to an engine: its copies, its exported files and what is remembered about them."""

    def __init__(self, network, precision, threads, size, cache):
        self.network, self.precision, self.threads, self.size = network, precision, threads, size
        self.channels, self.min_side = input_limits(network)
        self._temporary = None
        self._folder = self._cache_folder(cache)
        self._copies, self._digests = {}, {}

    def _cache_folder(self, cache):
        if cache is not False:
            folder = home() / "engines" if cache is None else Path(cache)
            try:
                check_writable(folder)
                return folder
            except UserError as error:
                logger.warning("exported networks are not kept: %s", error)
        self._temporary = tempfile.TemporaryDirectory(prefix="densebone-")
        return Path(self._temporary.name)

    def copy(self, name):
        """The network in the form for an engine."""
        if name not in self._copies:
            self._copies[name] = prepared(self.network, name)
        return self._copies[name]

    def digest(self, name):
        if name not in self._digests:
            self._digests[name] = digest(self.copy(name))
        return self._digests[name]

    def open(self, name):
        """The engine on this network, checked; RuntimeError when it cannot run it as it should."""
        options = {"precision": self.precision, "threads": self.threads, "min_side": self.min_side}
        options["shape"] = (None, self.channels, None, None)
        if name == "eager":
            return Eager(self.copy("eager"), **options)
        engine = open_session(name, self._exported(name), size=self.size, **options)
        engine.temporary = self._temporary  # lives as long as what reads from it
        self._check(engine)
        return engine

    def _exported(self, name):
        """The model's files for an engine, exported at the first time."""
        form = "onnx" if _converter(name) else "paddle"
        target = self._folder / f"{self.digest(name)}-{form}"
        model = target / "model.onnx" if form == "onnx" else target
        with only_one(target):
            if not target.is_dir():
                with new_folder(target) as folder:
                    with interpolation_for_onednn() if form == "paddle" else nullcontext():
                        save_program(self.copy(name), folder, [-1, self.channels, -1, -1])
                    if form == "onnx":
                        to_onnx(folder, folder / "model.onnx")
                        keep_only(folder, "model.onnx")
            os.utime(target)
        forget_oldest(self._folder)
        return model

    def _check(self, engine):
        """Compares an engine with eager, once for each export, engine, version and machine."""
        record = self._record(engine.name, self.digest(engine.name), engine.precision)
        known = read_json(record).get("difference")
        if known is None:
            known = self.difference(engine)
            with atomic_path(record) as temporary:
                temporary.write_text(json.dumps({"engine": engine.title, "difference": known}))
        engine.note = "; ".join(filter(None, [engine.note, f"differs from eager by {known:.1e} x std at most"]))

    def difference(self, engine):
        """Largest difference from eager on random pictures of two sizes, over the output's standard deviation."""
        eager = Eager(self.copy("eager"))
        largest = 0.0
        for shape in check_shapes(self.channels, self.min_side):
            images = random_images(shape)
            largest = max(largest, check_outputs(eager.run(images), engine.run(images), TOLERANCES[engine.precision]))
        return largest

    def remembered(self):
        """The winner of an earlier trial, or None."""
        return read_json(self._choice()).get("engine")

    def compare(self, engines):
        """The faster of some engines; closes the others."""
        if len(engines) == 1:
            return engines[0]
        images = random_images((1, self.channels, *(self.size or (max(224, self.min_side),) * 2)))
        times = race(engines, images)
        best = min(engines, key=lambda engine: times[engine.name])
        with atomic_path(self._choice()) as temporary:
            temporary.write_text(json.dumps({"engine": best.name, "ms": times}))
        told = ", ".join(f"{name} {ms:.1f} ms" for name, ms in times.items())
        logger.info("trial at %d x %d: %s", images.shape[2], images.shape[3], told)
        for engine in engines:
            if engine is not best:
                engine.close()
        return best

    def _choice(self):
        versions = [version(_DISTRIBUTIONS[name]) for name in _DISTRIBUTIONS if name in available()]
        return self._record("auto", self.digest("openvino"), self.precision, self.threads, self.size, versions)

    def _record(self, name, *what):
        installed = version(_DISTRIBUTIONS[name]) if name in _DISTRIBUTIONS else ""
        key = hashlib.sha256(repr((what, installed, machine())).encode()).hexdigest()[:24]
        return self._folder / f"{name}-{key}.json"


def race(engines, images, rounds=3, turn=5, patience=3.0):
    """{name: least ms of a run}; they take turns, so that a busy machine slows all alike, for about `patience` s."""
    times, start = {engine.name: [] for engine in engines}, time.perf_counter()
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


def open_exported(path, engine=None, precision="fp32", threads=None, input_size=None):
    """An exported model on its engine.

    Args:
        path (str | Path): a folder with a Paddle inference model, an .onnx file, or an OpenVINO .xml file.
        engine (str | None): "onnxruntime" or "openvino" for an .onnx file; None takes the first that is installed.
        precision, threads, input_size: as in `open_network`.

    Raises:
        UserError: no such model, or no engine for it; the options of `open_network`.
    """
    path = Path(path)
    check_choice("precision", precision, PRECISIONS)
    if threads is not None:
        check_count("threads", threads)
    allowed = format_of(path).engines
    if engine is None:
        installed = [name for name in allowed if not missing_package(*ENGINES[name])]
        installed = [name for name in installed if precision in _precisions(name)]
        engine = (installed or allowed)[0]
    if engine not in allowed:
        raise UserError(f"engine is {engine!r}; {path} is read by {' or '.join(allowed)}")
    if precision not in _precisions(engine):
        raise UserError(f"engine {engine!r} computes in fp32 only; give precision='fp32', or the engine 'openvino'")
    size = checked_size(input_size, 1)
    return open_session(engine, path, precision=precision, threads=threads, shape=ANY, size=size)


class EngineLayer(paddle.nn.Layer):
    """An engine in the place of a network: a layer that takes and returns Paddle's tensors.

    Args:
        engine (Engine): what runs.
    """

    def __init__(self, engine):
        super().__init__()
        self.engine = engine
        self.eval()

    def forward(self, x):
        """(N, C, H, W) -> list of the network's outputs."""
        return [paddle.to_tensor(out) for out in self.engine.run(x.numpy())]
