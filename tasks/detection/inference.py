"""A detector on pictures, as PaddleDetection's TestReader prepares them: files in, boxes out."""

from __future__ import annotations

import io
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from PIL import Image
from ppdet.core.workspace import create

from ...errors import UserError
from ...pictures.reading import opencv_reads, read_image
from ...pictures.remote import Unreachable, bytes_of, path_of
from ...system.timings import stage
from ..prediction import Skipped


def detections(
    trainer: Any, pictures: Sequence[Path], skipped: list[Skipped] | None = None, done: Container[int] = ()
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (position in `pictures`, boxes (M, 6): class, score, x1, y1, x2, y2 in pixels) for each picture.

    A thread prepares the next batch while the detector works. A picture that cannot be read any more goes to `skipped`,
    or is an error without it. Batches of which all pictures are `done` are passed over.
    """
    trainer.model.eval()
    reader = create("TestReader")
    step = reader.batch_size
    numbers = [
        start
        for start in range(0, len(pictures), step)
        if any(number not in done for number in range(start, min(start + step, len(pictures))))
    ]
    with paddle.no_grad(), ThreadPoolExecutor(1) as thread:

        def prepare(start):
            return thread.submit(prepare_batch, reader, pictures, range(start, start + step))

        prepared = prepare(numbers[0] if numbers else len(pictures))
        for place, _ in enumerate(numbers, 1):
            batch, faults = prepared.result()
            prepared = prepare(numbers[place] if place < len(numbers) else len(pictures))
            if faults and skipped is None:
                raise UserError(f"{faults[0][0]}: {faults[0][1]}")
            if skipped is not None:
                skipped += faults
            if batch is not None:
                with stage("network and boxes"):
                    found = trainer.model(batch)
                yield from split_batch(found, batch)


def prepare_batch(
    reader: Any, pictures: Sequence[Path | np.ndarray], numbers: Iterable[int]
) -> tuple[dict[str, Any] | None, list[Skipped]]:
    """The batch of some pictures, as a reader of PaddleDetection prepares it, and those that could not be read.

    Args:
        reader: `create("TestReader")`. Its own loader has a thread, and waits for ever once that has died.
        pictures: the files, or decoded pictures, uint8 (H, W, 3) in RGB.
        numbers: places in `pictures`; those past its end are passed over. They become im_id.

    Returns:
        (the batch, or None when no picture is left; [(path, reason), ...]).
    """
    samples: list[Any] = []
    faults: list[Skipped] = []
    for number in numbers:
        if number >= len(pictures):
            continue
        try:
            with stage("decode and prepare"):
                samples.append(reader._sample_transforms(record(number, pictures[number])))
        except Unreachable:
            raise
        except Exception as error:  # a transform of PaddleDetection may raise anything
            given = pictures[number]
            path = Path("") if isinstance(given, np.ndarray) else path_of(given)
            reason = str(error).removeprefix(f"{path}: ")
            faults.append((path, " ".join(reason.split()) or type(error).__name__))
    if not samples:
        return None, faults
    batch = reader._batch_transforms(samples)
    return {k: paddle.to_tensor(v) if isinstance(v, np.ndarray) else v for k, v in batch.items()}, faults


def record(number: int, path: str | Path | np.ndarray) -> dict[str, Any]:
    """What PaddleDetection's transforms need of a picture.

    A picture that OpenCV cannot read, told by its content, is handed over as PNG bytes: a GIF or an animation. One that
    is decoded is handed over as a BMP, whose pixels are not packed.
    """
    if isinstance(path, np.ndarray):
        stream = io.BytesIO()
        Image.fromarray(path).save(stream, "bmp")
        return {"im_id": np.array([number]), "im_file": "", "curr_iter": number, "image": stream.getvalue()}
    entry: dict[str, Any] = {"im_id": np.array([number]), "im_file": str(path), "curr_iter": number}
    if (content := bytes_of(path)) is not None:
        entry["image"] = content
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
