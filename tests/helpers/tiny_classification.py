"""A classification job that takes seconds: 18 pictures of 40 x 40 in three classes, crops of 32 x 32.

    python tiny_classification.py killed CONFIG ITERATION OVERRIDES...
    python tiny_classification.py gradients CONFIG OUT OVERRIDES...

"killed" trains with seed 7. After the given iteration, and before anything of it is saved, the process of the highest
rank sends SIGKILL to itself. "gradients" takes one step without dropout and writes the gradients, and the parameters
after the step, to OUT_RANK.npz. `paddle.distributed.launch` can start both.
"""

import os
import signal
import sys
import zlib  # noqa: F401  (before Paddle, as in densebone/__init__.py)

import numpy as np
import yaml
from PIL import Image

CLASSES, EACH = 3, 6
SETTINGS = {
    "task": "classification",
    "model": {"name": "hardnet39ds", "num_classes": CLASSES},
    "optimizer": {"type": "Momentum", "weight_decay": 1.0e-4, "nesterov": True},
    "lr_scheduler": {"type": "Cosine", "learning_rate": 0.02},
    "batch_size": 4,
    "clip_norm": 1.0,  # batch norms over so few values give steep gradients
    "epochs": 2,
    "log_iters": 1,
    "use_gpu": False,
}
TRANSFORMS = [{"type": "RandomResizedCrop", "size": 32, "scale": [0.5, 1.0]}, {"type": "RandomFlip"}]
LEARNED = {"name": "condensenetv2_a", "num_classes": CLASSES, "options": {"form": "learned"}}


def draw(folder):
    """Writes FOLDER/data/train/CLASS/NUMBER.png: noise, and a colour for each class."""
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        place = folder / "data" / "train" / f"class{label}"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(EACH):
            picture = rng.integers(0, 150, (40, 40, 3))
            picture[..., label] += 100
            Image.fromarray(picture.astype("uint8")).save(place / f"{number}.png")


def write(folder, name="tiny", **settings):
    """Writes the pictures and FOLDER/NAME.yml, where `settings` override `SETTINGS`; returns the file's path."""
    draw(folder)
    data = {"type": "Folder", "root": str(folder / "data"), "part": "train"}
    content = {
        **SETTINGS,
        "save_dir": str(folder / "output"),
        "train_dataset": {**data, "transforms": TRANSFORMS},
        "val_dataset": data,
        "preprocessing": {"resize": 36, "crop": 32},
        **settings,
    }
    path = folder / f"{name}.yml"
    path.write_text(yaml.safe_dump(content))
    return path


def job(path, *overrides):
    """The job of a configuration, from `tasks.classification.config.load`."""
    from densebone.tasks.classification.config import load

    return load(path, overrides)


def killed(path, iteration, *overrides):
    """Trains until the process kills itself; see the module's docstring."""
    import paddle

    from densebone.tasks.classification import training

    def step(run, *arguments):
        losses = original(run, *arguments)
        if run.iteration + 1 == int(iteration) and run.rank == paddle.distributed.get_world_size() - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return losses

    original, training.Run._step = training.Run._step, step
    training.train(job(path, *overrides), seed=7)


def gradients(path, out, *overrides):
    """Takes one step; see the module's docstring. Returns {"gradient NAME" or "parameter NAME": array}."""
    import paddle

    from densebone.tasks.classification import training
    from densebone.training import processes

    processes.start()
    run = training.Run(job(path, *overrides), seed=7)
    run.start(None, {})
    for layer in run.model.sublayers():
        if isinstance(layer, paddle.nn.Dropout):
            layer.p = 0.0
    run.model.train()
    found, average = {}, processes.average_gradients

    def keep(parameters):
        average(parameters)
        trained = [item for item in run.model.named_parameters() if item[1].grad is not None]
        found.update({f"gradient {name}": parameter.grad.numpy().copy() for name, parameter in trained})

    processes.average_gradients = keep
    try:
        run._step(next(iter(run._parts())))
    finally:
        processes.average_gradients = average
    found.update({f"parameter {name}": parameter.numpy() for name, parameter in run.model.named_parameters()})
    if out:
        np.savez(f"{out}_{run.rank}.npz", **found)
    return found


if __name__ == "__main__":
    {"killed": killed, "gradients": gradients}[sys.argv[1]](*sys.argv[2:])
