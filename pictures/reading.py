"""Read pictures into arrays, the same way for every command.

An array shows a picture as it is meant to be seen: upright (EXIF orientation), the first frame of an animation, 8 bits
per channel, RGB. Colour profiles are ignored, as PaddleDetection and PaddleSeg ignore them.
"""

import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ..errors import UserError
from .remote import Unreachable, bytes_of, fetched_once, path_of

# A small file can claim a size that fills the memory. The limit lets camera pictures of 108 million pixels pass.
MAX_PIXELS = 128_000_000
#: pixels from which on threads take turns, so that memory does not grow with their number
LARGE = 25_000_000

#: Pillow's names of the formats that are read. Pillow knows more, and starts Ghostscript for one of them.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM", "GIF", "JPEG2000")
#: Pillow's names of the formats that OpenCV reads, with which both toolkits read pictures
OPENCV_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")
_ORIENTATION = 0x0112  # the EXIF tag
_TURNED = (5, 6, 7, 8)

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\x00", b"MM\x00*", b"P5", b"P6")


def looks_like_a_picture(path: str | Path) -> bool:
    """Whether a file starts with the signature of JPEG, PNG, BMP, TIFF, WebP or PPM. Fast on a whole dataset."""
    if not os.path.isfile(path):  # opening a pipe would wait for ever
        return False
    with open(path, "rb") as stream:
        start = stream.read(12)
    return start.startswith(_SIGNATURES) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


@dataclass(frozen=True)
class Header:
    """What the first bytes of a picture say.

    Attributes:
        stored: (width, height) in pixels as they are stored.
        orientation: EXIF's number 1 to 8 of a JPEG. Other formats have 1: OpenCV, which the toolkits read with, turns
            JPEGs alone.
        kind: Pillow's name of the format, such as "JPEG".
        mode: Pillow's mode, such as "L".
    """

    stored: tuple[int, int]
    orientation: int
    kind: str
    mode: str

    @property
    def turns(self) -> bool:
        """Whether the orientation swaps width and height."""
        return self.orientation in _TURNED

    @property
    def shown(self) -> tuple[int, int]:
        """(width, height) in pixels of the picture as it is meant to be seen."""
        return self.stored[::-1] if self.turns else self.stored


def read_header(path: str | Path, limited: bool = True) -> Header:
    """Reads size, format and orientation of a picture without decoding it, in about 30 microseconds.

    Args:
        path: the file.
        limited: as of `open_picture`.

    Raises:
        UserError: the file does not exist, may not be read, or is no picture.
    """
    try:
        with open_picture(path, limited) as image:
            orientation = image.getexif().get(_ORIENTATION, 1) if image.format in ("JPEG", "MPO") else 1
            known = isinstance(orientation, int) and 1 <= orientation <= 8
            return Header(image.size, orientation if known else 1, image.format, image.mode)
    except UserError:
        raise
    except Exception as error:  # Pillow reports damaged headers in many ways
        raise UserError(f"{path}: {_reason(error)}") from error


def opencv_reads(path: str | Path) -> bool:
    """Whether OpenCV can decode a picture, told by its content: not a GIF, and not an animation.

    Raises:
        UserError: as `read_header`.
    """
    try:
        with open_picture(path) as image:
            return image.format in OPENCV_FORMATS and (image.format == "MPO" or getattr(image, "n_frames", 1) == 1)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: {_reason(error)}") from error


