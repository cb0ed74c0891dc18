"""Exporting a classifier as a Paddle inference model with its card, checked to compute the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ...deploy.cards import eight_bits, model_card, write_card
from ...deploy.export import describe_formats, write_formats
from ...engines.program import run, save_program
from ...engines.quantization import quantize
from ...errors import UserError
from ...pictures.reading import read_image
from ..exporting import new_export, other_formats
from .data import network_input, open_set
from .job import Job
from .weights import load_trained

#: largest difference of a logit, in standard deviations of the logits; rounding alone gives less than a tenth of it
TOLERANCE = 1e-4


def export(
    job: Job,
    output: str | Path = "output_inference",
    weights: str | Path | None = None,
    check: str | Path | None = None,
    formats: Sequence[str] = ("paddle",),
    int8: str | Path | None = None,
    int8_layers: bool = False,
) -> dict[str, Any]:
    """Writes OUTPUT/NAME/model.json (model.pdmodel before Paddle 3), model.pdiparams and model_card.json, and the files
    of other formats beside them.

    The model takes float32 (N, 3, H, W) as the card's preprocessing makes it, for any N, and returns logits
    (N, classes).

    Args:
        job: from `classification.config.load`.
        output: folder to write to. A model of the same name there is replaced when the new one is whole.
        weights: as in `classification.weights.load_trained`.
        check: picture on which the exported model is compared with the trained one. None takes the first of
            val_dataset, or noise when there is none.
        formats: of `engines.formats.FORMATS`. "paddle" is always written.
        int8: folder of pictures for calibration, to write an 8-bit model too; see `engines.quantization.quantize`.
        int8_layers: measure what each layer costs in 8 bits.

    Returns:
        folder, checked (what it was compared on), difference (largest, in standard deviations of the logits), formats
        (what `deploy.export.write_formats` returns for those beside "paddle"), int8 (what `quantize` returns, or None).

    Raises:
        UserError: weights or pictures that cannot be used; output cannot be written to, or holds something else; what
            a format needs is not installed.
        RuntimeError: an exported model does not compute the same.
    """
    others = other_formats(formats, int8)
    picture = None if check is None else read_image(check, min_side=1)
    trained = load_trained(job, weights)
    batch, checked = _check_batch(job, trained, picture, check)
    shape = [-1, 3, *(trained.preprocessing.input_size or (-1, -1))]
    with paddle.no_grad():
        expected = trained.model(paddle.to_tensor(batch)).numpy()
    with new_export(job, output) as folder:
        report = write_formats(trained.model, folder, others, shape)["formats"] if others else {}
        save_program(trained.model.deploy("paddle"), folder, shape)
        card = model_card(
            job.name, job.model.name, trained.model, trained.path, trained.preprocessing, shape, trained.classes,
            trained.options, job.task,
        )  # fmt: skip
        difference = compare(expected, run(folder, batch)[0])
        quantized = None
        if int8 is not None:
            quantized = quantize(folder, int8, trained.preprocessing, openvino="openvino" in others, layers=int8_layers)
        write_card({**card, "formats": ["paddle", *others], **eight_bits(quantized)}, folder)
    return {
        "folder": str(Path(output) / job.name),
        "checked": checked,
        "difference": difference,
        "formats": report,
        "int8": quantized,
    }


def describe(result: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of a result of `export`."""
    return [
        *describe_formats(result),
        f"exported to {result['folder']}; on {result['checked']} its logits are the trained network's, largest "
        f"difference {result['difference']:.1e} standard deviations",
    ]


def compare(expected: np.ndarray, found: np.ndarray) -> float:
    """Largest difference of logits in standard deviations of the expected ones; RuntimeError beyond `TOLERANCE`."""
    if expected.shape != found.shape:
        raise RuntimeError(f"the exported model returns {found.shape} where the trained one returns {expected.shape}")
    difference = float(np.abs(found - expected).max() / expected.std())
    if not difference <= TOLERANCE:
        raise RuntimeError(
            f"the exported model's logits differ from the trained one's by up to {difference:.1e} standard deviations; "
            f"at most {TOLERANCE} is allowed"
        )
    return difference


def _check_batch(job, trained, picture, check):
    """(a picture and its mirror image as float32 (2, 3, H, W), the name of the picture)."""
    name = check
    if picture is None:
        try:
            pictures = open_set(job, "val")
            picture, name = pictures.read(0), pictures.name(0)
        except UserError:
            size = trained.preprocessing.input_size or (224, 224)
            picture, name = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8), "noise"
    image = network_input(picture, trained.preprocessing)
    return np.stack([image, image[:, :, ::-1]]), str(name)
