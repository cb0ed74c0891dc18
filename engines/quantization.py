"""8-bit integers after training: ranges from a folder of pictures, and how often the best class stays the same.

By ONNX Runtime, whose file OpenVINO reads too. NNCF, OpenVINO's own, wants a NumPy that PaddleDetection 2.6 forbids.
"""

from dataclasses import replace

import numpy as np

from ..errors import UserError
from ..pictures.finding import find_images
from ..pictures.preparing import Preprocessing, prepare
from ..pictures.reading import read_image
from .conversion import to_openvino
from .session import open_session

# Pictures that set the ranges, and pictures that are compared; more change little and take time.
CALIBRATED, COMPARED = 128, 256
SOURCE, TARGET, IR = "model.onnx", "model_int8.onnx", "model_int8.xml"


def quantize(folder, pictures, preprocessing, input_size=None, openvino=False):
    """Writes FOLDER/model_int8.onnx, from model.onnx, and with `openvino` model_int8.xml and .bin.

    Convolutions and matrix products compute with them. Weights have 8-bit integers with a scale for each output
    channel, maps with one for each map, from their least and largest value on every second picture. The others, or the
    same where there is one only, are compared.

    Args:
        folder (Path): holds model.onnx.
        pictures (str | Path): folder of pictures, searched through.
        preprocessing (Preprocessing | dict): how they become inputs.
        input_size ((height, width) | None): that the model takes alone.
        openvino (bool): whether to write OpenVINO's IR.

    Returns:
        dict: calibrated, compared (numbers of pictures), skipped (that cannot be read); files, by name: megabytes,
        agreement (share of the outputs whose largest value along axis 1, the class, stays where it was; of a backbone
        None) and error (root mean square, over the outputs' standard deviation).

    Raises:
        UserError: no picture can be read, or nobody says how pictures become inputs.
    """
    images, skipped = _inputs(pictures, _recipe(preprocessing, input_size))
    used = images[::2][:CALIBRATED]
    compared = (images[1::2] or images)[:COMPARED]
    _write_int8(folder, used)
    files = [TARGET]
    if openvino:
        to_openvino(folder / TARGET, folder / IR)
        files.append(IR)
    engines = {TARGET: "onnxruntime", IR: "openvino"}
    with open_session("onnxruntime", folder / SOURCE) as reference:
        expected = [reference.run(_batched(image, reference)) for image in compared]
    report = {}
    for name in files:
        with open_session(engines[name], folder / name) as runner:
            found = [runner.run(_batched(image, runner)) for image in compared]
        sizes = [file.stat().st_size for file in folder.glob(f"{name.partition('.')[0]}.*") if _belongs(file, name)]
        report[name] = {"megabytes": round(sum(sizes) / 1e6, 2), **agreement(expected, found)}
    return {"calibrated": len(used), "compared": len(compared), "skipped": len(skipped), "files": report}


def _belongs(file, name):
    return file.name == name or (name == IR and file.suffix == ".bin")


def agreement(expected, found):
    """{"agreement": of the largest values along axis 1, "error": root mean square over the standard deviation}.

    Args:
        expected, found (list of list of array): for each picture the outputs. Of one output, (N, classes, ...), the
            classes are compared; of several, None is their agreement. Whole numbers are classes themselves.
    """
    pairs = [pair for outputs in zip(expected, found) for pair in zip(*outputs)]
    if any(np.issubdtype(want.dtype, np.integer) for want, _ in pairs):
        return {"agreement": float(np.mean([(want == have).mean() for want, have in pairs])), "error": None}
    share = None
    if len(expected[0]) == 1:
        share = float(np.mean([(want.argmax(1) == have.argmax(1)).mean() for want, have in pairs]))
    errors = [np.sqrt(np.mean((have.astype(np.float64) - want) ** 2)) / max(want.std(), 1e-30) for want, have in pairs]
    return {"agreement": share, "error": float(np.mean(errors))}


def _recipe(preprocessing, input_size):
    """How pictures become inputs of the size that the model takes."""
    if preprocessing is None:
        raise UserError("nobody says how the pictures for 8-bit integers become inputs; give preprocessing or a card")
    recipe = Preprocessing(**preprocessing) if isinstance(preprocessing, dict) else preprocessing
    if input_size is None or [recipe.crop] * 2 == list(input_size):
        return recipe
    height, width = input_size
    interpolation = recipe.interpolation or "bilinear"
    return replace(recipe, resize=[width, height], crop=None, interpolation=interpolation)


def _inputs(pictures, recipe):
    """([float32 (C, H, W)], [pictures that cannot be read]), as many as are used."""
    images, skipped = [], []
    for path in find_images([str(pictures)]):
        try:
            images.append(prepare(read_image(path), recipe))
        except UserError:
            skipped.append(path)
        if len(images) == 2 * max(CALIBRATED, COMPARED):
            break
    if not images:
        raise UserError(f"none of the {len(skipped)} pictures in {pictures} can be read; give a folder with pictures")
    return images, skipped


def _batched(image, runner):
    """A picture as often as the model takes pictures at a time."""
    return np.stack([image] * (runner.shape[0] or 1))


def _write_int8(folder, images):
    from onnxruntime import quantization

    class Pictures(quantization.CalibrationDataReader):
        def __init__(self, name, number):
            self.inputs = iter([{name: np.stack([image] * number)} for image in images])

        def get_next(self):
            return next(self.inputs, None)

    with open_session("onnxruntime", folder / SOURCE) as model:
        reader = Pictures(model.input_name, model.shape[0] or 1)
    quantization.quantize_static(
        str(folder / SOURCE),
        str(folder / TARGET),
        reader,
        # the rest stays in float32: OpenVINO 2026.4 crashes as it compiles CondenseNetV2 with 8-bit concatenations
        op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        # 7 bits: two products of 8 bits overflow the 16-bit sums of CPUs without VNNI
        reduce_range=True,
        weight_type=quantization.QuantType.QInt8,
        activation_type=quantization.QuantType.QUInt8,
        calibrate_method=quantization.CalibrationMethod.MinMax,
    )
