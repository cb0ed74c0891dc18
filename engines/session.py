"""One small class per engine: an exported network, or a Paddle layer, behind `run(images)`."""

from collections import OrderedDict

import numpy as np

from ..errors import UserError
from ..system.packages import ENGINES, missing_package
from ..system.processors import available_cpus, cpu_flags
from .channel_padding import pad_channels
from .formats import program_file
from .onednn import onednn_fails
from .program import open_predictor

ANY = (None, None, None, None)
# OpenVINO: how often a size comes before it is compiled for by itself, and how many such are kept.
PATIENCE, KEPT = 8, 4


class Engine:
    """A network that runs on the CPU. Use it from one thread at a time; `with` closes it.

    Args:
        precision (str): "fp32", or "bf16" for arithmetic with 8 bits of mantissa and pictures and outputs in float32.
        threads (int | None): None leaves the number to the engine.
        shape (sequence of int | None): of the pictures, (N, C, H, W); None for what may differ.
        min_side (int): the smallest height and width, pixels.

    Attributes:
        name (str): one of `engines.ENGINES`.
        description (str): what runs and how, for people.
    """

    name = title = ""

    def __init__(self, precision="fp32", threads=None, shape=ANY, min_side=1):
        self.precision, self.threads, self.shape, self.min_side = precision, threads, tuple(shape), min_side
        self.note = ""

    @property
    def description(self):
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}" if self.threads else "threads by default"
        return ", ".join(filter(None, [self.title, self.precision, threads, self.note]))

    def run(self, images):
        """float32 (N, C, H, W), prepared as the network wants them -> list of arrays, the network's outputs.

        N, H and W may change from call to call unless the exported model is for one size.

        Raises:
            UserError: images of another type or shape than the network takes.
        """
        return self._run(np.ascontiguousarray(self._checked(np.asarray(images)), np.float32))

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

    def _run(self, images):
        raise NotImplementedError

    def close(self):
        """Frees what the engine holds; it cannot run after that."""
        self._run = _closed

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def _closed(images):
    raise RuntimeError("this engine is closed")


class OpenVINO(Engine):
    """An ONNX file, or an OpenVINO .xml.

    The model is compiled for every size at once; a size that comes again and again gets a model of its own.

    Args:
        path (str | Path): the file.
        size ((height, width) | None): compile for it from the first picture on.
    """

    name = "openvino"

    def __init__(self, path, size=None, **options):
        import openvino

        super().__init__(**options)
        self.title = f"OpenVINO {openvino.__version__.partition('-')[0]}"
        self._core, self._size = openvino.Core(), size
        if self.precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise UserError(NO_BF16)
        self._model = self._core.read_model(str(path))
        given = self._model.inputs[0].partial_shape
        self.shape = _tighter(self.shape, [None if side.is_dynamic else side.get_length() for side in given])
        self._any, self._fixed, self._seen = None, OrderedDict(), {}

    def _run(self, images):
        request = self._request(images.shape)
        # A copy: OpenVINO may hold on to the memory of its input longer than the caller does.
        found = request.infer([images], share_inputs=False)
        return [found[out] for out in request.model_outputs]

    def _request(self, shape):
        if shape in self._fixed:
            self._fixed.move_to_end(shape)
            return self._fixed[shape]
        seen = self._seen[shape] = self._seen.pop(shape, 0) + 1
        if len(self._seen) > 1000:
            del self._seen[next(iter(self._seen))]
        if shape[2:] != self._size and seen <= PATIENCE:
            if self._any is None:
                self._any = self._compile(self._model)
            return self._any
        model = self._model.clone()
        model.reshape(list(shape))
        self._fixed[shape] = self._compile(model)
        if len(self._fixed) > KEPT:
            self._fixed.popitem(last=False)
        return self._fixed[shape]

    def _compile(self, model):
        # Without the hint OpenVINO takes bf16 where the CPU has it.
        settings = {"INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32"}
        settings |= {"PERFORMANCE_HINT": "LATENCY"}
        if self.threads:
            settings["INFERENCE_NUM_THREADS"] = self.threads
        return self._core.compile_model(model, "CPU", settings).create_infer_request()

    def close(self):
        super().close()
        self._any = self._model = self._core = None
        self._fixed.clear()


