"""What `densebone gpu-check` tries, a function each: from one convolution to the training of a whole model.

A function gets a `Place`, and returns what it found in words. It raises `Wrong` where a result is not as it must be,
and `LeftOut` where this machine cannot try it. On a CPU the same steps run. That shows that the checks work, and says
nothing of a GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: the share of the output's standard deviation by which two devices may differ in float32, and with TF32
EXACT, ROUNDED = 3e-4, 2e-2
#: a network of each family
FAMILIES = ("hardnet39ds", "hardnet68", "peleenet", "condensenetv2_a")
_STEPS = 12
# task -> the layout of its sample data, the configuration, the folder of its pictures, the figure of its evaluation
_SAMPLES = {
    "detection": ("coco", "smoke_ppyoloe_hardnet39ds_192_10e_sample", "val2017", "AP"),
    "segmentation": ("cityscapes", "smoke_fchardnet70_sample", "leftImg8bit/val", "mIoU"),
    "classification": ("imagenet", "smoke_hardnet39ds_sample", "val", "top1"),
}
# how far that figure may differ between the devices: one picture or box of a small set
_FIGURE = 0.03


class Wrong(Exception):
    """A result is not as it must be."""


class LeftOut(Exception):
    """This machine cannot try it."""


@dataclass(frozen=True)
class Place:
    """Where a check runs.

    Attributes:
        device: "gpu" or "cpu".
        gpus: how many GPUs Paddle sees.
        folder: for what the check writes.
    """

    device: str
    gpus: int
    folder: Path

    @property
    def is_dry(self) -> bool:
        """Whether this is a rehearsal on a CPU."""
        return self.device == "cpu"


def kernels(place: Place) -> str:
    """A matrix product, a convolution and a batch norm, forward and backward, against NumPy and the CPU."""
    import paddle

    def values():
        paddle.seed(0)
        layers = paddle.nn.Sequential(paddle.nn.Conv2D(8, 16, 3, padding=1), paddle.nn.BatchNorm2D(16))
        data = paddle.to_tensor(np.random.default_rng(0).standard_normal((4, 8, 32, 32)).astype("float32"))
        result = layers(data)
        (result * result * data.mean()).sum().backward()
        return result.numpy(), layers[0].weight.grad.numpy()

    rng = np.random.default_rng(1)
    first, second = (rng.standard_normal((256, 256)) for _ in range(2))
    paddle.set_device(place.device)
    product = paddle.matmul(*(paddle.to_tensor(one.astype("float32")) for one in (first, second))).numpy()
    found = values()
    paddle.set_device("cpu")
    expected = values()
    differences = [difference(product, first @ second), *map(difference, found, expected)]
    return _within(EXACT, max(differences), "of the standard deviation at most")


def networks(place: Place) -> str:
    """The maps of a network of each family, in float32 without TF32."""
    return _networks(place, EXACT)


def tf32(place: Place) -> str:
    """The same as NVIDIA's libraries compute by default: with products of 10-bit fractions on Ampere and later."""
    return _networks(place, ROUNDED)


def _networks(place: Place, limit: float) -> str:
    import paddle

    from ..registry import create_backbone

    worst, side = {}, 64 if place.is_dry else 224
    data = np.random.default_rng(0).standard_normal((2, 3, side, side)).astype("float32")
    for name in FAMILIES:
        maps = []
        paddle.set_device("cpu")
        paddle.seed(0)
        weights = create_backbone(name, pretrained=None).state_dict()
        for device in (place.device, "cpu"):
            paddle.set_device(device)
            network = create_backbone(name, pretrained=None)
            network.set_state_dict({key: value.numpy() for key, value in weights.items()})
            network.eval()
            with paddle.no_grad():
                maps.append([one.numpy() for one in network(paddle.to_tensor(data))])
        worst[name] = max(map(difference, *maps))
    name = max(worst, key=worst.__getitem__)
    return _within(limit, worst[name], f"of the standard deviation at most, in {name}")


