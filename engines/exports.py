"""The exports of one network in a cache folder: written once, checked, and opened on the engines that read them."""

import copy
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
from typing import Any, Literal

import numpy as np
import paddle

from ..errors import UserError
from ..system.files import atomic_path, check_writable, sha256_of
from ..system.folders import new_folder
from ..system.home import home
from ..system.packages import CONVERTERS, ENGINES, missing_package
from ..system.processors import machine
from .agreement import TOLERANCES, check_outputs, check_shapes, random_images
from .cache import SEAL, broken, delete_all_but, delete_oldest, export_lock, read_record, sealed
from .calibration import Calibration, has_eight_bits, note_the_processor, warn_of_unlike
from .conversion import input_limits, prepared, to_onnx
from .digest import digest
from .formats import FORMATS
from .onednn import interpolation_for_onednn
from .program import CutShort, save_program
from .quantization import MAX_TRIED, Quantizer, agreement, choose_float32
from .session import Eager, Engine, OnnxRuntime, open_session

logger = logging.getLogger("densebone")

#: a folder for exports; None for the usual one, False to keep nothing
Cache = str | Path | Literal[False] | None

_ONNX_FILE = FORMATS["onnx"].main
# Each is also the name of its distribution on PyPI.
ONNX_ENGINES = FORMATS["onnx"].engines


