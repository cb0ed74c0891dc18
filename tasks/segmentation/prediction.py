"""Predicting on pictures: classes laid over them, label pictures, and the share of every class."""

from __future__ import annotations

import copy
import importlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from PIL import Image
from tqdm import tqdm

from ...datasets.cityscapes import CLASS_NAMES, ID_OF_TRAIN_ID
from ...errors import UserError
from ...pictures.drawing import draw_labels
from ...pictures.finding import output_names
from ...pictures.reading import read_image
from ..evaluation import on_engine
from ..prediction import none_usable, prediction_file, readable_pictures, save_png
from .data import class_names, in_own_values, mapping_of, palette
from .evaluation import inference_settings
from .job import Job
from .weights import load_trained

_LABELS, _SUBMISSION = "labels", "submission"


def predict(
    job: Job,
    paths: Iterable[str],
    output: str | Path,
    weights: str | Path | None = None,
    engine: Mapping[str, Any] | None = None,
    test_config: Mapping[str, Any] | None = None,
    opacity: float = 0.5,
    city_ids: bool = False,
) -> dict[str, Any]:
    """Predicts on pictures and writes, below `output`:

    - NAME.png: the picture with the classes' colours over it and a legend below;
    - labels/NAME.png: class numbers, an 8-bit PNG with a palette; with a label_map its values or colours;
    - submission/NAME_pred_labelIds.png with `city_ids`: Cityscapes' ids, for its evaluation server;
    - predictions.json: a list of {file_name, width, height, classes: {name: share of the pixels}}.

    Args:
        job, paths, output: as in `detection.prediction.predict`.
        weights: as in `segmentation.weights.load_trained`.
        engine: options of `engines.open_network`; the model then runs on that engine.
        test_config: as in `segmentation.evaluation.inference_settings`.
        opacity: of the colours, 0 to 1.
        city_ids: whether to write the submission; for a model of Cityscapes' 19 classes.

    Returns:
        images (their number), skipped (list of (path, reason)), file (predictions.json), output, labels and submission
        (folders; submission is None without `city_ids`).

    Raises:
        UserError: no usable picture; output cannot be written to or is where the pictures are; weights do not fit;
            opacity or test_config; the job's classes are not Cityscapes', or more than 256.
    """
    _check(job, opacity, city_ids)
    settings, output = inference_settings(job, test_config), Path(output)
    pictures, skipped = readable_pictures(paths, output)
    places, file = _places(pictures, output), output / "predictions.json"
    model = _open_model(job, weights, engine)
    names, colours = class_names(job), palette(job)
    with prediction_file(file) as rows:
        for path, place in zip(tqdm(pictures, desc="predicting", unit="picture"), places):
            image = read_image(path)
            try:
                labels = labels_of(model, job, image, settings)
            except UserError as error:  # too small for this network; other pictures may not be
                skipped.append((path, str(error)))
                continue
            save_png(draw_labels(image, labels, names, colours, opacity, job.ignore_index), output / place)
            _write_labels(labels, job, colours, output, place, city_ids)
            rows.add(_row(path, labels, names))
        if not rows.rows:
            raise none_usable(skipped, "used")
    return {
        "images": rows.rows,
        "skipped": skipped,
        "file": str(file),
        "output": str(output),
        "labels": str(output / _LABELS),
        "submission": str(output / _SUBMISSION) if city_ids else None,
    }


