"""A segmentation job that takes seconds: six pictures of 64 x 32 in three classes, a network of a thousand weights.

`python tiny_training.py CONFIG ITERATION OVERRIDES...` trains it. After the given iteration, and before anything of it
is saved, the process sends SIGKILL to itself.
"""

import os
import signal
import sys
import zlib  # noqa: F401  (before Paddle, as in densebone/__init__.py)

import numpy as np
import yaml
from paddle import nn
from paddleseg.cvlibs import manager
from PIL import Image

PICTURES = 6
SETTINGS = {
    "batch_size": 2,
    "iters": 10,
    "log_iters": 1,
    "save_interval": 4,
    "optimizer": {"type": "SGD", "momentum": 0.9, "weight_decay": 4.0e-5},
    "lr_scheduler": {"type": "PolynomialDecay", "learning_rate": 0.05, "power": 0.9, "end_lr": 0},
    "loss": {"types": [{"type": "CrossEntropyLoss"}], "coef": [1, 0.4]},
    "model": {"type": "NetworkWithDropout", "num_classes": 3},
}
TRANSFORMS = [
    {"type": "ResizeStepScaling", "min_scale_factor": 0.75, "max_scale_factor": 1.5},
    {"type": "RandomPaddingCrop", "crop_size": [32, 32]},
    {"type": "RandomHorizontalFlip"},
    {"type": "RandomDistort"},
    {"type": "Normalize"},
]


@manager.MODELS.add_component
class NetworkWithDropout(nn.Layer):
    """A network with two outputs, batch norm, and dropout as a source of randomness of its own."""

    def __init__(self, num_classes, in_channels=3, width=8):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2D(in_channels, width, 3, stride=2, padding=1), nn.BatchNorm2D(width), nn.ReLU(), nn.Dropout2D(0.2)
        )
        self.head = nn.Conv2D(width, num_classes, 1)
        self.second_head = nn.Conv2D(width, num_classes, 3, padding=1)

    def forward(self, x):
        """(N, in_channels, H, W) -> list of (N, num_classes, H, W): two in training mode, one in eval mode."""
        maps = self.body(x)
        heads = (self.head, self.second_head) if self.training else (self.head,)
        return [nn.functional.interpolate(head(maps), x.shape[2:], mode="bilinear") for head in heads]


def write(folder, name="tiny", **settings):
    """Writes the pictures and FOLDER/NAME.yml, where `settings` override `SETTINGS`; returns the file's path."""
    random = np.random.default_rng(0)
    lines = []
    for number in range(PICTURES):
        label = np.kron(random.integers(0, 3, (2, 4)), np.ones((16, 16))).astype("uint8")
        image = label[..., None] * 80 + random.integers(0, 80, (32, 64, 3))
        Image.fromarray(image.astype("uint8")).save(folder / f"{number}.png")
        Image.fromarray(label).save(folder / f"{number}_label.png")
        lines.append(f"{number}.png {number}_label.png\n")
    (folder / "list.txt").write_text("".join(lines))
    data = {"type": "Dataset", "dataset_root": str(folder), "num_classes": 3}
    listed = str(folder / "list.txt")
    content = {
        **SETTINGS,
        "save_dir": str(folder / "output"),
        "train_dataset": {**data, "mode": "train", "train_path": listed, "transforms": TRANSFORMS},
        "val_dataset": {**data, "mode": "val", "val_path": listed, "transforms": [{"type": "Normalize"}]},
        **settings,
    }
    path = folder / f"{name}.yml"
    path.write_text(yaml.safe_dump(content))
    return path


def job(path, *overrides):
    """The job of a configuration, on the CPU."""
    from densebone.tasks.segmentation.config import load

    return load(path, ["use_gpu=false", *overrides])


def main(path, iteration, *overrides):
    """Trains until the process kills itself; see the module's docstring."""
    from densebone.tasks.segmentation import training

    def step(run, *arguments):
        losses = original(run, *arguments)
        if run.iteration + 1 == int(iteration):
            os.kill(os.getpid(), signal.SIGKILL)
        return losses

    original, training.Run._step = training.Run._step, step
    training.train(job(path, *overrides), seed=7)


if __name__ == "__main__":
    main(*sys.argv[1:])