def uint8(place: Place) -> str:
    """A batch of bytes that the device normalises, against pictures that the CPU normalises."""
    import paddle

    from ..pictures.preparing import Preprocessing, in_planes, normalize
    from .classification.data import normalized

    recipe = Preprocessing(None, None, None, "pil", "rgb", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    pictures = np.random.default_rng(0).integers(0, 256, (8, 96, 96, 3), np.uint8)
    paddle.set_device(place.device)
    planes = paddle.to_tensor(np.stack([in_planes(one, recipe.channels) for one in pictures]))
    found = normalized(planes, recipe).numpy()
    expected = np.stack([normalize(one, recipe.channels, recipe.mean, recipe.std) for one in pictures])
    return _within(1e-5, float(np.abs(found - expected).max()), "at most")


def loading(place: Place) -> str:
    """Batches that worker processes read, through pinned memory onto the device, against those without workers."""
    import paddle

    from ..training.loading import load

    paddle.set_device(place.device)
    batches = [[(0, 4 * number + one) for one in range(4)] for number in range(6)]
    counted = 0
    for (_, data), (_, alone) in zip(load(_Noise(), batches, 2), load(_Noise(), batches, 0), strict=True):
        if not np.array_equal(data["img"].numpy(), alone["img"].numpy()):
            raise Wrong(f"batch {counted} of the workers differs from that without them")
        if place.device not in str(data["img"].place).lower():
            raise Wrong(f"a batch is in {data['img'].place}, and the network on the {place.device}")
        counted += 1
    return f"{counted} batches are equal to the last bit, in {data['img'].place}"


class _Noise:
    """Pictures that depend on their number alone."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        return {"img": np.random.default_rng(key[1]).standard_normal((3, 64, 64)).astype("float32")}

    def files(self, number: int) -> str:
        """A name for messages."""
        return f"picture {number}"


def precision(place: Place) -> str:
    """A classifier learns one batch in float32, and in the mixed precisions: float16, bfloat16, O1 and O2."""
    import paddle

    paddle.set_device(place.device)
    side = 32 if place.is_dry else 96
    plain = _losses("O0", "float32", side)
    said = [f"float32 {plain[0]:.3f} to {plain[-1]:.3f}"]
    kinds = [("O1", "float16"), ("O2", "float16")]
    if not place.is_dry and paddle.amp.is_bfloat16_supported():
        kinds += [("O1", "bfloat16"), ("O2", "bfloat16")]
    for level, dtype in kinds:
        losses = _losses(level, dtype, side)
        text = f"{level} in {dtype} {losses[0]:.3f} to {losses[-1]:.3f}"
        if not np.isfinite(losses).all() or abs(losses[0] / plain[0] - 1) > 0.05 or losses[-1] >= 0.9 * losses[0]:
            raise Wrong(f"the loss of {text}, and {said[0]}")
        said.append(text)
    if not place.is_dry and len(kinds) == 2:
        said.append("no bfloat16 on this GPU")
    return f"loss after {_STEPS} steps: {', '.join(said)}"


def _losses(level: str, dtype: str, side: int) -> list[float]:
    """The losses of the first steps on one batch of pictures of side x side pixels."""
    import paddle

    from ..registry import create_model
    from .classification.precision import Precision

    paddle.seed(0)
    model = create_model("hardnet39ds", pretrained=None, num_classes=4)
    mixed = Precision(level, dtype)
    optimizer = paddle.optimizer.Momentum(0.02, parameters=model.parameters(), multi_precision=mixed.level == "O2")
    mixed.decorate(model, optimizer)
    scaler = mixed.scaler()
    images = paddle.to_tensor(np.random.default_rng(0).standard_normal((8, 3, side, side)).astype("float32"))
    labels = paddle.to_tensor(np.arange(8) % 4)
    losses = []
    for _ in range(_STEPS):
        with mixed.context():
            logits = model(images).astype("float32")
        loss = paddle.nn.functional.cross_entropy(logits, labels)
        losses.append(float(loss))
        (scaler.scale(loss) if scaler else loss).backward()
        if scaler:
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.step()
        optimizer.clear_grad()
    return losses


def gradients(place: Place) -> str:
    """Two processes average their gradients in one flat all-reduce (NCCL on GPUs, Gloo on CPUs)."""
    found = _in_two_processes(place, "gradients")
    expected = (_gradient(_half(0)) + _gradient(_half(1))) / 2
    return _within(1e-5, max(difference(one, expected) for one in found), "of the standard deviation at most")


def sync_bn(place: Place) -> str:
    """Batch norms over the pictures of two processes, against one process that has all pictures."""
    if place.is_dry:
        raise LeftOut("Paddle's SyncBatchNorm is for GPUs")
    import paddle

    found = np.concatenate(_in_two_processes(place, "sync_bn"))
    paddle.set_device("cpu")
    expected = paddle.nn.BatchNorm2D(3)(paddle.to_tensor(np.concatenate([_half(0), _half(1)]))).numpy()
    return _within(1e-4, float(np.abs(found - expected).max()), "at most")


def _half(rank: int) -> np.ndarray:
    """The pictures of one of two processes."""
    return (np.random.default_rng(rank).standard_normal((4, 3, 8, 8)) * (rank + 1)).astype("float32")


def _gradient(images: np.ndarray) -> np.ndarray:
    """The gradient of the mean square of a product with ones, with regard to these."""
    flat = images.reshape(len(images), -1).astype("float64")
    return 2 * flat.T @ flat.sum(1, keepdims=True) / len(flat)


def in_process(name: str, device: str, folder: str) -> None:
    """The part of `gradients` or `sync_bn` that each of two processes does; writes FOLDER/RANK.npy."""
    import paddle

    from ..training import processes

    paddle.set_device(device)
    processes.start()
    rank = paddle.distributed.get_rank()
    images = paddle.to_tensor(_half(rank))
    if name == "sync_bn":
        result = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(paddle.nn.BatchNorm2D(3))(images)
    else:
        weights = paddle.create_parameter([images[0].size, 1], "float32", default_initializer=_ones())
        (paddle.matmul(images.flatten(1), weights) ** 2).mean().backward()
        processes.average_gradients([weights])
        result = weights.grad
    np.save(Path(folder) / f"{rank}.npy", result.numpy())


def _ones() -> Any:
    import paddle

    return paddle.nn.initializer.Constant(1.0)


def _in_two_processes(place: Place, name: str) -> list[np.ndarray]:
    """What two processes of `paddle.distributed.launch` write in `in_process`."""
    if not place.is_dry and place.gpus < 2:
        raise LeftOut("needs two GPUs, and Paddle sees one")
    script = place.folder / "rank.py"
    arguments = ", ".join(map(repr, (name, place.device, str(place.folder))))
    script.write_text(f"from densebone.tasks.gpu_checks import in_process\n\nin_process({arguments})\n")
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", str(place.folder / "log")]
    _call([*launch, str(script)])
    return [np.load(place.folder / f"{rank}.npy") for rank in range(2)]


def detection(place: Place) -> str:
    """A detector, as a user has it: sample data, train --amp, eval, predict, export."""
    return _life(place, "detection")


def segmentation(place: Place) -> str:
    """The same for a segmentation model."""
    return _life(place, "segmentation")


def classification(place: Place) -> str:
    """The same for a classifier."""
    return _life(place, "classification")


def _life(place: Place, task: str) -> str:
    layout, config, pictures, figure = _SAMPLES[task]
    counts = ("--train", "20", "--val", "10") if place.is_dry else ("--train", "120", "--val", "30")
    data, run = place.folder / "data", place.folder / config
    common = ["-c", config, "--data", str(data), "-o", f"save_dir={place.folder}"]
    on_device = ["--device", place.device]
    _densebone("sample-data", layout, str(data), *counts)
    epochs = "1" if place.is_dry else "10"
    _densebone(
        "train",
        *common,
        *on_device,
        "--epochs",
        epochs,
        "--batch",
        "4",
        "--amp",
        "--eval",
        "--seed",
        "0",
        "--overwrite",
    )
    figures = {}
    for device in (place.device, "cpu"):
        _densebone("eval", *common, "--device", device)
        figures[device] = json.loads((run / "evaluation.json").read_text())[figure]
    if abs(figures[place.device] - figures["cpu"]) > _FIGURE:
        raise Wrong(
            f"{figure} is {figures[place.device]:.3f} on the {place.device} and {figures['cpu']:.3f} on the cpu"
        )
    found = place.folder / "predictions"
    _densebone("predict", *common, *on_device, "-O", str(found), str(data / pictures))
    if not (found / "predictions.json").is_file():
        raise Wrong("predict wrote no predictions.json")
    _densebone("export", *common, *on_device, "-O", str(place.folder / "exported"))
    return f"{figure} {figures[place.device]:.3f}, and {figures['cpu']:.3f} when the cpu evaluates; exported"


def _densebone(*arguments: str) -> None:
    _call(["-m", "densebone.scripts", *arguments])


def _call(arguments: Sequence[str]) -> None:
    """Runs Python in a process of its own; `Wrong` with its last line where it fails."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env=environment,
    )  # fmt: skip
    if done.returncode:
        print(done.stdout)
        raise Wrong(f"{' '.join(arguments[1:4])} ended with {done.returncode}: {last_line(done.stdout)}")


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing was printed")[:300]


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference as a share of the standard deviation; infinite where a value is not finite."""
    if not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - expected).max() / max(float(expected.std()), 1e-30))


def _within(limit: float, found: float, what: str) -> str:
    text = f"differs by {found:.1e} {what} ({limit:.0e} is allowed)"
    if not found <= limit:
        raise Wrong(text)
    return text
