"""Turning pictures into the inputs that weights were evaluated on: resizing, cropping, normalising."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..errors import UserError
from .reading import MAX_PIXELS


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the input that weights were evaluated on.

    Attributes:
        resize (int | [int, int] | None): length of the shorter side, or [width, height], in pixels; None: as it is.
        crop (int | None): side of the square from the middle, in pixels; None: all of it.
        interpolation (str | None): "bilinear" or "bicubic"; None when nothing is resized.
        backend (str): "pil" or "opencv", whose resizing differs.
        channels (str): "rgb" or "bgr".
        mean, std (list of float): of values from 0 to 1, in the order of `channels`.
    """

    resize: int | list | None
    crop: int | None
    interpolation: str | None
    backend: str
    channels: str
    mean: list
    std: list

    def __str__(self):
        side = "x".join(map(str, self.resize)) if isinstance(self.resize, list) else f"shorter side to {self.resize}"
        steps = [f"{side} ({self.backend}, {self.interpolation})" if self.resize else "not resized"]
        steps += [f"middle {self.crop}x{self.crop}"] if self.crop else []
        numbers = [" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std)]
        return ", ".join([*steps, self.channels.upper(), f"mean {numbers[0]}, std {numbers[1]}"])


def prepare(image, preprocessing):
    """Turn a picture into what weights were evaluated on: resize, middle crop, values 0..1, minus mean, over std.

    With the backend "pil", sizes are rounded as torchvision rounds them (`Resize`, `CenterCrop`), with "opencv" as
    PaddleClas does (`ResizeImage`, `CropImage`). A picture smaller than the crop is laid on black, in the middle.

    Args:
        image: uint8 array (H, W, 3), red-green-blue, as `read_image` returns it.
        preprocessing: `weights.catalog.Preprocessing`, or anything with its attributes.

    Returns:
        float32 array (3, H, W), contiguous, channels in the order of `preprocessing.channels`.

    Raises:
        UserError: resized, the picture would have more than `MAX_PIXELS`; OpenCV is needed and not installed.
    """
    image = resize_and_crop(image, preprocessing)
    return normalize(image, preprocessing.channels, preprocessing.mean, preprocessing.std)


def resize_and_crop(image, preprocessing):
    """The part of `prepare` that moves pixels: uint8 (H, W, 3) -> uint8 (H, W, 3)."""
    towards_even = preprocessing.backend == "pil"
    if preprocessing.resize is not None:
        image = _resized(image, preprocessing)
    if preprocessing.crop is not None:
        image = _middle(image, preprocessing.crop, towards_even)
    return image


def normalize(image, channels, mean, std):
    """uint8 (H, W, 3), red-green-blue -> float32 (3, H, W): values 0..1, minus `mean`, over `std`.

    Args:
        image: the picture.
        channels (str): "rgb" or "bgr", the order of the result and of the two lists.
        mean, std (list of float): one value for each channel.
    """
    values = image.astype(np.float32) / np.float32(255)
    if channels == "bgr":
        values = values[..., ::-1]
    values = (values - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def _resized(image, preprocessing):
    width, height = _new_size(image.shape[1], image.shape[0], preprocessing)
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{image.shape[1]} x {image.shape[0]} pixels become {width} x {height} when the shorter side is resized to "
            f"{preprocessing.resize}, at most {MAX_PIXELS // 10**6} million pixels; crop the picture"
        )
    if preprocessing.backend == "pil":
        method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
        return np.asarray(Image.fromarray(image).resize((width, height), method[preprocessing.interpolation]))
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            f"these pictures are resized with OpenCV, which cannot be imported ({error}); pip install opencv-python"
        ) from error
    method = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
    return cv2.resize(image, (width, height), interpolation=method[preprocessing.interpolation])


def _new_size(width, height, preprocessing):
    """(width, height) after resizing, in pixels."""
    side = preprocessing.resize
    if isinstance(side, (list, tuple)):
        return tuple(side)
    short, long = min(width, height), max(width, height)
    other = int(side * long / short) if preprocessing.backend == "pil" else round(long * (side / short))
    return (side, other) if width <= height else (other, side)


def _middle(image, side, towards_even):
    """The middle `side` x `side` pixels, with black around them where there are fewer.

    Where the two margins differ by one pixel, `towards_even` makes the first the even number, else it is the smaller.
    """
    missing = [max(side - length, 0) for length in image.shape[:2]]
    if any(missing):
        image = np.pad(image, [*((total // 2, total - total // 2) for total in missing), (0, 0)])
    margins = [length - side for length in image.shape[:2]]
    top, left = (round(margin / 2) if towards_even else margin // 2 for margin in margins)
    return image[top : top + side, left : left + side]
