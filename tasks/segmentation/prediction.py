"""Predicting on pictures: classes laid over them, label pictures, and the share of every class."""

import copy
import importlib
import json
import re
from pathlib import Path

import numpy as np
import paddle
from PIL import Image
from tqdm import tqdm

from ...datasets.cityscapes import CLASS_NAMES, ID_OF_TRAIN_ID
from ...errors import UserError
from ...pictures.drawing import draw_labels
from ...pictures.finding import find_images, output_names
from ...pictures.reading import check_images, read_image
from ...system.files import atomic_path, check_writable
from .data import class_names, palette
from .evaluation import inference_settings, on_engine
from .weights import load_segmenter

_LABELS, _SUBMISSION = "labels", "submission"


def predict(job, paths, output, weights=None, opacity=0.5, city_ids=False, test_config=None, engine=None):
    """Predicts on pictures and writes, for each, below `output`:

    - NAME.png: the picture with the classes' colours over it and a legend below;
    - labels/NAME.png: the classes' numbers, an 8-bit PNG with a palette, of the picture's size;
    - submission/NAME_pred_labelIds.png with `city_ids`: Cityscapes' ids, for its evaluation server;

    and predictions.json: a list of {file_name, width, height, classes: {name: share of the pixels}}.

    Args:
        job: from `segmentation.config.load`.
        paths (list of str): files, folders (searched through), or glob patterns.
        output (str | Path): folder to write to.
        weights (str | None): as in `segmentation.weights.load_segmenter`.
        opacity (float): of the colours, 0 to 1.
        city_ids (bool): whether to write the submission; for a model of Cityscapes' 19 classes.
        test_config (dict | None): as in `segmentation.evaluation.inference_settings`.
        engine (dict | None): options of `engines.open_network`, which is then to run the model.

    Returns:
        dict: images (pictures predicted on), skipped (list of (path, reason)), file (predictions.json), labels and
        submission (folders; None without `city_ids`).

    Raises:
        UserError: no picture is found or none can be used; output cannot be written to or is where the pictures are;
            weights do not fit; opacity or test_config; the job is not of Cityscapes, or of more than 256 classes.
    """
    _check(job, opacity, city_ids)
    settings, output = inference_settings(job, test_config), Path(output)
    check_writable(output)
    pictures, skipped = check_images(find_images(paths))
    if not pictures:
        names = "; ".join(f"{path}: {reason}" for path, reason in skipped[:3])
        raise UserError(f"none of the {len(skipped)} pictures can be read ({names})")
    places = _places(pictures, output)
    model = job.builder.model
    load_segmenter(model, job, weights)
    model.eval()
    if engine is not None:
        model = on_engine(model, engine)
    names, colours = class_names(job), palette(job)
    file, done = output / "predictions.json", 0
    with atomic_path(file) as temporary, open(temporary, "w") as stream:
        for path, place in zip(tqdm(pictures, desc="predicting", unit="picture"), places):
            image = read_image(path)
            try:
                labels = labels_of(model, job, image, settings)
            except UserError as error:  # too small for this network: others may not be
                skipped.append((path, str(error)))
                continue
            _save(draw_labels(image, labels, names, colours, opacity, job.ignore_index), output / place)
            _save(_with_palette(labels, colours), output / _LABELS / place)
            if city_ids:
                _save(Image.fromarray(ID_OF_TRAIN_ID[labels]), output / _SUBMISSION / submission_name(place))
            row = {"file_name": str(path), "width": image.shape[1], "height": image.shape[0]}
            row["classes"] = _shares(labels, names)
            stream.write(("[\n" if done == 0 else ",\n") + json.dumps(row))  # a line each: nothing is kept
            done += 1
        if not done:
            raise UserError(f"none of the {len(skipped)} pictures can be used ({skipped[-1][0]}: {skipped[-1][1]})")
        stream.write("\n]\n")
    submission = str(output / _SUBMISSION) if city_ids else None
    labels = str(output / _LABELS)
    return {
        "images": done, "skipped": skipped, "file": str(file), "labels": labels, "submission": submission,
    }  # fmt: skip


