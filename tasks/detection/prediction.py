"""Predicting on pictures: boxes drawn into PNG files, and a results file in COCO's format."""

import io
import json
from pathlib import Path

import numpy as np
import paddle
from PIL import Image
from ppdet.core.workspace import create
from ppdet.engine import Trainer
from tqdm import tqdm

from ...errors import UserError
from ...pictures.drawing import class_colours, draw_boxes
from ...pictures.finding import find_images, output_names
from ...pictures.reading import check_images, read_image
from ...system.files import atomic_path, check_writable
from .acceleration import on_engine
from .data import categories_of, read_annotations
from .weights import load_detector


def predict(cfg, paths, output, weights=None, threshold=0.5, engine=None):
    """Predicts on pictures and writes OUTPUT/NAME.png for each and OUTPUT/predictions.json.

    Args:
        cfg: from `detection.config.load`.
        paths (list of str): files, folders (searched through), or glob patterns.
        output (str | Path): folder to write to.
        weights (str | None): as in `detection.weights.find_weights`.
        threshold (float): boxes with a lower score are not drawn; the file holds all that the detector returns.
        engine (dict | None): options of `engines.open_network`, which is then to run what it can of the detector.

    Returns:
        dict: images (pictures predicted on), skipped (list of (path, reason)), boxes (drawn), file.

    Raises:
        UserError: no picture is found or none can be read; output cannot be written to; weights do not fit.
    """
    if not 0 <= threshold <= 1:
        raise UserError(f"threshold is {threshold}; it must be from 0 to 1")
    file = Path(output) / "predictions.json"
    check_writable(output)
    pictures, skipped = check_images(find_images(paths))
    if not pictures:
        names = "; ".join(f"{path}: {reason}" for path, reason in skipped[:3])
        raise UserError(f"none of the {len(skipped)} pictures can be read ({names})")
    trainer = Trainer(cfg, mode="test")
    load_detector(trainer.model, cfg, weights)
    if engine is not None:
        on_engine(trainer.model, cfg, engine)
    categories = categories_of(cfg)
    categories += [(i, f"class {i}") for i in range(len(categories), cfg.num_classes)]
    ids = picture_ids(cfg, pictures)
    targets = output_names(pictures, output)
    palette = class_colours([name for _, name in categories])
    rows, drawn = [], 0
    for index, boxes in tqdm(detections(trainer, pictures), total=len(pictures), desc="predicting", unit="picture"):
        path = pictures[index]
        classes = boxes[:, 0].astype(int)
        for (_, score, x1, y1, x2, y2), cls in zip(boxes.tolist(), classes):
            category_id, name = categories[cls]
            rows.append(
                {
                    "image_id": ids[index],
                    "file_name": str(path),
                    "category_id": category_id,
                    "category": name,
                    "bbox": [round(v, 3) for v in (x1, y1, x2 - x1, y2 - y1)],
                    "score": round(score, 6),
                }
            )
        shown = boxes[:, 1] >= threshold
        drawn += int(shown.sum())
        labels = [categories[cls][1] for cls in classes[shown]]
        picture = draw_boxes(read_image(path), boxes[shown, 2:], labels, boxes[shown, 1], palette)
        with atomic_path(targets[index]) as temporary:
            picture.save(temporary)
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(rows, indent=1))
    return {"images": len(pictures), "skipped": skipped, "boxes": drawn, "file": str(file)}


def detections(trainer, pictures):
    """Yields (position in `pictures`, boxes (M, 6): class, score, x1, y1, x2, y2 in pixels) for each picture."""
    dataset = trainer.dataset
    dataset.roidbs = [record(i, path) for i, path in enumerate(pictures)]
    trainer.model.eval()
    with paddle.no_grad():
        for batch in create("TestReader")(dataset, 0):
            yield from split_batch(trainer.model(batch), batch)


def record(number, path):
    """What PaddleDetection's reader needs of a picture. GIF, which OpenCV does not read, goes to it as PNG bytes."""
    entry = {"im_id": np.array([number]), "im_file": str(path)}
    if Path(path).suffix.lower() == ".gif":
        stream = io.BytesIO()
        Image.fromarray(read_image(path)).save(stream, "png")
        entry["image"] = stream.getvalue()
    return entry


def split_batch(outputs, batch):
    """Yields (im_id, boxes (M, 6)) for each picture of a batch."""
    boxes, counts = np.asarray(outputs["bbox"]), np.asarray(outputs["bbox_num"])
    ends = np.cumsum(counts)
    for image_id, start, end in zip(np.asarray(batch["im_id"]).ravel(), ends - counts, ends):
        found = boxes.reshape(-1, boxes.shape[-1])[start:end]
        yield int(image_id), found[found[:, 0] >= 0]  # a class of -1 means that nothing was found


def picture_ids(cfg, pictures):
    """The ids that the data set's annotation file gives these pictures, or 1, 2, ... when it lacks one of them."""
    for key in ("TestDataset", "EvalDataset"):
        settings = cfg.get(key) or {}
        file = Path(settings.get("dataset_dir") or "") / (settings.get("anno_path") or "")
        if file.suffix == ".json" and file.is_file():
            known = {Path(p["file_name"]).name: p["id"] for p in read_annotations(file, key)["images"]}
            if all(path.name in known for path in pictures):
                return [known[path.name] for path in pictures]
    return list(range(1, len(pictures) + 1))
