"""The settings of a run that are options of their own, besides -o: the same for every task.

`settings.change` of each task turns them into changes of its configuration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UserError

STRIDE = 32


@dataclass(frozen=True)
class Settings:
    """What the options change of a configuration; None leaves it as it is.

    Attributes:
        epochs: of the whole training. The schedule of the learning rate is scaled with it.
        batch: pictures in a batch of training, of each process.
        lr: the learning rate.
        imgsz: (height, width) of the pictures in pixels, or (side,).
    """

    epochs: int | None = None
    batch: int | None = None
    lr: float | None = None
    imgsz: tuple[int, ...] | None = None

    def __bool__(self) -> bool:
        return self != Settings()


def read_settings(
    epochs: str | None = None,
    batch: str | None = None,
    lr: str | None = None,
    imgsz: Sequence[str] | None = None,
) -> Settings:
    """The settings as they are given on the command line.

    Raises:
        UserError: no number, or one out of range.
    """
    return Settings(
        None if epochs is None else whole("--epochs", epochs),
        None if batch is None else whole("--batch", batch),
        None if lr is None else _rate(lr),
        None if imgsz is None else _size(imgsz),
    )


def whole(option: str, text: str) -> int:
    """A whole number of at least 1; UserError for anything else."""
    if not _is_whole(text) or int(text) < 1:
        raise UserError(f"{option} is {text!r}; a whole number of at least 1 is expected")
    return int(text)


def _is_whole(text):
    return text.isascii() and text.isdigit() and len(text) < 10


def _rate(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UserError(f"--lr is {text!r}; a number above 0 is expected, such as 0.01")
    return value


def _size(texts):
    usable = len(texts) in (1, 2) and all(map(_is_whole, texts))
    if not usable or not all(int(text) > 0 and int(text) % STRIDE == 0 for text in texts):
        raise UserError(
            f"--imgsz is {' '.join(texts)!r}; one side or HEIGHT WIDTH in pixels is expected, multiples of {STRIDE} "
            f"such as 640"
        )
    return tuple(map(int, texts))


def both_sides(imgsz: Sequence[int]) -> tuple[int, int]:
    """(height, width) of a size with one or two numbers; one is the side of a square."""
    return imgsz[0], imgsz[-1]


def in_strides(pixels: float) -> int:
    """The multiple of 32 next to a length, at least 32."""
    return max(1, math.floor(pixels / STRIDE + 0.5)) * STRIDE


def device_override(device: str | None) -> list[str]:
    """The override of a configuration that makes it run on a device.

    Args:
        device: "cpu", "gpu", "gpu:N", or None for what the configuration says.

    Raises:
        UserError: no such device.
    """
    if device is None:
        return []
    kind, colon, number = device.partition(":")
    if kind not in ("cpu", "gpu") or (colon and (kind == "cpu" or not _is_whole(number))):
        raise UserError(f"--device is {device!r}; cpu, gpu or gpu:N, such as gpu:0, is expected")
    if kind == "gpu":
        _check_gpu(device, number)
    return [f"use_gpu={'true' if kind == 'gpu' else 'false'}"]


def _check_gpu(device, number):
    import paddle

    count = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    if not count:
        raise UserError(f"--device is {device}, and Paddle sees no GPU; give cpu, or install a GPU build of Paddle")
    if number and int(number) >= count:
        known = "gpu:0" if count == 1 else f"gpu:0 to gpu:{count - 1}"
        raise UserError(f"--device is {device}, and Paddle sees {count} GPU{'s' * (count > 1)}; give {known}")
    if number and paddle.distributed.get_world_size() > 1:
        raise UserError(f"--device is {device}, and each of several processes has a GPU of its own; give gpu")


def use_device(device: str | None) -> None:
    """Makes Paddle run on a device that has a number; the configuration has set every other."""
    import paddle

    if device is not None and ":" in device:
        paddle.set_device(device)
