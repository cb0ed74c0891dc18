"""Exporting a classifier as a Paddle inference model with its card, and proving that it computes the same."""

from pathlib import Path

import numpy as np
import paddle

from ...deploy.cards import model_card, write_card
from ...deploy.export import check_formats, write_formats
from ...deploy.folders import exported_folder
from ...engines.program import run, save_program
from ...engines.quantization import quantize
from ...errors import UserError
from ...pictures.reading import read_image
from .data import input_size, network_input, open_set
from .weights import load_classifier

#: largest difference of a logit, in standard deviations of the logits; rounding alone gives less than a tenth of it
TOLERANCE = 1e-4


def export(job, output="output_inference", weights=None, check=None, formats=("paddle",), int8=None):
    """Writes OUTPUT/NAME/model.json (model.pdmodel before Paddle 3), model.pdiparams and model_card.json, and the files
    of other formats beside them.

    The model takes float32 (N, 3, H, W) as the card's preprocessing makes it, for any N, and returns logits
    (N, classes).

    Args:
        job: from `classification.config.load`.
        output (str | Path): folder to write to; a model of the same name there is replaced when the new one is whole.
        weights (str | None): as in `classification.weights.load_classifier`.
        check (str | None): picture on which the exported model is compared with the trained one. None takes the first
            of val_dataset, or noise when there is none.
        formats (sequence of str): of `export.FORMATS`; those beside "paddle", which is always written, come on top.
        int8 (str | Path | None): folder of pictures by which 8-bit integers are made too, see `quantization.quantize`.

    Returns:
        dict: folder, checked (what it was compared on), difference (largest, in standard deviations of the logits),
        formats (what `export.write_formats` returns of those on top), int8 (what `quantize` returns, or None).

    Raises:
        UserError: weights or pictures that cannot be used; output cannot be written to, or holds something else; what
            a format needs is not installed.
        RuntimeError: an exported model does not compute the same.
    """
    others = [name for name in formats if name != "paddle"]
    check_formats(["paddle", *others], int8)
    picture = None if check is None else read_image(check, min_side=1)
    trained = load_classifier(job, weights)
    batch, checked = _check_batch(job, trained, picture, check)
    shape = [-1, 3, *(input_size(trained.preprocessing) or (-1, -1))]
    with paddle.no_grad():
        expected = trained.model(paddle.to_tensor(batch)).numpy()
    target = Path(output) / job.name
    with exported_folder(target) as folder:
        folder.mkdir()
        report = write_formats(trained.model, folder, others, shape)["formats"] if others else {}
        save_program(trained.model.deploy("paddle"), folder, shape)
        card = model_card(
            job.name, job.model.name, trained.model, trained.path, trained.preprocessing, shape, trained.classes,
            trained.options, "classification",
        )  # fmt: skip
        write_card({**card, "formats": ["paddle", *others]}, folder)
        difference = compare(expected, run(folder, batch)[0])
        quantized = None
        if int8 is not None:
            quantized = quantize(folder, int8, trained.preprocessing, openvino="openvino" in others)
    return {
        "folder": str(target), "checked": checked, "difference": difference, "formats": report, "int8": quantized,
    }  # fmt: skip


def compare(expected, found):
    """Largest difference of logits in standard deviations of the expected; RuntimeError beyond `TOLERANCE`."""
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
    """(float32 (2, 3, H, W): a picture and its mirror image, what it is called)."""
    name = check
    if picture is None:
        try:
            pictures = open_set(job, "val")
            picture, name = pictures.read(0), pictures.name(0)
        except UserError:
            size = input_size(trained.preprocessing) or (224, 224)
            picture, name = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8), "noise"
    image = network_input(picture, trained.preprocessing)
    return np.stack([image, image[:, :, ::-1]]), str(name)