class NetworkExports:
    """The exports of one network in a cache folder: makes, checks and opens them, and remembers the fastest engine.

    The arguments are those of `opening.open_network`; `streams` is how many calls run side by side.
    """

    def __init__(
        self,
        network: paddle.nn.Layer,
        precision: str,
        threads: int | None,
        size: tuple[int, int] | None,
        cache: Cache,
        streams: int,
        calibration: Calibration | None,
    ):
        self.streams, self.calibration = streams, calibration
        self._pictures: Any = None
        #: what the last trial measured, in words
        self.times = ""
        self.network, self.precision, self.threads, self.size = network, precision, threads, size
        self.channels, self.min_side = input_limits(network)
        self._temporary: Any = None
        self._folder = self._cache_folder(cache)
        self._copies: dict[str, Any] = {}
        self._digests: dict[str, str] = {}
        self._sealed: dict[str, str] = {}

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

    def in_float(self) -> "NetworkExports":
        """The same network in float32."""
        plain = copy.copy(self)
        plain.precision, plain.calibration, plain._sealed = "fp32", None, {}
        return plain

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

    def open(self, name: str) -> Engine:
        """The network on an engine, exported and checked; RuntimeError when it computes something else."""
        options: dict[str, Any] = {"precision": self.precision, "threads": self.threads, "min_side": self.min_side}
        options |= {"shape": (None, self.channels, None, None), "streams": self.streams}
        if name == "eager":
            return Eager(self._copy_for("eager"), **options)
        model = self._export(name) if self.calibration is None else self._export_eight_bits(name)
        try:
            engine = open_session(name, model, size=self.size, **options)
            engine.temporary = self._temporary
            if self.calibration is None:
                self._check(engine)
            else:
                self._check_eight_bits(engine)
        except CutShort:  # it must not be taken next time
            shutil.rmtree(model, ignore_errors=True)
            raise
        return engine

    def _export(self, engine):
        """The exported model for an engine; writes it unless the cache has it."""
        form = "onnx" if engine in ONNX_ENGINES else "paddle"

        def write(folder):
            with interpolation_for_onednn() if form == "paddle" else nullcontext():
                save_program(self._copy_for(engine), folder, [-1, self.channels, -1, -1])
            if form == "onnx":
                to_onnx(folder, folder / _ONNX_FILE)
                delete_all_but(folder, _ONNX_FILE)

        target = self._kept(engine, form, write)
        return target / _ONNX_FILE if form == "onnx" else target

    def _kept(self, engine, form, write):
        """The folder of a form of the network for an engine; `write` fills it unless the cache has it, whole."""
        target = self._folder / f"{self._digest_for(engine)}-{form}"
        with export_lock(target):
            reason = broken(target) if target.is_dir() else ""
            if reason:
                logger.warning("the exported network in %s is made anew: %s", target, reason)
            if reason is not None:
                with new_folder(target) as folder, sealed(folder):
                    write(folder)
            os.utime(target)
            self._sealed[engine] = sha256_of(target / SEAL)
        delete_oldest(self._folder)
        return target

    def _export_eight_bits(self, engine):
        """The 8-bit model for an engine; makes it of the float32 one unless the cache has it."""
        source, form = self._export(engine), f"int8-{self._calibration_key()}"
        return self._kept(engine, form, lambda folder: self._quantize(source, folder / _ONNX_FILE)) / _ONNX_FILE

    def _read_pictures(self):
        """(inputs to calibrate on, inputs to compare on), read and looked at once for all engines."""
        if self._pictures is None:
            note_the_processor()
            calibrated, compared, _ = self.calibration.read()
            warn_of_unlike(self.network, calibrated, self.calibration.pictures)
            self._pictures = calibrated, compared
        return self._pictures

    def _calibration_key(self):
        facts = self.calibration.key, version("onnxruntime"), has_eight_bits()
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def _quantize(self, source, target):
        calibrated, compared = self._read_pictures()
        plain = OnnxRuntime(source)
        with plain:
            feeds = ({plain.input_name: image[None]} for image in calibrated)
            tried = compared[:MAX_TRIED]
            expected = [plain.run(image[None]) for image in tried]
        quantizer = Quantizer(source, feeds, full_range=has_eight_bits())
        kept = choose_float32(quantizer, None, tried, expected, None)
        target.write_bytes(quantizer.model([layer for layer in quantizer.layers if layer not in kept]))

    def _check_eight_bits(self, engine):
        """Compares an 8-bit engine with eager on the pictures that did not calibrate it, once, as `_check` does."""
        file = self._record_file(engine.label, self._digest_for(engine.name), self._calibration_key())
        record, export = read_record(file), self._sealed[engine.name]
        if record.get("export") != export:
            eager, (_, compared) = Eager(self._copy_for("eager")), self._read_pictures()
            pairs = [(eager.run(image[None]), engine.run(image[None])) for image in compared]
            found = agreement(*zip(*pairs))
            if not (found["error"] or 0) <= TOLERANCES["int8"]:
                raise RuntimeError(
                    f"in 8 bits it differs from Paddle by {found['error']:.2f} of the output's standard deviation, and "
                    f"{TOLERANCES['int8']:g} is allowed"
                )
            record = {"engine": engine.title, "export": export, "pictures": len(compared), **found}
            with atomic_path(file) as temporary:
                temporary.write_text(json.dumps(record))
        share = "" if record["agreement"] is None else f"keeps the best class on {record['agreement']:.1%} of "
        error = "" if record["error"] is None else f", error {record['error']:.3f} x std"
        engine.note = f"{share or 'compared on '}{record['pictures']} pictures{error}"

    def _check(self, engine):
        """Compares an engine with eager, once for each export that was made, engine version and machine."""
        file = self._record_file(engine.name, self._digest_for(engine.name), engine.precision)
        record, export = read_record(file), self._sealed[engine.name]
        difference = record.get("difference") if record.get("export") == export else None
        if difference is None:
            difference = self._largest_difference(engine)
            with atomic_path(file) as temporary:
                temporary.write_text(json.dumps({"engine": engine.title, "difference": difference, "export": export}))
        how = "at most" if engine.precision == "fp32" else "(root mean square)"
        engine.note = "; ".join(filter(None, [engine.note, f"differs from eager by {difference:.1e} x std {how}"]))

    def _largest_difference(self, engine):
        """From eager, on random images of two sizes, in standard deviations of the output; see `TOLERANCES`."""
        eager = Eager(self._copy_for("eager"))
        largest = 0.0
        for shape in check_shapes(self.channels, self.min_side):
            images = random_images(shape)
            outputs, precision = (eager.run(images), engine.run(images)), engine.precision
            largest = max(largest, check_outputs(*outputs, TOLERANCES[precision], mean=precision != "fp32"))
        return largest

    def remembered_winner(self) -> str | None:
        """The engine that won an earlier trial, or None."""
        return read_record(self._trial_file()).get("engine")

    def keep_fastest(self, engines: Sequence[Engine]) -> Engine:
        """The fastest of some engines in a trial. Remembers it, and closes the others."""
        if len(engines) == 1:
            return engines[0]
        images = random_images((1, self.channels, *(self.size or (max(224, self.min_side),) * 2)))
        times = race(engines, images)
        best = min(engines, key=lambda engine: times[engine.label])
        with atomic_path(self._trial_file()) as temporary:
            temporary.write_text(json.dumps({"engine": best.label, "ms": times}))
        self.times = ", ".join(f"{name} {ms:.1f} ms" for name, ms in times.items())
        logger.info("trial at %d x %d: %s", images.shape[2], images.shape[3], self.times)
        for engine in engines:
            if engine is not best:
                engine.close()
        return best

    def _trial_file(self):
        rivals = [version(name) for name in ONNX_ENGINES if not missing_package(*ENGINES[name], *CONVERTERS)]
        facts = self.precision, self.threads, self.size, rivals
        facts += () if self.calibration is None else (self._calibration_key(),)
        return self._record_file("auto", self._digest_for("openvino"), *facts, *([self.streams] * (self.streams > 1)))

    def _record_file(self, name, *facts):
        """The file that remembers something about `name` under these facts, on this machine."""
        name = name.replace(" ", "-")
        package = name.removesuffix("-int8")
        installed = version(package) if package in ONNX_ENGINES else ""
        key = hashlib.sha256(repr((facts, installed, machine())).encode()).hexdigest()[:24]
        return self._folder / f"{name}-{key}.json"


def race(
    engines: Sequence[Engine], images: np.ndarray, rounds: int = 3, turn: int = 5, patience: float = 3.0
) -> dict[str, float]:
    """Times engines against each other. They take turns, so that other load on the machine slows all alike.

    Args:
        engines: with different labels.
        images: (N, C, H, W), the input of every run.
        rounds: how often each engine has its turn.
        turn: timed runs in a turn; in the first round one.
        patience: seconds after which no further round starts.

    Returns:
        {engine's label: ms of its fastest run}.
    """
    times: dict[str, list[float]] = {engine.label: [] for engine in engines}
    start = time.perf_counter()
    for number in range(rounds):
        for engine in engines:
            engine.run(images)
            for _ in range(turn if number else 1):
                before = time.perf_counter()
                engine.run(images)
                times[engine.label].append((time.perf_counter() - before) * 1e3)
        if time.perf_counter() - start > patience:
            break
    return {name: round(min(taken), 3) for name, taken in times.items()}
