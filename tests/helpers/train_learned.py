"""Trains a small learned CondenseNetV2 on pictures of shapes, in plain Paddle. Tests start it as a process.

    python train_learned.py OUT --epochs 6 [--resume]
    python -m paddle.distributed.launch --nproc_per_node 2 train_learned.py OUT

After each epoch the script writes OUT/checkpoint.pdparams and then prints a line of JSON; --resume continues from there
and gives the same result. At the end each process writes its state dict to OUT/final_RANK.npz. If there are several
processes, each also prunes an untrained network with weights of its own, and writes that network's state dict to
OUT/independent_RANK.npz.
"""

import argparse
import json
import zlib  # noqa: F401  (before Paddle, as in densebone/__init__.py)
from pathlib import Path

import numpy as np
import paddle
from paddle import distributed

from densebone.backbones.condensenetv2 import CondenseNetV2
from densebone.backbones.pruning import learned_convs
from densebone.backbones.variants import CondenseNetV2Variant
from densebone.system.files import atomic_path

VARIANT = CondenseNetV2Variant(
    layers=(1, 1, 2, 2, 1), growth_rates=(8, 8, 8, 16, 16), groups=4, fc_channels=32, last_reduction=4
)
CLASSES = 4
SIDE = 32


def picture(rng, kind):
    """A circle, square, cross or stripes (`kind` 0..3), random in colour, size and place, on noise.

    Returns:
        float32 (3, 32, 32).
    """
    y, x = np.mgrid[:SIDE, :SIDE].astype("float32")
    (cy, cx), radius = rng.uniform(11, 21, 2), rng.uniform(6, 10)
    dy, dx = np.abs(y - cy), np.abs(x - cx)
    inside = (
        dy**2 + dx**2 < radius**2,
        np.maximum(dy, dx) < radius,
        (np.minimum(dy, dx) < radius / 3) & (np.maximum(dy, dx) < radius),
        (np.maximum(dy, dx) < radius) & (y % 4 < 2),
    )[kind]
    colour = rng.uniform(1, 3, (3, 1, 1)) * rng.choice([-1, 1])
    return (rng.normal(0, 0.5, (3, SIDE, SIDE)) + colour * inside).astype("float32")


def data(count, seed=0):
    """(pictures (count, 3, 32, 32), labels (count,)); the classes take turns."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    return np.stack([picture(rng, kind) for kind in labels]), labels


def build(seed=0):
    """The network to train; the seed decides its weights."""
    paddle.seed(seed)
    return CondenseNetV2(VARIANT, form="learned", num_classes=CLASSES)


def state_dict(net):
    """The state dict's tensors, as NumPy arrays."""
    return {key: tensor.numpy() for key, tensor in net.state_dict().items()}


def write(path, function):
    """Lets `function` write to a temporary path, which then becomes `path`."""
    with atomic_path(path) as temporary:
        function(str(temporary))


def train(options):
    """Trains; prints the loss of each epoch."""
    rank, world = distributed.get_rank(), distributed.get_world_size()
    net = build()
    schedule = paddle.optimizer.lr.CosineAnnealingDecay(options.learning_rate, options.epochs * options.steps)
    optimizer = paddle.optimizer.Momentum(schedule, parameters=net.parameters(), use_nesterov=True, weight_decay=1e-4)
    checkpoint, first = Path(options.out) / "checkpoint.pdparams", 0
    if options.resume and checkpoint.exists():
        saved = paddle.load(str(checkpoint))
        net.set_state_dict(saved["model"])
        optimizer.set_state_dict(saved["optimizer"])
        first = saved["epoch"] + 1
    model = paddle.DataParallel(net) if world > 1 else net
    pictures, labels = data(options.steps * options.batch)
    for epoch in range(first, options.epochs):
        order = np.random.default_rng(epoch).permutation(len(labels)).reshape(options.steps, options.batch)
        losses = []
        for step, batch in enumerate(order):
            net.set_progress((epoch + step / options.steps) / options.epochs)
            mine = batch[rank::world]
            out = model(paddle.to_tensor(pictures[mine]))
            loss = paddle.nn.functional.cross_entropy(out, paddle.to_tensor(labels[mine]))
            (loss + options.lasso * net.lasso_loss()).backward()
            optimizer.step()
            optimizer.clear_grad()
            schedule.step()
            losses.append(float(loss))
        if rank == 0:
            state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
            write(checkpoint, lambda path, state=state: paddle.save(state, path))
            alive = [float(conv._mask.mean()) for conv in learned_convs(net).values()]
            print(json.dumps({"epoch": epoch, "loss": sum(losses) / len(losses), "alive": max(alive)}), flush=True)
    write(Path(options.out) / f"final_{rank}.npz", lambda path: np.savez(path, **state_dict(net)))


def prune_alone(options):
    """Prunes a network in two steps; its weights differ from process to process."""
    rank = distributed.get_rank()
    net = build(seed=rank)
    net.set_progress(0.3)
    net.set_progress(0.5)
    write(Path(options.out) / f"independent_{rank}.npz", lambda path: np.savez(path, **state_dict(net)))


def main(argv=None):
    """Trains, in one process or several."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8, help="batches in an epoch")
    parser.add_argument("--batch", type=int, default=16, help="pictures in a batch, over all processes")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--lasso", type=float, default=1e-5)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args(argv)
    if distributed.get_world_size() > 1:
        distributed.init_parallel_env()
    train(options)
    if distributed.get_world_size() > 1:
        prune_alone(options)


if __name__ == "__main__":
    main()
