"""A whole detector with 8-bit convolutions, calibrated on pictures, and how many of its boxes stay.

ONNX Runtime quantizes. The last convolutions, whose outputs are decoded into boxes, and all after them stay in float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...engines.calibration import MAX_CALIBRATED, MAX_COMPARED, note_the_processor
from ...engines.conversion import to_openvino
from ...engines.quantization import INT8_MODELS, INT8_ONNX, INT8_OPENVINO, MAX_TRIED, Quantizer
from ...errors import UserError
from ...pictures.finding import find_images
from ...runtime import Boxes, Model

#: a box stays when the 8-bit detector finds one of its class with this IoU; boxes from this score on are compared
IOU, SCORE = 0.75, 0.5


def write_int8(folder: Path, pictures: str | Path, openvino: bool) -> dict[str, Any]:
    """Writes FOLDER/model_int8.onnx from model.onnx, and with `openvino` model_int8.xml and .bin.

    Args:
        folder: holds model.onnx and model_card.json.
        pictures: folder of pictures. Every second one calibrates, the others are compared.
        openvino: also write OpenVINO's files.

    Returns:
        calibrated and compared (numbers of pictures), boxes (compared), float32 (layers that stay in it), and files:
        {file name: {megabytes, stays: the share of float32's boxes that the 8-bit detector finds}}.

    Raises:
        UserError: no picture can be read; the card does not say how pictures are prepared.
    """
    note_the_processor()
    model = Model(folder, "onnxruntime", threshold=SCORE)
    readable, skipped = [], 0
    for path in find_images([str(pictures)]):
        try:
            model.prepare(path)
            readable.append(path)
        except UserError:
            skipped += 1
        if len(readable) == 2 * MAX_COMPARED:
            break
    if not readable:
        raise UserError(f"none of the {skipped} pictures in {pictures} can be used; give a folder with pictures")
    calibrated, compared = readable[::2][:MAX_CALIBRATED], readable[1::2] or readable
    feeds = (model.feed([model.prepare(path)[0]]) for path in calibrated)
    quantizer, inner = Quantizer(folder / "model.onnx", feeds), inner_convolutions(folder / "model.onnx")
    layers = [layer for layer in quantizer.layers if layer in inner]
    expected = [model(path) for path in compared]
    kept = _choose_float32(folder, quantizer, layers, compared[:MAX_TRIED], expected[:MAX_TRIED])
    (folder / INT8_ONNX).write_bytes(quantizer.model([layer for layer in layers if layer not in kept]))
    files = [INT8_ONNX]
    if openvino:
        to_openvino(folder / INT8_ONNX, folder / INT8_OPENVINO)
        files.append(INT8_OPENVINO)
    total = sum(map(len, expected))
    report = {}
    for name in files:
        engine, names = INT8_MODELS[name]
        found = Model(folder, engine, threshold=SCORE / 2, check=False, precision="int8")
        stays = sum(_stays(want, found(path)) for want, path in zip(expected, compared))
        size = sum((folder / each).stat().st_size for each in names) / 1e6
        report[name] = {"megabytes": round(size, 2), "stays": stays / total if total else None}
    counts = {"calibrated": len(calibrated), "compared": len(compared), "boxes": total}
    return {
        **counts,
        "float32": [layer for layer in quantizer.layers if layer not in inner or layer in kept],
        "files": report,
    }


def _choose_float32(folder, quantizer, layers, pictures, expected):
    """The first convolution, where more boxes stay when it computes in float32; else none."""
    counts = []
    for kept in ([], layers[:1]):
        (folder / INT8_ONNX).write_bytes(quantizer.model([layer for layer in layers if layer not in kept]))
        small = Model(folder, "onnxruntime", threshold=SCORE / 2, check=False, precision="int8")
        counts.append(sum(_stays(want, small(path)) for want, path in zip(expected, pictures)))
    return layers[:1] if counts[1] > 1.01 * counts[0] else []


def _stays(expected: Boxes, found: Boxes) -> int:
    """How many boxes are found again."""
    count = 0
    for box, label in zip(expected.boxes, expected.labels):
        others = found.boxes[found.labels == label]
        inner = np.maximum(0, np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])).prod(1)
        union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - inner
        count += bool((inner >= IOU * union).any())
    return count


def inner_convolutions(file: str | Path) -> set[str]:
    """Names of the convolutions of an ONNX file that another convolution comes after."""
    import onnx

    graph = onnx.load(str(file), load_external_data=False).graph
    feeds_convolution: set[str] = set()  # tensors from which a convolution is reached
    inner = set()
    for node in reversed(graph.node):
        reaches = any(output in feeds_convolution for output in node.output)
        if node.op_type == "Conv" and reaches:
            inner.add(node.name)
        if reaches or node.op_type == "Conv":
            feeds_convolution.update(node.input)
    return inner