def labels_of(model, job, image, settings):
    """The class of every pixel of a picture.

    Args:
        model (paddle.nn.Layer): in eval mode.
        job: from `segmentation.config.load`; val_dataset's transforms prepare the picture.
        image (array): uint8 (H, W, 3), red-green-blue.
        settings (dict): from `segmentation.evaluation.inference_settings`.

    Returns:
        array: uint8 (H, W).

    Raises:
        UserError: a transform that PaddleSeg cannot undo, so that the result has another size.
    """
    infer = importlib.import_module("paddleseg.core.infer")
    data = prepare(job, image)
    arguments = {key: settings[key] for key in ("is_slide", "stride", "crop_size")}
    inference = infer.inference
    if settings["aug_eval"]:
        inference = infer.aug_inference
        arguments |= {key: settings[key] for key in ("scales", "flip_horizontal", "flip_vertical")}
    with paddle.no_grad():
        found, _ = inference(model, paddle.to_tensor(data["img"][None]), trans_info=data["trans_info"], **arguments)
    labels = found.numpy()[0, 0].astype(np.uint8)
    if labels.shape != image.shape[:2]:
        raise UserError(
            f"val_dataset's transforms turn {image.shape[1]} x {image.shape[0]} pixels into "
            f"{labels.shape[1]} x {labels.shape[0]}, and PaddleSeg cannot undo all of them; "
            f"use Resize, ResizeByLong, ResizeByShort, LimitLong or Padding"
        )
    return labels


def prepare(job, image, transforms=None):
    """What transforms, by default val_dataset's, make of a picture: dict with img (channels, h, w) and trans_info."""
    import cv2
    from paddleseg.transforms import Compose

    if transforms is None:  # a copy for each picture: PaddleSeg's ResizeByShort keeps the limit that a long one set
        transforms = copy.deepcopy(job.builder.val_transforms)
    channels = val_block(job).get("img_channels", 3)
    code = cv2.COLOR_RGB2GRAY if channels == 1 else cv2.COLOR_RGB2BGR  # as PaddleSeg reads files
    pixels = cv2.cvtColor(image, code).astype(np.float32)
    return Compose(transforms, img_channels=channels)({"img": pixels})


def val_block(job):
    """The settings of val_dataset, whose transforms prepare pictures; UserError when there are none."""
    block = job.config.val_dataset_cfg
    if not block.get("transforms"):
        raise UserError(
            f"{job.path} has no transforms in val_dataset; they prepare pictures for the model, so name them"
        )
    return block


def submission_name(place):
    """Path("berlin/berlin_000000_000019_leftImg8bit.png") -> Path("berlin/berlin_000000_000019_pred_labelIds.png")."""
    return place.with_name(re.sub(r"_leftImg8bit$", "", place.stem) + "_pred_labelIds.png")


def _check(job, opacity, city_ids):
    val_block(job)
    if not 0 <= opacity <= 1:
        raise UserError(f"opacity is {opacity}; it must be from 0 to 1")
    if job.num_classes > 256:
        raise UserError(f"{job.path}: {job.num_classes} classes; label pictures of 8 bits have room for 256")
    if city_ids and tuple(class_names(job)) != CLASS_NAMES:
        raise UserError(
            f"{job.path}: its classes are not the 19 of Cityscapes and have no ids there; leave out --city-ids"
        )


def _places(pictures, output):
    """Where below `output` each picture's files go; folders that are named as ours get an underscore."""
    places = [name.relative_to(output) for name in output_names(pictures, output)]
    ours = (_LABELS, _SUBMISSION)
    return [Path(f"{p.parts[0]}_", *p.parts[1:]) if p.parts[0] in ours else p for p in places]


def _save(picture, path):
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")


def _with_palette(labels, colours):
    picture = Image.fromarray(labels).convert("L")
    picture.putpalette(colours.tobytes())  # turns L into P; the numbers stay
    return picture


def _shares(labels, names):
    """{name: share of the pixels} of the classes that are there."""
    counts = np.bincount(labels.ravel(), minlength=len(names))
    return {name: round(count / labels.size, 6) for name, count in zip(names, counts.tolist()) if count}
