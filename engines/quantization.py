"""Post-training quantization to 8-bit integers: calibration on a folder of pictures, then a comparison with float32.

ONNX Runtime quantizes, and OpenVINO reads its file too. OpenVINO's own tool, NNCF, needs a NumPy that PaddleDetection
2.6 forbids.
"""

import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..pictures.preparing import Preprocessing
from .calibration import Calibration, note_the_processor
from .conversion import to_openvino
from .formats import FORMATS
from .session import OnnxRuntime, open_session

logger = logging.getLogger("densebone")

FLOAT_MODEL, INT8_ONNX, INT8_OPENVINO = FORMATS["onnx"].main, "model_int8.onnx", "model_int8.xml"
#: 8-bit file -> (the engine that runs it, all its files)
INT8_MODELS = {
    INT8_ONNX: ("onnxruntime", (INT8_ONNX,)),
    INT8_OPENVINO: ("openvino", (INT8_OPENVINO, "model_int8.bin")),
}
#: what multiplies by weights, and what engines fuse into it when both are in 8 bits. Without the second kind PeleeNet
#: takes 1.16 times as long as in float32 on ONNX Runtime, with it 0.69 times. All else stays in float32: OpenVINO
#: 2026.4 crashes when it compiles CondenseNetV2 with 8-bit concatenations, and it gains nothing for the others.
LAYERS, FUSED = ("Conv", "Gemm", "MatMul"), ("Relu", "Clip")
#: a network that keeps this share of the classes of pixels, or has this error, is not improved further
AGREES, ERROR = 0.98, 0.05
#: pictures on which layers are compared
MAX_TRIED = 8


class Quantizer:
    """A float32 ONNX file with the ranges of its feature maps, from which 8-bit models are made.

    Args:
        source: the ONNX file.
        feeds: inputs by name, one after the other; feature maps get their scales from them.
        full_range: use all 8 bits of the weights. Without it they have 7: on CPUs without 8-bit instructions, two
            products of 8-bit numbers overflow their 16-bit sum.

    Attributes:
        layers: names of the nodes that can compute in 8 bits, in the order of the graph.

    Raises:
        UserError: the file is in 8 bits already.
    """

    def __init__(self, source: str | Path, feeds: Iterable[Mapping[str, np.ndarray]], full_range: bool = False):
        from onnxruntime import quantization
        from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

        model = load_model_with_shape_infer(Path(source))
        if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
            raise UserError(f"{source} is in 8 bits already; give the float32 model")
        for number, node in enumerate(model.graph.node):
            node.name = node.name or f"{node.op_type}.{number}"
        self._model, self._full_range = model.SerializeToString(), full_range
        nodes = [node for node in model.graph.node if node.op_type in LAYERS]
        self.layers = [node.name for node in nodes]
        outputs = {node.output[0]: node.name for node in nodes}
        self._fused = {
            node.name: outputs[node.input[0]]
            for node in model.graph.node
            if node.op_type in FUSED and node.input[0] in outputs
        }
        reader = _Feeds(feeds)
        with tempfile.TemporaryDirectory(prefix="densebone-") as folder:
            calibrator = quantization.calibrate.create_calibrator(
                Path(source), [*LAYERS, *FUSED], calibrate_method=quantization.CalibrationMethod.MinMax,
                augmented_model_path=str(Path(folder, "observed.onnx")),
            )  # fmt: skip
            calibrator.collect_data(reader)
            self._ranges = calibrator.compute_data()

    def model(self, layers: Sequence[str]) -> bytes:
        """The ONNX model in which these layers, and the activations behind them, compute in 8 bits."""
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        chosen = set(layers)
        names = [*layers, *(name for name, layer in self._fused.items() if layer in chosen)]
        maker = QDQQuantizer(
            onnx.load_from_string(self._model), True, not self._full_range, quantization.QuantType.QInt8,
            quantization.QuantType.QUInt8, self._ranges, names, [], [*LAYERS, *FUSED], {},
        )  # fmt: skip
        maker.quantize_model()
        return maker.model.model.SerializeToString()


class _Feeds:
    """What ONNX Runtime's calibration reads."""

    def __init__(self, feeds):
        self._feeds = iter(feeds)

    def get_next(self):
        return next(self._feeds, None)


