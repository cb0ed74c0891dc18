"""An exported file on ONNX Runtime or OpenVINO: {input: array} -> [output, ...]."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import UserError
from ..system import reports
from ..system.processors import available_cpus

#: engine -> the files that it reads, the fastest first
ENGINES = {"openvino": ("model.xml", "model.onnx"), "onnxruntime": ("model.onnx",)}

#: ONNX Runtime's names of types that are not NumPy's
_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64"} | {
    f"tensor({name})": name for name in ("int64", "int32", "uint8", "int8", "uint16", "bool", "float16")
}


class Tensor(NamedTuple):
    """What a network takes or returns: its name, NumPy's name of the type, and the sides, None for any."""

    name: str
    dtype: str
    shape: list[int | None]


class OnnxRuntime:
    """A file on ONNX Runtime. Several threads may call it.

    Args:
        file: an ONNX file.
        threads: None leaves the number to the engine.
        streams: how many calls are to run side by side; they share the threads.
    """

    def __init__(self, file: Path, threads: int | None, streams: int = 1):
        reports.forbid()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads or streams > 1:
            options.intra_op_num_threads = max(1, (threads or available_cpus()) // streams)
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.inputs = {one.name: _shape(one.shape) for one in self._session.get_inputs()}
        self.outputs = [one.name for one in self._session.get_outputs()]
        self.tensors = [
            [Tensor(one.name, _DTYPES.get(one.type, one.type), _shape(one.shape)) for one in side]
            for side in (self._session.get_inputs(), self._session.get_outputs())
        ]
        self.description = f"ONNX Runtime {onnxruntime.__version__}"

    def __call__(self, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Runs the model."""
        return self._session.run(None, dict(feed))


class OpenVINO:
    """A file on OpenVINO; arguments as `OnnxRuntime`."""

    def __init__(self, file: Path, threads: int | None, streams: int = 1):
        openvino = reports.import_openvino()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            **({"PERFORMANCE_HINT": "LATENCY"} if streams == 1 else {"NUM_STREAMS": str(streams)}),
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        self._model = openvino.Core().compile_model(str(file), "CPU", settings)
        self._free: deque[Any] = deque()
        self.tensors = [
            [Tensor(name(one), str(one.element_type.to_dtype()), _sides(one.partial_shape)) for one in side]
            for side, name in ((self._model.inputs, lambda one: one.any_name), (self._model.outputs, _first_name))
        ]
        self.inputs = {one.name: one.shape for one in self.tensors[0]}
        self.outputs = [one.name for one in self.tensors[1]]
        self.description = f"OpenVINO {openvino.__version__.partition('-')[0]}"

    def __call__(self, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Runs the model, with a request that no other thread uses meanwhile."""
        try:
            request = self._free.pop()
        except IndexError:
            request = self._model.create_infer_request()
        found = request.infer(dict(feed), share_inputs=False)
        self._free.append(request)
        return [found[one] for one in self._model.outputs]


def _first_name(output):
    return min(output.names, default="")


def _sides(shape):
    return [None if side.is_dynamic else side.get_length() for side in shape]


def _shape(shape):
    return [side if isinstance(side, int) else None for side in shape]


PRECISIONS = {"fp32": "model", "int8": "model_int8"}


def open_session(
    folder: Path, engine: str | None, threads: int | None, precision: str = "fp32", streams: int = 1
) -> Any:
    """Opens the fastest file of a folder.

    Args:
        folder: that `densebone export` wrote.
        engine: a key of `ENGINES`; None takes the first that is installed and has a file.
        threads, streams: see `OnnxRuntime`.
        precision: a key of `PRECISIONS`.

    Raises:
        UserError: no such engine or precision, no file for it, or a file that it cannot read.
    """
    if engine is not None and engine not in ENGINES:
        raise UserError(f"engine is {engine!r}; one of {', '.join(ENGINES)} is expected, or None for the fastest")
    if precision not in PRECISIONS:
        raise UserError(f"precision is {precision!r}; one of {', '.join(PRECISIONS)} is expected")
    names = {name: [file.replace("model", PRECISIONS[precision]) for file in files] for name, files in ENGINES.items()}
    missing, absent = [], []
    for name in [engine] if engine else ENGINES:
        files = [folder / file for file in names[name] if (folder / file).is_file()]
        if not files:
            absent.append(name)
            continue
        try:
            return _CLASSES[name](files[0], threads, streams)
        except ImportError:
            missing.append(name)
        except Exception as error:  # the engines raise many kinds for a file that they cannot read
            reason = " ".join(str(error).split()).replace(str(files[0]), "it")[:600]
            raise UserError(f"{files[0]} cannot be opened by {name} ({reason}); export the model again") from error
    if missing:
        raise UserError(f"{' and '.join(missing)} cannot be imported; pip install onnxruntime, or openvino")
    wanted = " or ".join(dict.fromkeys(file for name in absent for file in names[name]))
    raise UserError(
        f"{folder} holds no {wanted}; export with --format onnx{' --int8 FOLDER' if precision == 'int8' else ''}"
    )


_CLASSES = {"openvino": OpenVINO, "onnxruntime": OnnxRuntime}
