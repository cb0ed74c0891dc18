"""Turn pictures into network inputs as the weights expect them: resize, crop, normalise; and back into pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..errors import UserError
from .reading import MAX_PIXELS


@dataclass(frozen=True)
class Preprocessing:
    """The steps from a picture to the input that weights were evaluated with.

    Attributes:
        resize: length of the shorter side, or [width, height], in pixels. None does not resize.
        crop: side of the centre square that is kept, in pixels. None keeps everything.
        interpolation: "bilinear" or "bicubic"; None if nothing is resized.
        backend: "pil" or "opencv". Their resizing gives different pixels.
        channels: "rgb" or "bgr".
        mean, std: of values 0..1, one per channel, in the order of `channels`.
    """

    resize: int | list[int] | None
    crop: int | None
    interpolation: str | None
    backend: str
    channels: str
    mean: list[float]
    std: list[float]

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(height, width) in pixels of every prepared picture; None when it depends on the picture."""
        if self.crop is not None:
            return self.crop, self.crop
        if isinstance(self.resize, (list, tuple)):
            width, height = self.resize
            return height, width
        return None

    def __str__(self) -> str:
        side = "x".join(map(str, self.resize)) if isinstance(self.resize, list) else f"shorter side to {self.resize}"
        steps = [f"{side} ({self.backend}, {self.interpolation})" if self.resize else "not resized"]
        steps += [f"middle {self.crop}x{self.crop}"] if self.crop else []
        numbers = [" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std)]
        return ", ".join([*steps, self.channels.upper(), f"mean {numbers[0]}, std {numbers[1]}"])


def prepare(image: np.ndarray | Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Turn a picture into a network input: resize, centre crop, scale to 0..1, subtract the mean, divide by the std.

    The backend "pil" rounds sizes as torchvision does (`Resize`, `CenterCrop`), "opencv" as PaddleClas does
    (`ResizeImage`, `CropImage`). A picture smaller than the crop gets black margins.

    Args:
        image: uint8 array (H, W, 3) in RGB, as `read_image` returns it, or a Pillow image in RGB.
        preprocessing: the steps, usually from the weights' entry in the catalog.

    Returns:
        float32 array (3, H, W), contiguous, channels in the order of `preprocessing.channels`.

    Raises:
        UserError: the resized picture would have more than `MAX_PIXELS`, or OpenCV is needed and not installed.
    """
    image = resize_and_crop(image, preprocessing)
    return normalize(image, preprocessing.channels, preprocessing.mean, preprocessing.std)


def least_size(preprocessing: Preprocessing) -> tuple[int, int] | None:
    """(width, height) of a picture that is still resized to something smaller; None when every pixel counts.

    For `read_picture(least=...)`, which may then decode a JPEG at a reduced size.
    """
    side = preprocessing.resize
    if side is None:
        return None
    return (side, side) if isinstance(side, int) else (side[0], side[1])


def resize_and_crop(image: np.ndarray | Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """The first half of `prepare`: uint8 (H, W, 3), or a Pillow image -> uint8 (H', W', 3)."""
    towards_even = preprocessing.backend == "pil"
    if preprocessing.resize is not None:
        image = _resized(image, preprocessing)
    pixels = np.asarray(image)
    if preprocessing.crop is not None:
        pixels = _middle(pixels, preprocessing.crop, towards_even)
    return pixels


def normalize(image: np.ndarray, channels: str, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """The second half of `prepare`: uint8 (H, W, 3) in RGB -> float32 (3, H, W), scaled to 0..1 and normalised.

    Args:
        image: the picture.
        channels: "rgb" or "bgr", the order of the result, of `mean` and of `std`.
        mean, std: one value per channel, for values 0..1.
    """
    values = _planes(image, channels).astype(
        np.float32, order="C"
    )  # in place from here on: a tenth of (H, W, 3)'s time
    values /= np.float32(255)
    values -= np.array(mean, np.float32).reshape(3, 1, 1)
    values /= np.array(std, np.float32).reshape(3, 1, 1)
    return values


def in_planes(image: np.ndarray, channels: str) -> np.ndarray:
    """uint8 (H, W, 3) in RGB -> uint8 (3, H, W) in the order of `channels`, "rgb" or "bgr"."""
    return np.ascontiguousarray(_planes(image, channels))


def _planes(image, channels):
    return (image[..., ::-1] if channels == "bgr" else image).transpose(2, 0, 1)


def denormalize(values: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Undo `normalize`: float32 (3, H, W) -> uint8 (H, W, 3) in RGB. Values beyond black and white are clipped."""
    image = values.transpose(1, 2, 0) * np.float32(preprocessing.std) + np.float32(preprocessing.mean)
    if preprocessing.channels == "bgr":
        image = image[..., ::-1]
    return np.ascontiguousarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8))


def _resized(image, preprocessing):
    given = image.size if isinstance(image, Image.Image) else image.shape[1::-1]
    width, height = _new_size(*given, preprocessing)
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{given[0]} x {given[1]} pixels become {width} x {height} when the shorter side is resized to "
            f"{preprocessing.resize}, at most {MAX_PIXELS // 10**6} million pixels; crop the picture"
        )
    if preprocessing.backend == "pil":
        method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        return picture.resize((width, height), method[preprocessing.interpolation])
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            f"these pictures are resized with OpenCV, which cannot be imported ({error}); pip install opencv-python"
        ) from error
    method = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
    return cv2.resize(np.asarray(image), (width, height), interpolation=method[preprocessing.interpolation])


def _new_size(width, height, preprocessing):
    """The size after resizing: (width, height) in pixels."""
    side = preprocessing.resize
    if isinstance(side, (list, tuple)):
        return tuple(side)
    short, long = min(width, height), max(width, height)
    other = int(side * long / short) if preprocessing.backend == "pil" else round(long * (side / short))
    return (side, other) if width <= height else (other, side)


def _middle(image, side, towards_even):
    """The centre `side` x `side` pixels, with black margins where the picture is smaller.

    If the margins on two sides differ by one pixel, the first is the even number with `towards_even`, else the smaller.
    """
    missing = [max(side - length, 0) for length in image.shape[:2]]
    if any(missing):
        image = np.pad(image, [*((total // 2, total - total // 2) for total in missing), (0, 0)])
    margins = [length - side for length in image.shape[:2]]
    top, left = (round(margin / 2) if towards_even else margin // 2 for margin in margins)
    return image[top : top + side, left : left + side]