def open_picture(path: str | Path | BinaryIO, limited: bool = True) -> Image.Image:
    """Open a picture without decoding it. Hides Pillow's warning about large pictures; `_check_size` refuses them.

    Args:
        path: the file, its address, or its content.
        limited: whether Pillow refuses sizes of more than twice its own limit; else who decodes it looks at the size.
    """
    if isinstance(path, (str, Path)) and (content := bytes_of(path)) is not None:
        path = io.BytesIO(content)
    elif isinstance(path, (str, Path)) and not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would wait for ever
        kind = "a folder" if os.path.isdir(path) else "a pipe, a device or the like"
        raise UserError(f"{path}: is {kind}; give a picture file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with nullcontext() if limited else _without_limit():
            return Image.open(path, formats=FORMATS)


_limit = threading.Lock()


@contextmanager
def _without_limit():
    """Within this context Pillow opens pictures of any size. It has one such setting for all threads."""
    with _limit:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


class TooLarge(UserError):
    """A picture of more pixels than are decoded."""


def _check_size(path, size, min_side, most):
    """UserError for a size (width, height) in pixels that is empty, too large to decode or too small to use."""
    width, height = size
    if width < 1 or height < 1:
        raise UserError(f"{path}: the picture is empty, {width} x {height} pixels; give one that has pixels")
    given = f"{path}: {width} x {height} pixels is too"
    if width * height > most:
        raise TooLarge(f"{given} large, at most {most / 10**6:g} million; make it smaller")
    if min(width, height) < min_side:
        raise UserError(f"{given} small, at least {min_side} each side; give a larger picture")


def _upright(image):
    try:
        turned = image.getexif().get(_ORIENTATION, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except Exception:  # Pillow reports a broken EXIF block in many ways; the picture itself is fine
        return image


def _is_turned(image):
    try:
        return image.getexif().get(_ORIENTATION, 1) in _TURNED
    except Exception:  # as in `_upright`
        return False


def _sixteen_to_eight(path, values):
    """Integers (H, W) 0..65535 -> uint8 (H, W); 65535 becomes 255."""
    values = values.astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UserError(f"{path}: holds values outside 16 bits; allowed are 8 or 16 bits; convert it")
    return ((values + 128) // 257).astype(np.uint8)


def to_pixels(path: str | Path, image: Image.Image) -> np.ndarray:
    """A decoded Pillow image of any mode -> uint8 (H, W, 3) in RGB, writable; see `to_rgb`."""
    return np.array(to_rgb(path, image))


def to_rgb(path: str | Path, image: Image.Image) -> Image.Image:
    """A decoded Pillow image of any mode -> one in RGB, turned upright by its EXIF orientation; the same one if it is.

    Args:
        path: what error messages call the picture.
        image: the picture.

    Raises:
        UserError: its values have neither 8 nor 16 bits.
    """
    image = _upright(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = Image.fromarray(_sixteen_to_eight(path, np.asarray(image)))
    if image.mode == "F":
        raise UserError(f"{path}: holds floating point values; allowed are 8 or 16 bits; convert it")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _reason(error):
    """What to tell the user about an exception that Pillow or the system raised."""
    if isinstance(error, FileNotFoundError):
        return "does not exist; give a picture file"
    if isinstance(error, IsADirectoryError):
        return "is a folder; give a picture file"
    if isinstance(error, PermissionError):
        return "may not be read by this user; change its permissions"
    if isinstance(error, Image.DecompressionBombError):
        return f"is too large, at most {MAX_PIXELS // 10**6} million pixels; make it smaller"
    if isinstance(error, UnidentifiedImageError):
        return "is not a picture that Pillow can read; give JPEG, PNG, BMP or WebP"
    words = " ".join(str(error).split()) or type(error).__name__
    return f"is truncated or damaged ({words}); fetch the file again"


class _WholePictures:
    """How many threads are inside `whole_pictures`, and the setting that Pillow had before the first entered."""

    lock, count, before = threading.Lock(), 0, False


@contextmanager
def whole_pictures() -> Iterator[None]:
    """Within this context Pillow refuses truncated pictures. PaddleDetection tells it to fill them up instead.

    Pillow has one such setting for all threads, so it gets its old value back when the last thread leaves.
    """
    with _WholePictures.lock:
        if not _WholePictures.count:
            _WholePictures.before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        _WholePictures.count += 1
    try:
        yield
    finally:
        with _WholePictures.lock:
            _WholePictures.count -= 1
            if not _WholePictures.count:
                ImageFile.LOAD_TRUNCATED_IMAGES = _WholePictures.before


def read_image(path: str | Path, min_side: int = 32) -> np.ndarray:
    """Read and decode one picture.

    Returns:
        uint8 array (H, W, 3) in RGB, writable; otherwise as `read_picture`.
    """
    return np.array(read_picture(path, min_side))


def read_picture(
    path: str | Path, min_side: int = 32, least: tuple[int, int] | None = None, most: int | None = None
) -> Image.Image:
    """Read and decode one picture, as a Pillow image, which is a copy less than an array.

    Gray pictures get three equal channels, palettes are looked up, CMYK and YCbCr are converted without a colour
    profile, transparent pixels are laid over white, 16 bits are scaled to 8 (65535 -> 255). The EXIF orientation is
    applied. An animation gives its first frame.

    Args:
        path: the file, or its address, such as s3://bucket/a.jpg.
        min_side: the smallest width and height accepted, in pixels.
        least: (width, height), upright: a JPEG may be decoded at a half, a quarter or an eighth of its size, as long as
            no side becomes shorter than this. That is faster and smooths a little differently.
        most: pixels; None takes `MAX_PIXELS`.

    Returns:
        The picture in RGB.

    Raises:
        UserError: no such file, not a picture, truncated or damaged, empty, smaller than `min_side`, larger than
            `most`, or values that have neither 8 nor 16 bits. The message starts with the path. Or `Unreachable`: a
            store refuses or does not answer.
    """
    path = path_of(path)
    return _decoded(path, path, min_side, most, least)


def decode_picture(data: bytes, name: str = "the picture", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decodes the bytes of a picture file as `read_picture` does.

    Args:
        data: the whole file.
        name: what error messages call the picture.
        max_pixels: the largest number of pixels that is decoded.

    Returns:
        The picture in RGB.

    Raises:
        TooLarge: it has more than `max_pixels`.
        UserError: as `read_picture`.
    """
    return _decoded(name, io.BytesIO(data), 1, max_pixels)


def _decoded(name, source, min_side, most, least=None):
    try:
        with whole_pictures(), open_picture(source, limited=most is None) as image:
            _check_size(name, image.size, min_side, MAX_PIXELS if most is None else most)
            if least is not None:
                image.draft(None, least[::-1] if _is_turned(image) else least)
            image.load()
            return to_rgb(name, image)
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(f"{name}: {_reason(error)}") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ... on damaged data
        raise UserError(f"{name}: {_reason(error)}") from error


_large = threading.Lock()


@contextmanager
def turn_of(path: str | Path) -> Iterator[None]:
    """Within this context a thread may hold a picture. Of those with more than `LARGE` pixels one is held at a time."""
    with fetched_once():
        try:
            width, height = read_header(path, limited=False).stored
            is_large = width * height > LARGE
        except Unreachable:
            raise
        except UserError:  # reading it says why
            is_large = False
        with _large if is_large else nullcontext():
            yield
