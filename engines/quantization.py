"""Post-training quantization to 8-bit integers: calibration on a folder of pictures, then a comparison with float32.

ONNX Runtime quantizes, and OpenVINO reads its file too. OpenVINO's own tool, NNCF, needs a NumPy that PaddleDetection
2.6 forbids.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..pictures.finding import find_images
from ..pictures.preparing import Preprocessing, prepare
from ..pictures.reading import read_image
from .conversion import to_openvino
from .formats import FORMATS
from .session import open_session

#: pictures used at most, for calibration and for the comparison; more change little and take time
MAX_CALIBRATED, MAX_COMPARED = 128, 256
FLOAT_MODEL, INT8_ONNX, INT8_OPENVINO = FORMATS["onnx"].main, "model_int8.onnx", "model_int8.xml"
# model -> (the engine that runs it, all its files)
_INT8_MODELS = {
    INT8_ONNX: ("onnxruntime", (INT8_ONNX,)),
    INT8_OPENVINO: ("openvino", (INT8_OPENVINO, "model_int8.bin")),
}


def quantize(
    folder: str | Path,
    pictures: str | Path,
    preprocessing: Preprocessing | Mapping[str, Any] | None,
    input_size: Sequence[int] | None = None,
    openvino: bool = False,
) -> dict[str, Any]:
    """Writes FOLDER/model_int8.onnx from model.onnx, and with `openvino` model_int8.xml and .bin.

    Convolutions and matrix products compute in 8 bits. Weights have one scale per output channel. Each feature map has
    one scale, from its smallest and largest value on every second picture. The other pictures are compared; a single
    picture serves for both.

    Args:
        folder: holds model.onnx.
        pictures: folder of pictures; its subfolders are searched too.
        preprocessing: how a picture becomes an input.
        input_size: the only (height, width) that the model takes; None if it takes any.
        openvino: also write OpenVINO's files.

    Returns:
        calibrated and compared (numbers of pictures), skipped (number that cannot be read), and files: {file name:
        {megabytes, agreement, error}}, the last two as in `agreement`.

    Raises:
        UserError: no picture can be read, or `preprocessing` is None.
    """
    folder = Path(folder)
    images, skipped = _read_inputs(pictures, _for_size(preprocessing, input_size))
    calibrated = images[::2][:MAX_CALIBRATED]
    compared = (images[1::2] or images)[:MAX_COMPARED]
    _write_int8_onnx(folder, calibrated)
    models = [INT8_ONNX]
    if openvino:
        to_openvino(folder / INT8_ONNX, folder / INT8_OPENVINO)
        models.append(INT8_OPENVINO)
    expected = _outputs("onnxruntime", folder / FLOAT_MODEL, compared)
    report = {}
    for model in models:
        engine, files = _INT8_MODELS[model]
        size = sum((folder / file).stat().st_size for file in files)
        found = _outputs(engine, folder / model, compared)
        report[model] = {"megabytes": round(size / 1e6, 2), **agreement(expected, found)}
    return {"calibrated": len(calibrated), "compared": len(compared), "skipped": len(skipped), "files": report}


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


def _for_size(preprocessing, input_size):
    """The preprocessing, changed to end at the size that the model takes."""
    if preprocessing is None:
        raise UserError("no preprocessing is known for the 8-bit calibration pictures; give preprocessing or a card")
    steps = preprocessing if isinstance(preprocessing, Preprocessing) else Preprocessing(**preprocessing)
    if input_size is None or [steps.crop] * 2 == list(input_size):
        return steps
    height, width = input_size
    interpolation = steps.interpolation or "bilinear"
    return replace(steps, resize=[width, height], crop=None, interpolation=interpolation)


def _read_inputs(pictures, preprocessing):
    """([float32 (C, H, W)], [paths that cannot be read]); stops when there are enough inputs."""
    images, skipped = [], []
    for path in find_images([str(pictures)]):
        try:
            images.append(prepare(read_image(path), preprocessing))
        except UserError:
            skipped.append(path)
        if len(images) == 2 * max(MAX_CALIBRATED, MAX_COMPARED):
            break
    if not images:
        raise UserError(f"none of the {len(skipped)} pictures in {pictures} can be read; give a folder with pictures")
    return images, skipped


def _outputs(engine, path, images):
    """The outputs of a model for each image."""
    with open_session(engine, path) as session:
        return [session.run(_as_batch(image, session.shape[0])) for image in images]


def _as_batch(image, batch):
    """An image, repeated to the batch size that the model takes; None takes any."""
    return np.stack([image] * (batch or 1))


def _write_int8_onnx(folder, images):
    with open_session("onnxruntime", folder / FLOAT_MODEL) as model:
        feeds = ({model.input_name: _as_batch(image, model.shape[0])} for image in images)
        # All else stays in float32: OpenVINO 2026.4 crashes when it compiles CondenseNetV2 with 8-bit concatenations.
        write_int8_onnx(folder, feeds, op_types_to_quantize=["Conv", "Gemm", "MatMul"])


def write_int8_onnx(folder: Path, feeds: Iterable[Mapping[str, np.ndarray]], **chosen: Any) -> None:
    """Writes FOLDER/model_int8.onnx from model.onnx.

    Args:
        folder: holds model.onnx.
        feeds: inputs by name, one after the other; feature maps get their scales from them.
        **chosen: which nodes compute in 8 bits, for `onnxruntime.quantization.quantize_static`.
    """
    from onnxruntime import quantization

    class Feeds(quantization.CalibrationDataReader):
        def __init__(self):
            self.feeds = iter(feeds)

        def get_next(self):
            return next(self.feeds, None)

    quantization.quantize_static(
        str(folder / FLOAT_MODEL),
        str(folder / INT8_ONNX),
        Feeds(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        # 7 bits: on CPUs without VNNI, two products of 8-bit numbers overflow their 16-bit sum.
        reduce_range=True,
        weight_type=quantization.QuantType.QInt8,
        activation_type=quantization.QuantType.QUInt8,
        calibrate_method=quantization.CalibrationMethod.MinMax,
        **chosen,
    )
