"""A data set of three small pictures in the layout of PaddleSeg's `Dataset`, and its configuration."""

import numpy as np
from PIL import Image

CLASSES = 4
SIZE = (64, 32)  # width, height in pixels

CONFIG = """\
batch_size: 2
iters: 4
model: {{type: FCN, num_classes: 4, backbone: {{type: HarDNet39DS}}, backbone_indices: [-1]}}
train_dataset:
  type: Dataset
  dataset_root: {root}
  train_path: {root}/train.txt
  num_classes: 4
  mode: train
  transforms:
    - {{type: ResizeStepScaling, min_scale_factor: 0.5, max_scale_factor: 1.5}}
    - {{type: RandomPaddingCrop, crop_size: [64, 32]}}
    - {{type: Normalize}}
val_dataset:
  type: Dataset
  dataset_root: {root}
  val_path: {root}/val.txt
  num_classes: 4
  mode: val
  transforms: [{{type: Normalize}}]
optimizer: {{type: SGD, momentum: 0.9, weight_decay: 1e-4}}
lr_scheduler: {{type: PolynomialDecay, learning_rate: 1e-2, end_lr: 0, power: 0.9}}
loss:
  types: [{{type: CrossEntropyLoss}}]
  coef: [1]
"""


def write_set(folder, count=3):
    """Writes pictures, labels in which every class occurs, train.txt and val.txt."""
    rng = np.random.default_rng(0)
    lines = []
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        labels = np.repeat(np.arange(SIZE[0], dtype=np.uint8)[None] * CLASSES // SIZE[0], SIZE[1], axis=0)
        labels[:2] = 255
        Image.fromarray(labels).save(folder / "labels" / f"{index}.png")
        picture = (labels[..., None] * 50 + rng.integers(0, 50, (*labels.shape, 3))).astype(np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"{index}.jpg")
        lines.append(f"images/{index}.jpg labels/{index}.png\n")
    for part in ("train", "val"):
        (folder / f"{part}.txt").write_text("".join(lines))
    return folder


def write_config(file, root):
    """Writes the configuration for a set in the folder `root`."""
    file.write_text(CONFIG.format(root=root))
    return file
