"""Exporting a segmentation model as a Paddle inference model, and proving that it finds the same classes."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import paddle
import yaml

from ...backbones.base import MIN_SIDE, deploy_networks
from ...deploy.export import check_formats, write_formats
from ...deploy.folders import exported_folder
from ...engines.program import PARAMETERS, program_file, run, save_program
from ...errors import UserError
from ...pictures.reading import read_image
from ...system.files import atomic_path
from .prediction import prepare, val_block
from .weights import load_segmenter

# Pixels for which the exported model must find the trained one's class. Rounding turns those on the edge between
# two classes: fewer than 1 in 10000 where it was measured.
AGREEMENT = 0.999


def export(job, output="output_inference", weights=None, check=None, input_size=None, formats=("paddle",)):
    """Writes OUTPUT/NAME/model.json (model.pdmodel before Paddle 3), model.pdiparams and deploy.yaml.

    The model takes float32 (N, channels, H, W) as val_dataset's transforms prepare it, and returns the classes'
    numbers, int32 (N, H, W). deploy.yaml is what the deployment scripts of PaddleSeg read.

    Args:
        job: from `segmentation.config.load`.
        output (str | Path): folder to write to; a model of the same name there is replaced when the new one is whole.
        weights (str | None): as in `segmentation.weights.load_segmenter`.
        check (str | None): picture on which the exported model must find what the trained one finds. None takes the
            first of val_dataset when it is at hand.
        input_size (sequence of int | None): the only (height, width) that the model takes, to which deploy.yaml then
            scales every picture; None makes a model for any size.
        formats (sequence of str): of `export.FORMATS`; those beside "paddle", which is always written, come on top.

    Returns:
        dict: folder, pixels (compared; None when there was no picture), agreement (share of them with equal classes),
        formats (what `export.write_formats` returns of those on top).

    Raises:
        UserError: weights or picture that cannot be used; output cannot be written to, or holds something else.
        RuntimeError: the exported model does not find the same classes.
    """
    others = [name for name in formats if name != "paddle"]
    check_formats(["paddle", *others])
    transforms = deploy_transforms(job, input_size)
    picture = _check_picture(job, check)
    model = _build(job)
    load_segmenter(model, job, weights)
    classes = Classes(model)
    classes.eval()
    target = Path(output) / job.name
    with exported_folder(target) as folder:
        folder.mkdir()
        batch = expected = agreement = None
        if picture is not None:
            batch = _prepare(job, picture, transforms)
            with paddle.no_grad():
                expected = classes(paddle.to_tensor(batch)).numpy()
        shape = [-1, val_block(job).get("img_channels", 3), *(input_size or (-1, -1))]
        report = write_formats(classes, folder, others, shape)["formats"] if others else {}
        deploy_networks(classes, "paddle")
        save_program(classes, folder, shape)
        _write_description(folder, shape, transforms)
        if picture is not None:
            agreement = compare(expected, run(folder, batch)[0])
    pixels = None if expected is None else expected.size
    return {"folder": str(target), "pixels": pixels, "agreement": agreement, "formats": report}


class Classes(paddle.nn.Layer):
    """A segmentation model that ends in classes: (N, channels, H, W) -> int32 (N, H, W)."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        """The class with the largest of the model's first logits."""
        return paddle.argmax(self.model(x)[0], axis=1, dtype="int32")


def compare(expected, found):
    """Share of pixels with equal classes; RuntimeError when they are not the same classes."""
    if expected.shape != found.shape:
        raise RuntimeError(f"the exported model returns {found.shape} where the trained one returns {expected.shape}")
    agreement = float((expected == found).mean())
    if not agreement > AGREEMENT:
        raise RuntimeError(
            f"the exported model finds the trained one's class for {agreement:.2%} of the pixels; more than "
            f"{AGREEMENT:.1%} are needed"
        )
    return agreement


def deploy_transforms(job, input_size=None):
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


def _build(job):
    """The model, with batch norms that every device has: PaddleSeg takes SyncBatchNorm on a GPU unless told not to."""
    os.environ["PADDLESEG_EXPORT_STAGE"] = "True"
    try:
        return job.builder.model
    finally:
        del os.environ["PADDLESEG_EXPORT_STAGE"]


def _prepare(job, picture, transforms):
    """float32 (1, channels, h, w), by the code with which PaddleSeg's deployment reads deploy.yaml."""
    from paddleseg.deploy.infer import DeployConfig

    steps = DeployConfig.load_transforms([dict(step) for step in transforms]).transforms
    return prepare(job, picture, steps)["img"][None].astype(np.float32)


def _write_description(folder, shape, transforms):
    deploy = {
        "model": program_file(folder).name,
        "params": PARAMETERS,
        "input_shape": shape,
        "output_op": "argmax",
        "output_dtype": "int32",
        "transforms": transforms,
    }
    with atomic_path(folder / "deploy.yaml") as temporary:
        temporary.write_text(yaml.safe_dump({"Deploy": deploy}, sort_keys=False, default_flow_style=None))


def _check_picture(job, check):
    """uint8 (H, W, 3) to compare on, or None."""
    if check is not None:
        return read_image(check)
    try:
        return read_image(job.builder.val_dataset.file_list[0][0])
    except (UserError, RuntimeError, AttributeError, IndexError):  # PaddleSeg turns all into a RuntimeError
        print("note: no picture at hand to check the exported model on; give one with --check PICTURE", file=sys.stderr)
        return None
