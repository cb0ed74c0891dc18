"""Exporting a segmentation model as a Paddle inference model, checked to find the same classes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import yaml

from ...backbones.base import MIN_SIDE, deploy_networks
from ...deploy.cards import eight_bits, model_card, write_card
from ...deploy.export import describe_eight_bits, write_formats
from ...engines.formats import PARAMETERS, program_file
from ...engines.program import run, save_program
from ...engines.quantization import quantize
from ...errors import UserError
from ...pictures.reading import read_image
from ...system.files import atomic_path
from ..exporting import new_export, note_no_picture, other_formats
from .data import class_names
from .job import Job
from .pairs import find_pairs
from .prediction import prepare, val_block
from .weights import load_trained

# The exported model must find the trained one's class for more than this share of the pixels. Rounding changes pixels
# on the edge between two classes: fewer than 1 in 10000 where it was measured.
AGREEMENT = 0.999


def export(
    job: Job,
    output: str | Path = "output_inference",
    weights: str | Path | None = None,
    check: str | Path | None = None,
    formats: Sequence[str] = ("paddle",),
    input_size: Sequence[int] | None = None,
    int8: str | Path | None = None,
    int8_layers: bool = False,
) -> dict[str, Any]:
    """Writes OUTPUT/NAME/model.json (model.pdmodel before Paddle 3), model.pdiparams, deploy.yaml and model_card.json.

    The model takes float32 (N, channels, H, W) as val_dataset's transforms prepare it, and returns class numbers, int32
    (N, H, W). PaddleSeg's deployment scripts read deploy.yaml.

    Args:
        job: from `segmentation.config.load`.
        output: folder to write to. A model of the same name there is replaced when the new one is whole.
        weights: as in `segmentation.weights.load_trained`.
        check: picture on which both models must find the same; None takes the first of val_dataset when it is there.
        formats: of `engines.formats.FORMATS`. "paddle" is always written.
        input_size: the only (height, width) that the model takes, to which deploy.yaml scales pictures; None for any.
        int8, int8_layers: `pictures` and `layers` of `engines.quantization.quantize`; needs "onnx".

    Returns:
        folder, pixels (how many were compared; None without a picture), agreement (share of them with equal classes),
        formats (what `deploy.export.write_formats` returns for those beside "paddle"), int8 (what
        `engines.quantization.quantize` returns, or None).

    Raises:
        UserError: weights or picture that cannot be used; output cannot be written to, or holds something else.
        RuntimeError: the exported model does not find the same classes.
    """
    others = other_formats(formats, int8)
    transforms = deploy_transforms(job, input_size)
    picture = _check_picture(job, check)
    trained = load_trained(job, weights, _build(job))
    classes = Classes(trained.model)
    classes.eval()
    agreement = None
    with new_export(job, output) as folder:
        batch, expected = (None, None) if picture is None else _classes_of(job, classes, picture, transforms)
        shape = [-1, val_block(job).get("img_channels", 3), *(input_size or (-1, -1))]
        report = write_formats(classes, folder, others, shape)["formats"] if others else {}
        deploy_networks(classes, "paddle")
        save_program(classes, folder, shape)
        _write_description(folder, shape, transforms, class_names(job))
        if expected is not None:
            agreement = compare(expected, run(folder, batch)[0])
        card = _card(job, trained, shape, transforms)
        given = card["preprocessing"], input_size, "openvino" in others, int8_layers
        small = None if int8 is None else quantize(folder, int8, *given)
        write_card({**card, "formats": ["paddle", *report], **eight_bits(small)}, folder)
    return {
        "folder": str(Path(output) / job.name),
        "pixels": None if expected is None else expected.size,
        "agreement": agreement,
        "formats": report,
        "int8": small,
    }


def _classes_of(job, classes, picture, transforms):
    """(the network's input for a picture, the classes that the trained network finds)."""
    batch = _prepare(job, picture, transforms)
    with paddle.no_grad():
        return batch, classes(paddle.to_tensor(batch)).numpy()


def _card(job, trained, shape, transforms):
    kind, names, given = job.dic["model"]["type"], class_names(job), {"steps": steps_of(transforms)}
    return model_card(job.name, kind, trained.model, trained.path, given, shape, names, task="segmentation")


def describe(result: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of a result of `export`."""
    lines = [
        f"  {name:9} {row['file']}: {row['difference']:.1e} of the pixels of noise have another class than Paddle's"
        for name, row in result["formats"].items()
    ]
    lines += describe_eight_bits(result["int8"])
    if result["pixels"] is None:
        return [*lines, f"exported to {result['folder']}, unchecked"]
    return [
        *lines,
        f"exported to {result['folder']}; on the check picture it gives {100 * result['agreement']:.3f} % of the "
        f"{result['pixels']} pixels the trained model's class",
    ]


class Classes(paddle.nn.Layer):
    """A segmentation model that returns classes: (N, channels, H, W) -> int32 (N, H, W)."""

    def __init__(self, model: paddle.nn.Layer):
        super().__init__()
        self.model = model

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """The class with the largest of the model's first logits."""
        return paddle.argmax(self.model(x)[0], axis=1, dtype="int32")


def compare(expected: np.ndarray, found: np.ndarray) -> float:
    """Share of pixels with equal classes; RuntimeError when it is not above `AGREEMENT`."""
    if expected.shape != found.shape:
        raise RuntimeError(f"the exported model returns {found.shape} where the trained one returns {expected.shape}")
    agreement = float((expected == found).mean())
    if not agreement > AGREEMENT:
        raise RuntimeError(
            f"the exported model finds the trained one's class for {agreement:.2%} of the pixels; more than "
            f"{AGREEMENT:.1%} are needed"
        )
    return agreement


def deploy_transforms(job: Job, input_size: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """val_dataset's transforms as a list of {type, arguments}; with an `input_size`, they end at that size."""
    transforms = json.loads(json.dumps(val_block(job)["transforms"]))  # plain lists for YAML
    if input_size is None:
        return transforms
    valid = isinstance(input_size, (list, tuple)) and len(input_size) == 2
    if not valid or not all(type(side) is int and side >= MIN_SIDE for side in input_size):
        raise UserError(f"input_size is {input_size!r}; give (height, width), both {MIN_SIDE} pixels or more")
    height, width = input_size
    resize = {"type": "Resize", "target_size": [width, height]}
    geometry = [step for step in transforms if step["type"] != "Normalize"]
    return transforms if geometry[-1:] == [resize] else [*transforms, resize]


_METHODS = {"NEAREST": "nearest", "LINEAR": "bilinear", "CUBIC": "bicubic"}


def steps_of(transforms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    """PaddleSeg's transforms as the steps of `pictures.steps`; None where these cannot do what they do."""
    steps: list[dict[str, Any]] = []
    for transform in transforms:
        given = dict(transform)
        kind = given.pop("type")
        if kind == "Resize" and given.get("interp", "LINEAR") in _METHODS and not given.get("size_divisor"):
            width, height = given.get("target_size", (512, 512))
            if given.get("keep_ratio"):
                return None
            method = _METHODS[given.get("interp", "LINEAR")]
            steps.append({"resize": {"size": [height, width], "keep_ratio": False, "interpolation": method}})
        elif kind == "Normalize":
            mean, std = (list(given.get(key, [0.5, 0.5, 0.5])) for key in ("mean", "std"))
            steps.append({"normalize": {"mean": mean, "std": std, "scale": 255}})
        else:
            return None
    return sorted(steps, key=lambda step: "normalize" in step)


def _build(job):
    """Builds the model with plain batch norms; on a GPU PaddleSeg would take SyncBatchNorm, which a CPU lacks."""
    os.environ["PADDLESEG_EXPORT_STAGE"] = "True"
    try:
        return job.builder.model
    finally:
        del os.environ["PADDLESEG_EXPORT_STAGE"]


def _prepare(job, picture, transforms):
    """Prepares a picture as PaddleSeg's deployment does when it reads deploy.yaml: float32 (1, channels, h, w)."""
    from paddleseg.deploy.infer import DeployConfig

    steps = DeployConfig.load_transforms([dict(step) for step in transforms]).transforms
    return prepare(job, picture, steps)["img"][None].astype(np.float32)


def _write_description(folder, shape, transforms, names):
    deploy = {
        "model": program_file(folder).name,
        "params": PARAMETERS,
        "input_shape": shape,
        "output_op": "argmax",
        "output_dtype": "int32",
        "transforms": transforms,
        "label_list": list(names),
    }
    with atomic_path(folder / "deploy.yaml") as temporary:
        temporary.write_text(yaml.safe_dump({"Deploy": deploy}, sort_keys=False, default_flow_style=None))


def _check_picture(job, check):
    """uint8 (H, W, 3) to compare on, or None."""
    if check is not None:
        return read_image(check)
    try:
        return read_image(find_pairs(job, "val_dataset", val_block(job), "val")[0][0])
    except (UserError, RuntimeError, AttributeError, IndexError):  # PaddleSeg raises RuntimeError for anything
        note_no_picture()
        return None