class OnnxRuntime(Engine):
    """An ONNX file."""

    name = "onnxruntime"

    def __init__(self, path, size=None, **options):
        import onnxruntime

        super().__init__(**options)
        self.title = f"ONNX Runtime {onnxruntime.__version__}"
        self.threads = self.threads or available_cpus()
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = self.threads, 1
        settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        settings.log_severity_level = 3  # its warnings are about constants that paddle2onnx leaves behind
        # Else its threads go round and round, waiting for the next run, while others decode pictures.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        model = _padded(path) or str(path)
        self._session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        source = self._session.get_inputs()[0]
        self.input_name = source.name
        self.shape = _tighter(self.shape, [side if isinstance(side, int) else None for side in source.shape])

    def _run(self, images):
        return self._session.run(None, {self.input_name: images})

    def close(self):
        super().close()
        self._session = None


def _padded(path):
    """An ONNX file with padded channels, as bytes; None where that changes nothing, or was not measured to help."""
    if "avx512f" in cpu_flags() or "avx2" not in cpu_flags():
        return None
    try:
        import onnx
    except ImportError:  # `densebone[onnx]` brings it, ONNX Runtime alone does not
        return None
    model = onnx.load(str(path))
    return model.SerializeToString() if pad_channels(model) else None


class PaddleInference(Engine):
    """A folder with model.json or model.pdmodel and model.pdiparams."""

    name = "paddle"

    def __init__(self, path, size=None, **options):
        import paddle

        super().__init__(**options)
        self.title = f"Paddle Inference {paddle.version.full_version}"
        self.threads = self.threads or available_cpus()
        version = paddle.version.full_version
        if self.precision == "bf16":
            core = paddle.base.core
            if not getattr(core, "supports_bfloat16_fast_performance", core.supports_bfloat16)():
                raise UserError(NO_BF16)
        uses_onednn = self.precision == "bf16" or not onednn_fails(program_file(path), version)
        if not uses_onednn:
            self.note = "without oneDNN, which cannot interpolate in this release"
        self._predictor = open_predictor(path, self.threads, uses_onednn, self.precision == "bf16")
        (name,) = self._predictor.get_input_names()
        self._source = self._predictor.get_input_handle(name)
        self._outputs = [self._predictor.get_output_handle(out) for out in self._predictor.get_output_names()]

    def _run(self, images):
        self._source.copy_from_cpu(images)
        self._predictor.run()
        return [out.copy_to_cpu() for out in self._outputs]

    def close(self):
        super().close()
        self._predictor = self._source = self._outputs = None


class Eager(Engine):
    """A Paddle layer in eval mode, run as it is; on the GPU where Paddle computes there."""

    name = "eager"

    def __init__(self, layer, **options):
        import paddle

        super().__init__(**options)
        self.title = f"Paddle {paddle.version.full_version}, eager"
        if self.threads:
            paddle.base.core.set_num_threads(self.threads)
        self._layer = layer

    def _run(self, images):
        import paddle

        with paddle.no_grad():
            found = self._layer(paddle.to_tensor(images))
        return [out.numpy() for out in (found if isinstance(found, (list, tuple)) else [found])]

    def close(self):
        super().close()
        self._layer = None


NO_BF16 = "precision is 'bf16', and this CPU has no instructions for it (avx512_bf16 or amx_bf16); give 'fp32'"
SESSIONS = {kind.name: kind for kind in (OpenVINO, OnnxRuntime, PaddleInference)}


def _tighter(shape, model):
    """The shape that both allow, None for what may differ."""
    return tuple(have if want is None else want for want, have in zip(shape, model))


def open_session(name, path, **options):
    """The engine `name` on an exported model; UserError when it is not installed."""
    if reason := missing_package(*ENGINES[name]):
        raise UserError(f"engine {name!r}: {reason}")
    return SESSIONS[name](path, **options)
