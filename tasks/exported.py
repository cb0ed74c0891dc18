"""Predicting with an exported detector or segmentation model: from its folder alone, without a toolkit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..datasets import cityscapes
from ..errors import UserError
from ..pictures.drawing import class_colours, draw_boxes, draw_labels
from ..pictures.finding import output_names
from ..pictures.reading import read_image
from ..pictures.resizing import resize
from ..runtime import Boxes, Model
from ..runtime.sessions import ENGINES
from .prediction import none_usable, prediction_file, readable_pictures, save_png

#: decides what `densebone predict --model` does with a folder
TASKS = ("detection", "segmentation")


def predict(
    folder: str | Path,
    paths: Iterable[str],
    output: str | Path,
    engine: Mapping[str, Any] | None = None,
    threshold: float = 0.5,
    opacity: float = 0.5,
) -> dict[str, Any]:
    """As the task's own `predict`, with a model that `densebone export` wrote and nothing but its card.

    Args:
        folder: holds the model and model_card.json.
        paths, output: see `detection.prediction.predict`.
        engine: engine, precision and threads; "auto" and None take the fastest file that is there.
        threshold: of the boxes that are drawn; predictions.json has all.
        opacity: of the colours of a segmentation model.

    Returns:
        images, skipped, file, output, and boxes (drawn) of a detector or labels (folder) of a segmentation model.

    Raises:
        UserError: no card, or one of another model; files that are not those of the card; no file for the engine; no
            usable picture; threshold or opacity out of range.
    """
    for name, value in (("threshold", threshold), ("opacity", opacity)):
        if not 0 <= value <= 1:
            raise UserError(f"{name} is {value}; it must be from 0 to 1")
    find, model = open_exported(Path(folder), engine)
    pictures, skipped = readable_pictures(paths, output)
    places, file = output_names(pictures, output), Path(output) / "predictions.json"
    draw = _Drawer(model, Path(output), threshold, opacity)
    with prediction_file(file) as rows:
        for number, (path, place) in enumerate(zip(tqdm(pictures, desc="predicting", unit="picture"), places), 1):
            try:
                image = read_image(path)
                found = find(image)
            except UserError as error:  # gone since, or of a size that this network cannot take
                skipped.append((path, str(error).removeprefix(f"{path}: ")))
                continue
            draw(number, path, place, image, found, rows)
        if not draw.images:
            raise none_usable(skipped, "used")
    more = {"boxes": draw.boxes} if model.task == "detection" else {"labels": str(Path(output) / "labels")}
    return {"images": draw.images, "skipped": skipped, "file": str(file), "output": str(output), **more}


def describe(result: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of a result of `predict`."""
    if "boxes" in result:
        return [
            f"{result['images']} pictures, {result['boxes']} boxes drawn, in {result['output']}; all boxes in "
            f"{result['file']}"
        ]
    return [f"{result['images']} pictures in {result['output']}, the classes' numbers in {result['labels']}"]


def open_exported(folder: Path, options: Mapping[str, Any] | None) -> tuple[Callable[[np.ndarray], Any], Model]:
    """(a function: uint8 (H, W, 3) in RGB -> what is found, the model) on the engine that the options name."""
    options = dict(options or {})
    name = options.get("engine")
    has_others = any((folder / file).is_file() for files in ENGINES.values() for file in files)
    if options.get("precision", "fp32") != "fp32":
        raise UserError(
            f"precision is {options['precision']!r}; exported detectors and segmentation models run in fp32"
        )
    if name == "paddle" or (name in (None, "auto") and not has_others):
        model = Model(folder, session=False)
        return _on_paddle(folder, model), model
    if name not in (None, "auto", *ENGINES):
        raise UserError(
            f"engine is {name!r}, which runs no exported model; give one of auto, paddle, {', '.join(ENGINES)}"
        )
    model = Model(folder, None if name == "auto" else name, options.get("threads"), threshold=0)
    print(f"engine: {model.description}", file=sys.stderr)
    return model, model


def _on_paddle(folder, model):
    from ..deploy.cards import check_files  # these need Paddle, and the other engines do not
    from ..engines.formats import PARAMETERS, program_file
    from ..engines.program import open_program

    if not (folder / PARAMETERS).is_file():
        raise UserError(f"{folder} holds no exported model ({PARAMETERS} is missing); export it again")
    check_files(folder, model.card, [program_file(folder).name, PARAMETERS])
    program = open_program(folder)

    def find(image):
        ready, size = model.prepare(image)
        if model.task == "segmentation":
            labels = program(ready.image[None])[0][0]
            labels = labels[: round(ready.shape[0]), : round(ready.shape[1])]
            return resize(labels[..., None], size, "nearest")[..., 0]
        scale, shape = np.array([ready.scale], np.float32), np.array([ready.shape], np.float32)
        outputs = program({"image": ready.image[None], "scale_factor": scale, "im_shape": shape})
        rows = next(out for out in outputs if out.ndim == 2 and out.shape[-1] == 6)
        rows = rows[rows[:, 0] >= 0]
        rows = rows[np.argsort(-rows[:, 1], kind="stable")]
        labels = rows[:, 0].astype(np.int64)
        return Boxes(rows[:, 2:], rows[:, 1], labels, [model.classes[label] for label in labels])

    return find


class _Drawer:
    """Draws what is found on each picture and writes its rows."""

    def __init__(self, model, output, threshold, opacity):
        self.model, self.output, self.threshold, self.opacity = model, output, threshold, opacity
        self.images = self.boxes = 0
        names = model.classes
        self.colours = class_colours(names)
        self.table = np.zeros((256, 3), np.uint8)
        if tuple(names) == cityscapes.CLASS_NAMES:
            self.table[: len(names)] = cityscapes.PALETTE
        elif len(names) <= 256:
            self.table[: len(names)] = [self.colours[name] for name in names]

    def __call__(self, number, path, place, image, found, rows):
        self.images += 1
        if isinstance(found, Boxes):
            self._draw_boxes(number, path, place, image, found, rows)
        else:
            self._draw_labels(path, place, image, np.asarray(getattr(found, "labels", found)).astype(np.uint8), rows)

    def _draw_boxes(self, number, path, place, image, found, rows):
        ids = self.model.card.get("category_ids") or list(range(1, len(self.model.classes) + 1))
        for label, score, (left, top, right, bottom) in zip(found.labels, found.scores.tolist(), found.boxes.tolist()):
            rows.add({
                "image_id": number, "file_name": str(path), "category_id": ids[label],
                "category": self.model.classes[label],
                "bbox": [round(v, 3) for v in (left, top, right - left, bottom - top)], "score": round(score, 6),
            })  # fmt: skip
        shown = found.scores >= self.threshold
        titles = [found.names[place_] for place_ in np.flatnonzero(shown)]
        save_png(draw_boxes(image, found.boxes[shown], titles, found.scores[shown], self.colours), place)
        self.boxes += int(shown.sum())

    def _draw_labels(self, path, place, image, labels, rows):
        names = self.model.classes
        save_png(draw_labels(image, labels, names, self.table, self.opacity, 255), place)
        drawn = Image.fromarray(labels)
        drawn.putpalette(self.table.tobytes())
        save_png(drawn, self.output / "labels" / place.relative_to(self.output))
        counts = np.bincount(labels.ravel(), minlength=len(names)).tolist()
        shares = {name: round(count / labels.size, 6) for name, count in zip(names, counts) if count}
        rows.add({"file_name": str(path), "width": labels.shape[1], "height": labels.shape[0], "classes": shares})
