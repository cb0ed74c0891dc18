"""Predicting on pictures: classes laid over them, label pictures, and the share of every class."""

from __future__ import annotations

import copy
import importlib
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from PIL import Image

from ...backbones.windows import Whole
from ...datasets.cityscapes import CLASS_NAMES, ID_OF_TRAIN_ID
from ...errors import UserError
from ...necks.fchardnet import FCHarDNet
from ...pictures.reading import turn_of
from ...pictures.remote import Unreachable
from ...system.ahead import ahead
from ...system.timings import stage
from ..evaluation import on_engine
from ..extras import Extras
from ..journal import stamp_of
from ..prediction import Picture, Run, Work, begin, in_threads, reason_of, save_png
from ..tiling import PIXEL_GRID
from .data import class_names, in_own_values, mapping_of, palette
from .evaluation import inference_settings
from .finding import LABELS, SUBMISSION, Labels, end, find_all, finish, places_of, work_of, write_rows
from .job import Job
from .results import LabelWriter, describe, save_labels
from .weights import find_trained, load_trained

__all__ = ["describe", "open_work", "predict"]


def predict(
    job: Job,
    paths: Iterable[str],
    output: str | Path,
    weights: str | Path | None = None,
    engine: Mapping[str, Any] | None = None,
    test_config: Mapping[str, Any] | None = None,
    opacity: float = 0.5,
    city_ids: bool = False,
    drawing: str | None = "jpg",
    extras: Extras | None = None,
    hands: Work | None = None,
) -> dict[str, Any]:
    """Predicts on pictures and videos, and writes, below `output`:

    - NAME.jpg: the picture with the classes' colours over it and a legend below;
    - labels/NAME.png: class numbers, an 8-bit PNG with a palette; with a label_map its values or colours;
    - submission/NAME_pred_labelIds.png with `city_ids`: Cityscapes' ids, for its evaluation server;
    - predictions.json: a list of {file_name, width, height, classes: {name: share of the pixels}};
    - for each video NAME.mp4, labels/NAME/NUMBER.png and NAME.jsonl: of each frame file_name, frame, time (s), width,
      height, classes. Frames have class numbers.

    Args:
        job, paths, output, extras: as in `detection.prediction.predict`.
        weights: as in `segmentation.weights.load_trained`.
        engine: options of `engines.open_network`; the model then runs on that engine.
        test_config: as in `segmentation.evaluation.inference_settings`.
        opacity: of the colours, 0 to 1.
        city_ids: whether to write the submission; for a model of Cityscapes' 19 classes.
        drawing: "jpg" or "png", the kind of the drawn pictures; None draws none.
        hands: as in `detection.prediction.predict`.

    Returns:
        images (their number), skipped (list of (path, reason)), file (predictions.json), output, labels and submission
        (folders; submission is None without `city_ids`), videos (see `videos.predict_videos`).

    Raises:
        UserError: no usable picture; output cannot be written to or is where the pictures are; weights do not fit;
            opacity or test_config; the job's classes are not Cityscapes', or more than 256.
    """
    _check(job, opacity, city_ids)
    settings = inference_settings(job, test_config)
    run = begin(paths, output, drawing, extras, "segmentation", hands)
    places, path = places_of(run), find_trained(job, weights)
    run.know(model=[str(path), stamp_of(path)], settings=job.dic, engine=engine, test_config=settings,
             opacity=opacity, city_ids=city_ids)  # fmt: skip
    model = None if hands else _open_model(job, weights, engine)
    labels = _labels(job, run.output, opacity, city_ids)
    if hands:
        return find_all(None, run, labels, 0)
    return _predict(job, run, model, settings, labels, places)


def open_work(
    job: Job,
    output: str | Path,
    weights: str | Path | None = None,
    engine: Mapping[str, Any] | None = None,
    test_config: Mapping[str, Any] | None = None,
    opacity: float = 0.5,
    city_ids: bool = False,
    drawing: str | None = "jpg",
    extras: Extras | None = None,
    sample: Path | None = None,
) -> Work:
    """What `predict` does with each picture, for a worker; arguments as there, `sample` is not needed."""
    _check(job, opacity, city_ids)
    settings = inference_settings(job, test_config)
    run = Run([], [], Path(output), drawing, extras or Extras())
    find_trained(job, weights)
    find = _Finder(job, _open_model(job, weights, engine), settings)
    return work_of(find, run, _labels(job, run.output, opacity, city_ids), 2)


