"""Predicting on pictures: boxes drawn into PNG files, and a results file in COCO's format."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from PIL import Image
from ppdet.core.workspace import create
from ppdet.engine import Trainer
from tqdm import tqdm

from ...errors import UserError
from ...pictures.drawing import class_colours, draw_boxes
from ...pictures.finding import output_names
from ...pictures.reading import read_image
from ..prediction import prediction_file, readable_pictures, save_png
from .acceleration import on_engine
from .classes import all_categories
from .data import picture_ids
from .job import Job
from .weights import load_trained


def predict(
    job: Job,
    paths: Iterable[str],
    output: str | Path,
    weights: str | Path | None = None,
    engine: Mapping[str, Any] | None = None,
    threshold: float = 0.5,
) -> dict[str, Any]:
    """Predicts on pictures; writes OUTPUT/NAME.png for each and OUTPUT/predictions.json with all boxes.

    Args:
        job: from `detection.config.load`.
        paths: files, folders (with their sub-folders) and glob patterns.
        output: folder to write to.
        weights: as in `detection.weights.load_trained`.
        engine: options of `engines.open_network`; as much of the detector as possible then runs on that engine.
        threshold: boxes with a lower score are not drawn. predictions.json holds all that the detector returns.

    Returns:
        images (how many were predicted on), skipped (list of (path, reason)), boxes (how many were drawn), file
        (predictions.json), output (the folder).

    Raises:
        UserError: no picture is found or none can be read; output cannot be written to; weights do not fit.
    """
    if not 0 <= threshold <= 1:
        raise UserError(f"threshold is {threshold}; it must be from 0 to 1")
    pictures, skipped = readable_pictures(paths, output)
    trainer = Trainer(job.cfg, mode="test")
    load_trained(job, weights, trainer.model)
    if engine is not None:
        on_engine(trainer.model, job.cfg, engine)
    numbers, names = zip(*all_categories(job))
    ids, targets = picture_ids(job, pictures), output_names(pictures, output)
    palette = class_colours(names)
    file, drawn = Path(output) / "predictions.json", 0
    with prediction_file(file) as rows:
        for index, boxes in tqdm(detections(trainer, pictures), total=len(pictures), desc="predicting", unit="picture"):
            path, labels = pictures[index], boxes[:, 0].astype(int)
            for label, box in zip(labels, boxes.tolist()):
                rows.add(_row(ids[index], path, numbers[label], names[label], box))
            shown = boxes[:, 1] >= threshold
            drawn += int(shown.sum())
            titles = [names[label] for label in labels[shown]]
            save_png(draw_boxes(read_image(path), boxes[shown, 2:], titles, boxes[shown, 1], palette), targets[index])
    return {"images": len(pictures), "skipped": skipped, "boxes": drawn, "file": str(file), "output": str(output)}


def describe(result: Mapping[str, Any]) -> list[str]:
    """The lines that the command prints of a result of `predict`."""
    return [
        f"{result['images']} pictures, {result['boxes']} boxes drawn, in {result['output']}; "
        f"all boxes in {result['file']}"
    ]


def _row(image_id, path, category_id, name, box):
    """One box as COCO's results format has it, with the names of file and class."""
    _, score, x1, y1, x2, y2 = box
    return {
        "image_id": image_id,
        "file_name": str(path),
        "category_id": category_id,
        "category": name,
        "bbox": [round(v, 3) for v in (x1, y1, x2 - x1, y2 - y1)],
        "score": round(score, 6),
    }


def detections(trainer: Any, pictures: Sequence[Path]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (position in `pictures`, boxes (M, 6): class, score, x1, y1, x2, y2 in pixels) for each picture."""
    dataset = trainer.dataset
    dataset.roidbs = [record(i, path) for i, path in enumerate(pictures)]
    trainer.model.eval()
    with paddle.no_grad():
        for batch in create("TestReader")(dataset, 0):
            yield from split_batch(trainer.model(batch), batch)


def record(number: int, path: str | Path) -> dict[str, Any]:
    """What PaddleDetection's reader needs of a picture. A GIF, which OpenCV cannot read, goes to it as PNG bytes."""
    entry: dict[str, Any] = {"im_id": np.array([number]), "im_file": str(path)}
    if Path(path).suffix.lower() == ".gif":
        stream = io.BytesIO()
        Image.fromarray(read_image(path)).save(stream, "png")
        entry["image"] = stream.getvalue()
    return entry


def split_batch(outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (im_id, boxes (M, 6)) for each picture of a batch."""
    boxes, counts = np.asarray(outputs["bbox"]), np.asarray(outputs["bbox_num"])
    ends = np.cumsum(counts)
    for image_id, start, end in zip(np.asarray(batch["im_id"]).ravel(), ends - counts, ends):
        found = boxes.reshape(-1, boxes.shape[-1])[start:end]
        yield int(image_id), found[found[:, 0] >= 0]  # a class of -1 means that nothing was found
