"""Predicting on pictures: boxes drawn into PNG files, and a results file in COCO's format."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from ...pictures.reading import opencv_reads, read_image
from ..prediction import Skipped, none_usable, prediction_file, readable_pictures, save_png
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
    file, drawn, done = Path(output) / "predictions.json", 0, 0
    found = detections(trainer, pictures, skipped)
    with prediction_file(file) as rows:
        for index, boxes in tqdm(found, total=len(pictures), desc="predicting", unit="picture"):
            path, labels = pictures[index], boxes[:, 0].astype(int)
            try:
                image = read_image(path)
            except UserError as error:  # it is gone since
                skipped.append((path, str(error).removeprefix(f"{path}: ")))
                continue
            for label, box in zip(labels, boxes.tolist()):
                rows.add(_row(ids[index], path, numbers[label], names[label], box))
            shown = boxes[:, 1] >= threshold
            drawn += int(shown.sum())
            titles = [names[label] for label in labels[shown]]
            save_png(draw_boxes(image, boxes[shown, 2:], titles, boxes[shown, 1], palette), targets[index])
            done += 1
        if not done:
            raise none_usable(skipped, "read")
    return {"images": done, "skipped": skipped, "boxes": drawn, "file": str(file), "output": str(output)}


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


def detections(
    trainer: Any, pictures: Sequence[Path], skipped: list[Skipped] | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (position in `pictures`, boxes (M, 6): class, score, x1, y1, x2, y2 in pixels) for each picture.

    A thread prepares the next batch while the detector works. A picture that cannot be read any more goes to `skipped`,
    or is an error without it.
    """
    trainer.model.eval()
    reader = create("TestReader")
    numbers = range(0, len(pictures), reader.batch_size)
    with paddle.no_grad(), ThreadPoolExecutor(1) as thread:

        def prepare(start):
            return thread.submit(prepare_batch, reader, pictures, range(start, start + reader.batch_size))

        prepared = prepare(0)
        for start in numbers:
            batch, faults = prepared.result()
            prepared = prepare(start + reader.batch_size)
            if faults and skipped is None:
                raise UserError(f"{faults[0][0]}: {faults[0][1]}")
            if skipped is not None:
                skipped += faults
            if batch is not None:
                yield from split_batch(trainer.model(batch), batch)


def prepare_batch(
    reader: Any, pictures: Sequence[Path], numbers: Iterable[int]
) -> tuple[dict[str, Any] | None, list[Skipped]]:
    """The batch of some pictures, as a reader of PaddleDetection prepares it, and those that could not be read.

    Args:
        reader: `create("TestReader")`. Its own loader has a thread, and waits for ever once that has died.
        pictures: the files.
        numbers: places in `pictures`; those past its end are passed over. They become im_id.

    Returns:
        (the batch, or None when no picture is left; [(path, reason), ...]).
    """
    samples, faults = [], []
    for number in numbers:
        if number >= len(pictures):
            continue
        try:
            samples.append(reader._sample_transforms(record(number, pictures[number])))
        except Exception as error:  # a transform of PaddleDetection may raise anything
            reason = str(error).removeprefix(f"{pictures[number]}: ")
            faults.append((pictures[number], " ".join(reason.split()) or type(error).__name__))
    if not samples:
        return None, faults
    batch = reader._batch_transforms(samples)
    return {k: paddle.to_tensor(v) if isinstance(v, np.ndarray) else v for k, v in batch.items()}, faults


def record(number: int, path: str | Path) -> dict[str, Any]:
    """What PaddleDetection's transforms need of a picture.

    A picture that OpenCV cannot read, told by its content, is handed over as PNG bytes: a GIF or an animation.
    """
    entry: dict[str, Any] = {"im_id": np.array([number]), "im_file": str(path), "curr_iter": number}
    if not opencv_reads(path):
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
