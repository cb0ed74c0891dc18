"""A detector that `densebone export --format onnx` wrote, in plain ONNX Runtime: no densebone, no Paddle.

    pip install onnxruntime pillow numpy opencv-python-headless
    python detect.py exported/birds picture.jpg

It reads the steps of preparing a picture and the class names from model_card.json.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

METHODS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "nearest": cv2.INTER_NEAREST}
THRESHOLD = 0.5


def prepare(image, steps):
    """uint8 (H, W, 3) in RGB -> (float32 (1, 3, H', W'), scale (y, x), (height, width) before padding)."""
    height, width = image.shape[:2]
    scale, shape = (1.0, 1.0), (height, width)
    for step in steps:
        ((name, given),) = step.items()
        if name == "resize" and given["keep_ratio"]:
            target = given["size"]
            factor = min(min(target) / min(height, width), max(target) / max(height, width))
            image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=METHODS[given["interpolation"]])
            scale, shape = (factor, factor), (height * factor, width * factor)
        elif name == "resize":
            shape = tuple(given["size"])
            image = cv2.resize(image, shape[::-1], interpolation=METHODS[given["interpolation"]])
            scale = (shape[0] / height, shape[1] / width)
        elif name == "normalize":
            image = image.astype(np.float32) / np.float32(given["scale"])
            image = (image - np.float32(given["mean"])) / np.float32(given["std"])
        elif name == "pad":
            size = given.get("size") or [-(-side // given["stride"]) * given["stride"] for side in image.shape[:2]]
            below, right = (wanted - side for wanted, side in zip(size, image.shape[:2]))
            image = np.pad(image, [(0, below), (0, right), (0, 0)])
        else:
            raise ValueError(f"this example does not know the step {name!r}")
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32), scale, shape


def main(folder, picture):
    """Prints class, score, and left, top, right, bottom in pixels of every object."""
    card = json.loads(Path(folder, "model_card.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(str(Path(folder, "model.onnx")), providers=["CPUExecutionProvider"])
    image = np.asarray(ImageOps.exif_transpose(Image.open(picture)).convert("RGB"))
    prepared, scale, shape = prepare(image, card["preprocessing"]["steps"])
    inputs = {"image": prepared, "scale_factor": np.float32([scale]), "im_shape": np.float32([shape])}
    wanted = {one.name for one in session.get_inputs()}
    feed = {name: value for name, value in inputs.items() if name in wanted}
    boxes, scores, labels, _ = session.run(["boxes", "scores", "labels", "count"], feed)
    for box, score, label in zip(boxes[0], scores[0], labels[0]):
        if label >= 0 and score >= THRESHOLD:
            print(card["classes"][label], f"{score:.4f}", *(f"{value:.2f}" for value in box))


if __name__ == "__main__":
    main(*sys.argv[1:3])
