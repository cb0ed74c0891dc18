"""One small class for each engine: an exported network, or a Paddle layer, behind `run(images)`."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import paddle

from ..errors import UserError
from ..system import reports
from ..system.packages import ENGINES, missing_package
from ..system.processors import available_cpus, cpu_flags
from .channel_padding import pad_channels
from .formats import program_file
from .onednn import onednn_fails
from .program import math_threads, open_predictor

#: any batch size, number of channels, height and width
ANY = (None, None, None, None)
#: OpenVINO: how often a size runs on the model for all sizes before it gets a model of its own, and how many of these
#: are kept
PATIENCE, KEPT = 8, 4
NO_BF16 = "precision is 'bf16', and this CPU has no instructions for it (avx512_bf16 or amx_bf16); give 'fp32'"


class Engine:
    """A network that runs on the CPU. Any thread may call it; a `with` block closes it.

    Args:
        precision: "fp32", "bf16" for arithmetic in bfloat16, or "int8" for a model whose layers are in 8 bits. Images
            and outputs are float32 in all of them.
        threads: None leaves the number to the engine.
        shape: of the images, (N, C, H, W); None for a side that may differ.
        min_side: the smallest height and width, in pixels.
        streams: how many calls run side by side, which share the threads; other calls wait. Paddle's engines run one.

    Attributes:
        name: one of `system.packages.ENGINES`.
        title: the engine and its version, as a person reads it.
        note: a remark that belongs to the description.
        temporary: a temporary folder that must live as long as the engine reads from it.
    """

    name: str = ""
    title: str = ""
    _runs_side_by_side = False

    def __init__(
        self,
        precision: str = "fp32",
        threads: int | None = None,
        shape: Sequence[int | None] = ANY,
        min_side: int = 1,
        streams: int = 1,
    ):
        self.streams = streams if self._runs_side_by_side else 1
        self._turns = threading.Semaphore(self.streams)
        self.precision, self.threads, self.shape, self.min_side = precision, threads, tuple(shape), min_side
        self.note = ""
        self.temporary: Any = None
        self._is_closed = False

    @property
    def label(self) -> str:
        """The name, with "int8" behind it for a model in 8 bits."""
        return f"{self.name} int8" if self.precision == "int8" else self.name

    @property
    def description(self) -> str:
        """What runs and how, as a person reads it."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}" if self.threads else "threads by default"
        streams = f"{self.streams} batches side by side" if self.streams > 1 else ""
        return ", ".join(filter(None, [self.title, self.precision, threads, streams, self.note]))

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        """The network's outputs for a batch.

        Args:
            images: float32 (N, C, H, W), prepared as the network expects them. N, H and W may change from call to call
                unless the exported model is for one size.

        Raises:
            UserError: the type or shape does not fit the network.
        """
        ready = np.ascontiguousarray(self._checked(np.asarray(images)), np.float32)
        with self._turns:
            if self._is_closed:
                raise RuntimeError("this engine is closed")
            return self._run(ready)

    def _checked(self, images):
        if images.ndim != 4 or not np.issubdtype(images.dtype, np.floating):
            raise UserError(
                f"images are {images.dtype} of shape {list(images.shape)}; give float32 (N, C, H, W), normalised"
            )
        wrong = any(want not in (None, have) for want, have in zip(self.shape, images.shape))
        if wrong or not len(images) or min(images.shape[2:]) < self.min_side:
            want = ", ".join(letter if side is None else str(side) for letter, side in zip("NCHW", self.shape))
            sides = f" with sides of {self.min_side} pixels or more" if self.min_side > 1 else ""
            raise UserError(f"images have shape {list(images.shape)}; this model takes ({want}){sides}")
        return images

    def _run(self, images: np.ndarray) -> list[np.ndarray]:
        raise NotImplementedError

    def close(self) -> None:
        """Frees the engine's memory. It cannot run afterwards."""
        self._is_closed = True

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class OpenVINO(Engine):
    """An ONNX file or an OpenVINO .xml file.

    OpenVINO compiles the model once for all sizes. A size that comes often gets a model of its own.

    Args:
        path: the file.
        size: (height, width) to compile for from the first image on.
        options: of `Engine`.
    """

    name = "openvino"
    _runs_side_by_side = True

    def __init__(self, path: str | Path, size: tuple[int, int] | None = None, **options: Any):
        openvino = reports.import_openvino()
        super().__init__(**options)
        self.title = f"OpenVINO {openvino.__version__.partition('-')[0]}"
        self._core, self._size = openvino.Core(), size
        if self.precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise UserError(NO_BF16)
        self._model = self._core.read_model(str(path))
        given = self._model.inputs[0].partial_shape
        self.shape = _intersection(self.shape, [None if side.is_dynamic else side.get_length() for side in given])
        self._lock = threading.Lock()
        self._for_all_sizes: Any = None
        self._by_shape: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._runs: dict[tuple[int, ...], int] = {}  # shape -> how often it came, the latest shape last

    def _run(self, images):
        with self._lock:
            requests = self._requests(images.shape)
        request = requests.get()
        try:
            # A copy: OpenVINO may hold on to the memory of its input longer than the caller does.
            found = request.infer([images], share_inputs=False)
            return [found[out] for out in request.model_outputs]
        finally:
            requests.put(request)

    def _requests(self, shape):
        """The requests, one for each stream, of the compiled model for a shape."""
        if shape in self._by_shape:
            self._by_shape.move_to_end(shape)
            return self._by_shape[shape]
        runs = self._runs[shape] = self._runs.pop(shape, 0) + 1
        if len(self._runs) > 1000:
            del self._runs[next(iter(self._runs))]
        if shape[2:] != self._size and runs <= PATIENCE:
            if self._for_all_sizes is None:
                self._for_all_sizes = self._compile(self._model)
            return self._for_all_sizes
        model = self._model.clone()
        model.reshape(list(shape))
        self._by_shape[shape] = self._compile(model)
        if len(self._by_shape) > KEPT:
            self._by_shape.popitem(last=False)
        return self._by_shape[shape]

    def _compile(self, model):
        # Without the hint OpenVINO computes in bf16 on every CPU that can.
        settings = {"INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32"}
        settings |= {"PERFORMANCE_HINT": "LATENCY"} if self.streams == 1 else {"NUM_STREAMS": str(self.streams)}
        if self.threads:
            settings["INFERENCE_NUM_THREADS"] = self.threads
        compiled, requests = self._core.compile_model(model, "CPU", settings), SimpleQueue()
        for _ in range(self.streams):
            requests.put(compiled.create_infer_request())
        return requests

    def close(self) -> None:
        """As in `Engine`."""
        super().close()
        self._for_all_sizes = self._model = self._core = None
        self._by_shape.clear()


