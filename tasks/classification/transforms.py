"""Augmentation of training pictures. A transform uses no randomness but the generator that it is given.

A transform takes a Pillow picture (RGB) and a `numpy.random.Generator` and returns a Pillow picture. Those of
`AFTER_NORMALIZING` come last; they take and return the network's input, float32 (3, H, W).
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from ...pictures.reading import read_header, read_picture
from .schema import setting

_METHODS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_GRAY = (124, 116, 104)  # ImageNet's mean, which fills the area that a moved picture leaves


def _method(default="bilinear"):
    return setting("text", default, choices=tuple(_METHODS))


@dataclass(kw_only=True)
class Resize:
    """Both sides to `size` pixels."""

    size: int = setting("whole", least=1, most=4096)
    interpolation: str = _method()

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Picture -> picture."""
        return image.resize((self.size, self.size), _METHODS[self.interpolation])


@dataclass(kw_only=True)
class RandomResizedCrop:
    """A part of random area and shape, resized to `size` x `size` (arXiv 1409.4842).

    Attributes:
        size: pixels.
        scale: the least and the largest share of the area.
        ratio: the least and the largest width / height.
        interpolation: "bilinear" or "bicubic".
        reduced: whether a JPEG is decoded at a half, a quarter or an eighth of its size where the part is still larger
            than `size`. It is faster on large pictures; values differ a little, and the drawn parts do not.
    """

    size: int = setting("whole", least=1, most=4096)
    scale: tuple = setting("numbers", (0.08, 1.0), count=2, least=1e-4, most=1)
    ratio: tuple = setting("numbers", (3 / 4, 4 / 3), count=2, least=0.05, most=20)
    interpolation: str = _method()
    reduced: bool = setting("flag", False)

    def part_of(self, path: str, rng: np.random.Generator) -> Image.Image:
        """Path -> picture, decoded as small as the part allows."""
        whole = read_header(path).shown
        left, top, width, height = self._part(*whole, rng)
        factor = max((f for f in (2, 4, 8) if min(width, height) >= f * self.size), default=1)
        image = read_picture(path, min_side=1, least=(whole[0] // factor, whole[1] // factor))
        across, down = image.width / whole[0], image.height / whole[1]
        box = left * across, top * down, (left + width) * across, (top + height) * down
        return image.resize((self.size, self.size), _METHODS[self.interpolation], box)

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Picture -> picture."""
        left, top, width, height = self._part(*image.size, rng)
        part = image.crop((left, top, left + width, top + height))
        return part.resize((self.size, self.size), _METHODS[self.interpolation])

    def _part(self, width, height, rng):
        for _ in range(10):
            area = width * height * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(*map(math.log, self.ratio)))
            across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < across <= width and 0 < down <= height:
                left, top = rng.integers(width - across + 1), rng.integers(height - down + 1)
                return int(left), int(top), across, down
        # no luck: the largest part in the middle with an allowed shape
        ratio = min(max(width / height, min(self.ratio)), max(self.ratio))
        across, down = min(width, round(height * ratio)), min(height, round(width / ratio))
        across, down = max(across, 1), max(down, 1)
        return (width - across) // 2, (height - down) // 2, across, down


@dataclass(kw_only=True)
class PadAndCrop:
    """`padding` black pixels on every side, then `size` x `size` from anywhere: CIFAR's usual augmentation."""

    size: int = setting("whole", least=1, most=4096)
    padding: int = setting("whole", 4, least=0)

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Picture -> picture; one smaller than `size` is padded up to it."""
        short = [max(self.size - side - 2 * self.padding, 0) for side in image.size]
        image = ImageOps.expand(image, tuple(self.padding + (side + 1) // 2 for side in short))
        left, top = (int(rng.integers(side - self.size + 1)) for side in image.size)
        return image.crop((left, top, left + self.size, top + self.size))


@dataclass(kw_only=True)
class RandomFlip:
    """Mirrors the picture left to right with probability `prob`."""

    prob: float = setting("number", 0.5, least=0, most=1)

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Picture -> picture."""
        return ImageOps.mirror(image) if rng.random() < self.prob else image


@dataclass(kw_only=True)
class ColorJitter:
    """Multiplies brightness, contrast and saturation by 1 - x to 1 + x; turns the hue by up to `hue` of the circle."""

    brightness: float = setting("number", 0.0, least=0)
    contrast: float = setting("number", 0.0, least=0)
    saturation: float = setting("number", 0.0, least=0)
    hue: float = setting("number", 0.0, least=0, most=0.5)

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Picture -> picture."""
        strengths = (self.brightness, self.contrast, self.saturation)
        enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        for number in rng.permutation(4):
            if number == 3:
                image = _turn_hue(image, rng.uniform(-self.hue, self.hue))
            elif strength := strengths[number]:
                image = enhancers[number](image).enhance(rng.uniform(max(0, 1 - strength), 1 + strength))
        return image


def _turn_hue(image, turn):
    if not turn:
        return image
    hue, saturation, value = image.convert("HSV").split()
    hue = Image.fromarray(np.asarray(hue) + np.uint8(round(turn * 255) % 256))
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


@dataclass(kw_only=True)
class RandAugment:
    """Draws `count` operations from a list and applies each with probability `prob` (arXiv 1909.13719).

    The operations and their ranges are AutoAugment's (arXiv 1805.09501). All get stronger with the magnitude.

    Attributes:
        count: operations a picture.
        magnitude: 0 to 10.
        std: standard deviation of the magnitude, which is drawn for every operation.
        prob: probability that a drawn operation is applied.
    """

    count: int = setting("whole", 2, least=0)
    magnitude: float = setting("number", 9, least=0, most=10)
    std: float = setting("number", 0.0, least=0)
    prob: float = setting("number", 0.5, least=0, most=1)

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Picture -> picture."""
        for operation in rng.choice(len(OPERATIONS), self.count):
            if rng.random() < self.prob:
                level = min(max(rng.normal(self.magnitude, self.std), 0), 10) / 10
                image = OPERATIONS[operation](image, level, 1 if rng.random() < 0.5 else -1)
        return image


def _affine(image, matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=_GRAY)


def _enhance(enhancer):
    return lambda image, level, sign: enhancer(image).enhance(1 + 0.9 * level * sign)


def _solarize_add(image, level, sign):
    added = round(110 * level)
    return image.point([min(value + added, 255) if value < 128 else value for value in range(256)] * 3)


#: the operations of RandAugment: (picture, strength 0..1, 1 or -1) -> picture
OPERATIONS = (
    lambda image, level, sign: ImageOps.autocontrast(image),
    lambda image, level, sign: ImageOps.equalize(image),
    lambda image, level, sign: ImageOps.invert(image),
    lambda image, level, sign: image.rotate(30 * level * sign, Image.Resampling.BILINEAR, fillcolor=_GRAY),
    lambda image, level, sign: ImageOps.posterize(image, 8 - round(4 * level)),
    lambda image, level, sign: ImageOps.solarize(image, round(256 * (1 - level))),
    _solarize_add,
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Sharpness),
    lambda image, level, sign: _affine(image, (1, 0.3 * level * sign, 0, 0, 1, 0)),
    lambda image, level, sign: _affine(image, (1, 0, 0, 0.3 * level * sign, 1, 0)),
    lambda image, level, sign: _affine(image, (1, 0, 0.45 * level * sign * image.width, 0, 1, 0)),
    lambda image, level, sign: _affine(image, (1, 0, 0, 0, 1, 0.45 * level * sign * image.height)),
)


@dataclass(kw_only=True)
class RandomErasing:
    """Replaces a rectangle of the network's input with probability `prob` (arXiv 1708.04896).

    Attributes:
        prob: probability.
        scale: the least and the largest share of the area.
        ratio: the least and the largest height / width.
        mode: "pixel" fills the rectangle with normal noise, "zero" with 0, the mean colour.
    """

    prob: float = setting("number", 0.5, least=0, most=1)
    scale: tuple = setting("numbers", (0.02, 1 / 3), count=2, least=0, most=1)
    ratio: tuple = setting("numbers", (0.3, 10 / 3), count=2, least=0.05, most=20)
    mode: str = setting("text", "pixel", choices=("pixel", "zero"))

    def __call__(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """float32 (3, H, W) -> the same shape."""
        if rng.random() >= self.prob:
            return values
        height, width = values.shape[1:]
        for _ in range(10):
            area = height * width * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(*map(math.log, self.ratio)))
            down, across = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < down < height and 0 < across < width:
                top, left = rng.integers(height - down + 1), rng.integers(width - across + 1)
                shape = (len(values), down, across)
                filling = rng.standard_normal(shape, np.float32) if self.mode == "pixel" else 0
                values = values.copy()
                values[:, top : top + down, left : left + across] = filling
                break
        return values


TRANSFORMS = {
    cls.__name__: cls
    for cls in (Resize, RandomResizedCrop, PadAndCrop, RandomFlip, ColorJitter, RandAugment, RandomErasing)
}
AFTER_NORMALIZING = (RandomErasing,)