def quantize(
    folder: str | Path,
    pictures: str | Path,
    preprocessing: Preprocessing | Mapping[str, Any] | None,
    input_size: Sequence[int] | None = None,
    openvino: bool = False,
    layers: bool = False,
) -> dict[str, Any]:
    """Writes FOLDER/model_int8.onnx from model.onnx, and with `openvino` model_int8.xml and .bin.

    Convolutions and matrix products compute in 8 bits. Weights have one scale per output channel. Each feature map has
    one scale, from its smallest and largest value on every second picture. The other pictures are compared. Where the
    result differs too much from float32, the first or the last layer, or both, stay in float32 if that helps.

    Args:
        folder: holds model.onnx.
        pictures: folder of pictures; its subfolders are searched too.
        preprocessing: how a picture becomes an input.
        input_size: the only (height, width) that the model takes; None if it takes any.
        openvino: also write OpenVINO's files.
        layers: also measure what each layer costs, and keep those in float32 that cost most; a second for each layer.

    Returns:
        calibrated and compared (numbers of pictures), skipped (number that cannot be read), float32 (names of the
        layers that stay), costs ({layer: error of the output when it alone is in 8 bits}, or None), and files: {file
        name: {megabytes, agreement, error}}, the last two as in `agreement`.

    Raises:
        UserError: no picture can be read, `preprocessing` is None, or model.onnx is in 8 bits already.
    """
    folder = Path(folder)
    note_the_processor()
    calibrated, compared, skipped = Calibration(pictures, preprocessing, input_size).read()
    model = OnnxRuntime(folder / FLOAT_MODEL)
    with model:
        batch, name = model.shape[0], model.input_name
        expected = [model.run(_as_batch(image, batch)) for image in compared]
    quantizer = Quantizer(folder / FLOAT_MODEL, ({name: _as_batch(image, batch)} for image in calibrated))
    tried = compared[:MAX_TRIED], expected[:MAX_TRIED], batch
    costs = costs_of(quantizer, *tried) if layers else None
    kept = choose_float32(quantizer, costs, *tried)
    (folder / INT8_ONNX).write_bytes(quantizer.model([layer for layer in quantizer.layers if layer not in kept]))
    models = [INT8_ONNX]
    if openvino:
        to_openvino(folder / INT8_ONNX, folder / INT8_OPENVINO)
        models.append(INT8_OPENVINO)
    report = {}
    for file in models:
        engine, files = INT8_MODELS[file]
        size = sum((folder / each).stat().st_size for each in files)
        found = _outputs(engine, folder / file, compared)
        report[file] = {"megabytes": round(size / 1e6, 2), **agreement(expected, found)}
    counts = {"calibrated": len(calibrated), "compared": len(compared), "skipped": skipped}
    return {**counts, "float32": kept, "costs": costs, "files": report}


def costs_of(
    quantizer: Quantizer, images: Sequence[np.ndarray], expected: Sequence[Sequence[np.ndarray]], batch: int | None
) -> dict[str, float]:
    """{layer: error of the output, as in `agreement`, when it alone computes in 8 bits}, the costliest first.

    Args:
        quantizer: makes the models.
        images, expected: inputs (C, H, W) and the float32 outputs.
        batch: the only batch size that the model takes; None takes any.
    """
    costs = {layer: _error(quantizer, [layer], images, expected, batch) for layer in quantizer.layers}
    return dict(sorted(costs.items(), key=lambda item: -item[1]))


def choose_float32(
    quantizer: Quantizer,
    costs: Mapping[str, float] | None,
    images: Sequence[np.ndarray],
    expected: Sequence[Sequence[np.ndarray]],
    batch: int | None,
) -> list[str]:
    """The layers that stay in float32, by trial on pictures; arguments as `costs_of`, and what it returns, or None.

    None, if the error is small without; else, of the first and the last layer, or of the costliest, the fewest with
    which it is small, or those with which it is a fifth smaller than with none.
    """
    layers = quantizer.layers
    if costs is None:
        candidates = [[layers[0]], [layers[-1]], [layers[0], layers[-1]]]
    else:
        candidates = [list(costs)[:count] for count in (1, 2, 4, 8) if count < len(layers)]
    best: list[str] = []
    least = before = _error(quantizer, layers, images, expected, batch)
    enough = 1 - AGREES if np.issubdtype(expected[0][0].dtype, np.integer) else ERROR
    for kept in candidates:
        if least <= enough:
            break
        error = _error(quantizer, [layer for layer in layers if layer not in kept], images, expected, batch)
        if error < min(least, 0.8 * before):
            best, least = kept, error
    return best


def _error(quantizer, layers, images, expected, batch):
    """The error of the outputs when some layers are in 8 bits; of classes, the share that changes."""
    with open_session("onnxruntime", quantizer.model(layers)) as session:
        found = agreement(expected, [session.run(_as_batch(image, batch)) for image in images])
    return 1 - found["agreement"] if found["error"] is None else found["error"]


def agreement(expected: Sequence[Sequence[np.ndarray]], found: Sequence[Sequence[np.ndarray]]) -> dict[str, Any]:
    """How well quantized outputs agree with float32 outputs.

    Args:
        expected, found: for each picture the list of outputs.

    Returns:
        agreement: the share of positions whose best class, the largest value along axis 1, stays the same. None for a
            network with several outputs. For integer outputs, which are classes already, the share of equal values.
        error: root mean square of the difference over the standard deviation of the output, averaged over outputs and
            pictures. None for integer outputs.
    """
    pairs = [pair for outputs in zip(expected, found) for pair in zip(*outputs)]
    if any(np.issubdtype(want.dtype, np.integer) for want, _ in pairs):
        return {"agreement": float(np.mean([(want == have).mean() for want, have in pairs])), "error": None}
    share = None
    if len(expected[0]) == 1:
        share = float(np.mean([(want.argmax(1) == have.argmax(1)).mean() for want, have in pairs]))
    errors = [np.sqrt(np.mean((have.astype(np.float64) - want) ** 2)) / max(want.std(), 1e-30) for want, have in pairs]
    return {"agreement": share, "error": float(np.mean(errors))}


def _outputs(engine, path, images):
    """The outputs of a model for each image."""
    with open_session(engine, path) as session:
        return [session.run(_as_batch(image, session.shape[0])) for image in images]


def _as_batch(image, batch):
    """An image, repeated to the batch size that the model takes; None takes any."""
    return np.stack([image] * (batch or 1))