class OnnxRuntime(Engine):
    """An ONNX file.

    Args:
        path: the file, or its content.
        size: ignored; every size runs alike.
        options: of `Engine`.
    """

    name = "onnxruntime"
    _runs_side_by_side = True

    def __init__(self, path: str | Path | bytes, size: tuple[int, int] | None = None, **options: Any):
        import onnxruntime

        super().__init__(**options)
        self.title = f"ONNX Runtime {onnxruntime.__version__}"
        self.threads = self.threads or available_cpus()
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = max(1, self.threads // self.streams), 1
        settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        settings.log_severity_level = 3  # hides warnings about constants that paddle2onnx leaves in the file
        # Otherwise its threads spin between two runs and take the CPU from those that decode pictures.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        model = path if isinstance(path, bytes) else _padded_model(path) or str(path)
        self._session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        source = self._session.get_inputs()[0]
        self.input_name = source.name
        self.shape = _intersection(self.shape, [side if isinstance(side, int) else None for side in source.shape])

    def _run(self, images):
        return self._session.run(None, {self.input_name: images})

    def close(self) -> None:
        """As in `Engine`."""
        super().close()
        self._session = None


def _padded_model(path):
    """An ONNX file with padded channels, as bytes; None where padding changes nothing or was not measured to help."""
    if "avx512f" in cpu_flags() or "avx2" not in cpu_flags():
        return None
    try:
        import onnx
    except ImportError:  # `densebone[onnx]` brings it, ONNX Runtime alone does not
        return None
    model = onnx.load(str(path))
    return model.SerializeToString() if pad_channels(model) else None


class PaddleInference(Engine):
    """A folder with model.json or model.pdmodel, and model.pdiparams.

    Args:
        path: the folder.
        size: ignored; every size runs alike.
        options: of `Engine`.
    """

    name = "paddle"

    def __init__(self, path: str | Path, size: tuple[int, int] | None = None, **options: Any):
        super().__init__(**options)
        version = paddle.version.full_version
        self.title = f"Paddle Inference {version}"
        self.threads = self.threads or available_cpus()
        if self.precision == "bf16":
            core = paddle.base.core
            if not getattr(core, "supports_bfloat16_fast_performance", core.supports_bfloat16)():
                raise UserError(NO_BF16)
        uses_onednn = self.precision == "bf16" or not onednn_fails(program_file(path), version)
        if not uses_onednn:
            self.note = "without oneDNN, which cannot interpolate in this release"
        with math_threads(self.threads):
            self._predictor = open_predictor(path, self.threads, uses_onednn, self.precision == "bf16")
        (name,) = self._predictor.get_input_names()
        self._input = self._predictor.get_input_handle(name)
        self._outputs = [self._predictor.get_output_handle(out) for out in self._predictor.get_output_names()]

    def _run(self, images):
        self._input.copy_from_cpu(images)
        with math_threads(self.threads):
            self._predictor.run()
        return [out.copy_to_cpu() for out in self._outputs]

    def close(self) -> None:
        """As in `Engine`."""
        super().close()
        self._predictor = self._input = None
        self._outputs = []


class Eager(Engine):
    """A Paddle layer in eval mode, run as it is; on the GPU when Paddle computes there.

    Args:
        layer: takes one float32 (N, C, H, W) and returns a tensor or several.
        options: of `Engine`.
    """

    name = "eager"

    def __init__(self, layer: paddle.nn.Layer, **options: Any):
        super().__init__(**options)
        self.title = f"Paddle {paddle.version.full_version}, eager"
        self._layer = layer

    def _run(self, images):
        with paddle.no_grad(), math_threads(self.threads):
            found = self._layer(paddle.to_tensor(images))
        return [out.numpy() for out in (found if isinstance(found, (list, tuple)) else [found])]

    def close(self) -> None:
        """As in `Engine`."""
        super().close()
        self._layer = None


SESSIONS: dict[str, Any] = {kind.name: kind for kind in (OpenVINO, OnnxRuntime, PaddleInference)}


def _intersection(shape, allowed):
    """The shape that satisfies both, with None for a side that may differ in both."""
    return tuple(have if want is None else want for want, have in zip(shape, allowed))


def open_session(name: str, path: str | Path | bytes, **options: Any) -> Engine:
    """An exported model on an engine.

    Args:
        name: "openvino", "onnxruntime" or "paddle".
        path: the file, or the folder of a Paddle inference model; for ONNX Runtime also the content of a file.
        options: of the engine's class.

    Raises:
        UserError: the engine is not installed, or the CPU lacks bf16.
    """
    if reason := missing_package(*ENGINES[name]):
        raise UserError(f"engine {name!r}: {reason}")
    return SESSIONS[name](path, **options)