def _labels(job, output, opacity, city_ids):
    writer = LabelWriter(class_names(job), palette(job), opacity, job.ignore_index)

    def save(labels, place):
        _write_labels(labels, job, writer.colours, output, place, city_ids)

    return Labels(writer, save, city_ids)


class _Finder:
    """The model as a function of a picture, or of a tile of one. Threads prepare, and the network takes turns."""

    def __init__(self, job, model, settings):
        self._job, self._model, self._settings = job, model, settings
        self._turn = threading.Lock()
        self._wholes = lru_cache(8)(self._whole_of)

    def __call__(self, image, tile=None, size=None):
        data = prepare(self._job, image)
        with self._turn, self._placed(tile, size, data["img"]):
            return _infer(self._model, data, image.shape[:2], self._settings)

    def _placed(self, tile, size, prepared):
        """Within it the network knows where the tile lies, where that makes a difference and can be said."""
        depends = isinstance(self._model, FCHarDNet) and self._model.align_corners
        in_own_size = tile and prepared.shape[1:] == (tile.bottom - tile.top, tile.right - tile.left)
        varied = self._settings["aug_eval"] or self._settings["is_slide"]
        if not depends or not in_own_size or varied or tile.left % PIXEL_GRID or tile.top % PIXEL_GRID:
            return nullcontext()
        return self._wholes(size, len(prepared)).part(tile.top, tile.left)

    def _whole_of(self, size, channels):
        return Whole(self._model, size, channels, PIXEL_GRID)


def _predict(job, run, model, settings, labels, places):
    find = _Finder(job, model, settings)

    def work(item):
        number, image, labels_found = item
        return [finish(run, labels, Picture(number, run.pictures[number], places[number]), image, labels_found)]

    def found(rows):
        numbers = [number for number in range(len(run.pictures)) if number not in rows]
        every = _labels_of_all(model, job, run, numbers, settings)
        path_of = lambda item: run.pictures[item[0]]  # noqa: E731
        return in_threads(work, every, len(numbers), 2, path_of, run.skipped, rows.images)

    if run.extras.tile:
        return find_all(find, run, labels, 2)
    return end(find, run, labels, 2, write_rows(found, run, labels))


def _open_model(job, weights, engine):
    """The trained model in eval mode, on an engine where one is asked for."""
    model = load_trained(job, weights).model
    model.eval()
    return model if engine is None else on_engine(model, engine)


def _labels_of_all(model, job, run, numbers, settings):
    """Yields (number of a picture, picture, labels (H, W)). Other threads read and prepare what comes next."""

    def read(number):
        path = run.pictures[number]
        with turn_of(path):
            with stage("decode"):
                picture = run.read(path)
            with stage("prepare"):
                return picture, prepare(job, np.asarray(picture))

    for number, future in ahead(read, numbers, 2, 4):
        path = run.pictures[number]
        try:
            picture, data = future.result()
            yield number, picture, _infer(model, data, picture.size[::-1], settings)
        except Unreachable:
            raise
        except UserError as error:  # too small for this network; other pictures may not be
            run.skipped.append((path, reason_of(error, path)))


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
    return _infer(model, prepare(job, image), image.shape[:2], settings)


def _infer(model, data, size, settings):
    """The class of every pixel of a prepared picture, in its own (height, width)."""
    infer = importlib.import_module("paddleseg.core.infer")
    arguments = {key: settings[key] for key in ("is_slide", "stride", "crop_size")}
    inference = infer.inference
    if settings["aug_eval"]:
        inference = infer.aug_inference
        arguments |= {key: settings[key] for key in ("scales", "flip_horizontal", "flip_vertical")}
    with paddle.no_grad(), stage("network and classes"):
        found, _ = inference(model, paddle.to_tensor(data["img"][None]), trans_info=data["trans_info"], **arguments)
        labels = found.numpy()[0, 0].astype(np.uint8)
    if labels.shape != tuple(size):
        raise UserError(
            f"val_dataset's transforms turn {size[1]} x {size[0]} pixels into "
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
        save_labels(own, colours, output / LABELS / place)
    else:
        save_png(Image.fromarray(own), output / LABELS / place)
    if city_ids:
        save_png(Image.fromarray(ID_OF_TRAIN_ID[labels]), output / SUBMISSION / submission_name(place))