def describe(result: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of a result of `predict`."""
    server = f"; for the server: {result['submission']}" if result["submission"] else ""
    return [f"{result['images']} pictures in {result['output']}, the classes' numbers in {result['labels']}{server}"]


def _open_model(job, weights, engine):
    """The trained model in eval mode, on an engine where one is asked for."""
    model = load_trained(job, weights).model
    model.eval()
    return model if engine is None else on_engine(model, engine)


def labels_of(model: Any, job: Job, image: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    """The class of every pixel of a picture.

    Args:
        model: a layer in eval mode.
        job: from `segmentation.config.load`; val_dataset's transforms prepare the picture.
        image: uint8 (H, W, 3) in RGB.
        settings: from `segmentation.evaluation.inference_settings`.

    Returns:
        uint8 (H, W).

    Raises:
        UserError: PaddleSeg cannot undo a transform, so the result has another size than the picture.
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


def prepare(job: Job, image: np.ndarray, transforms: Sequence[Any] | None = None) -> dict[str, Any]:
    """Applies transforms, by default val_dataset's, to a picture.

    Args:
        job: from `segmentation.config.load`.
        image: uint8 (H, W, 3) in RGB.
        transforms: of PaddleSeg.

    Returns:
        A dict with img, (channels, h, w), and trans_info, by which PaddleSeg undoes the transforms.
    """
    import cv2
    from paddleseg.transforms import Compose

    if transforms is None:  # a copy for each picture: PaddleSeg's ResizeByShort remembers the limit of a long picture
        transforms = copy.deepcopy(job.builder.val_transforms)
    channels = val_block(job).get("img_channels", 3)
    code = cv2.COLOR_RGB2GRAY if channels == 1 else cv2.COLOR_RGB2BGR  # as PaddleSeg reads files
    pixels = cv2.cvtColor(image, code).astype(np.float32)
    return Compose(transforms, img_channels=channels)({"img": pixels})


def val_block(job: Job) -> dict[str, Any]:
    """The settings of val_dataset, whose transforms prepare pictures; UserError when it has none."""
    block = job.config.val_dataset_cfg
    if not block.get("transforms"):
        raise UserError(
            f"{job.path} has no transforms in val_dataset; they prepare pictures for the model, so name them"
        )
    return block


def submission_name(place: Path) -> Path:
    """Path("berlin/berlin_000000_000019_leftImg8bit.png") -> Path("berlin/berlin_000000_000019_pred_labelIds.png")."""
    return place.with_name(re.sub(r"_leftImg8bit$", "", place.stem) + "_pred_labelIds.png")


def _check(job, opacity, city_ids):
    val_block(job)
    mapping_of(job)  # now, not after the first picture
    if not 0 <= opacity <= 1:
        raise UserError(f"opacity is {opacity}; it must be from 0 to 1")
    if job.num_classes > 256:
        raise UserError(f"{job.path}: {job.num_classes} classes; label pictures of 8 bits have room for 256")
    if city_ids and tuple(class_names(job)) != CLASS_NAMES:
        raise UserError(
            f"{job.path}: its classes are not the 19 of Cityscapes and have no ids there; leave out --city-ids"
        )


def _places(pictures, output):
    """Where below `output` each picture's files go. A folder called "labels" or "submission" gets an underscore."""
    places = [name.relative_to(output) for name in output_names(pictures, output)]
    ours = (_LABELS, _SUBMISSION)
    return [Path(f"{p.parts[0]}_", *p.parts[1:]) if p.parts[0] in ours else p for p in places]


def _write_labels(labels, job, colours, output, place, city_ids):
    """Writes the classes of a picture as the user's labels have them, and Cityscapes' ids where they are asked for."""
    own = in_own_values(job, labels)
    if own.ndim == 2:
        if own is not labels:  # a value has the colour of its class
            changed = np.zeros_like(colours)
            changed[in_own_values(job, np.arange(job.num_classes, dtype=np.uint8)[None])[0]] = colours[
                : job.num_classes
            ]
            colours = changed
        save_png(_with_palette(own, colours), output / _LABELS / place)
    else:
        save_png(Image.fromarray(own), output / _LABELS / place)
    if city_ids:
        save_png(Image.fromarray(ID_OF_TRAIN_ID[labels]), output / _SUBMISSION / submission_name(place))


def _with_palette(labels, colours):
    picture = Image.fromarray(labels).convert("L")
    picture.putpalette(colours.tobytes())  # turns L into P; the numbers stay
    return picture


def _row(path, labels, names):
    """The row of a picture in predictions.json, with the share of the pixels for each class that is there."""
    counts = np.bincount(labels.ravel(), minlength=len(names)).tolist()
    shares = {name: round(count / labels.size, 6) for name, count in zip(names, counts) if count}
    return {"file_name": str(path), "width": labels.shape[1], "height": labels.shape[0], "classes": shares}
